"""Settings written by us, by the names that they need.

A model that lacks one of the names is not offered the preset.
"""

from __future__ import annotations

from app.controls import Controls, Setting
from atmoe import Layout, State

PRESETS: dict[str, dict[str, Setting]] = {
    "For a patient": {
        "audience": Setting(State.FIXED, 60),
        "audience/patient": Setting(State.FIXED, 100),
    },
    "For the chart": {
        "task/documentation": Setting(State.FIXED, 100),
        "audience/professional": Setting(State.FIXED, 100),
    },
    "Drop specialty": {"specialty": Setting(State.OFF, 0)},
    "Evidence first": {"task/evidence": Setting(State.FIXED, 80)},
}


def presets(layout: Layout) -> dict[str, Controls]:
    """The presets that a model of this layout can take."""
    known = {*layout.group_names, *layout.expert_names}
    return {
        name: Controls(settings).checked(layout)
        for name, settings in PRESETS.items()
        if known.issuperset(settings)
    }
