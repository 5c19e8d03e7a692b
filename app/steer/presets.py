"""The presets that a model brings along, as controls."""

from __future__ import annotations

from app.controls import Controls, Setting
from atmoe import Layout, State
from atmoe.presentation import Page


def presets(page: Page, layout: Layout) -> dict[str, Controls]:
    """By what their buttons say.

    Args:
        page: what the model says of itself.
        layout: its groups and experts.

    Raises:
        SteeringError: a preset sets what there is not.
    """
    return {
        name: Controls({target: _setting(share) for target, share in settings.items()}).checked(
            layout
        )
        for name, settings in page.presets.items()
    }


def _setting(share: float | str) -> Setting:
    """A share in percent, or "off"."""
    return Setting(State.OFF, 0) if isinstance(share, str) else Setting(State.FIXED, share)
