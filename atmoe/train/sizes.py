"""The rank and alpha of experts that are trained: LoRAs that are there have their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from atmoe.errors import TrainingError
from atmoe.mixture.adapter import Adapter


def refuse_others(
    rank: int | None, alpha: float | None, adapters: Mapping[str, Adapter], ready: Collection[str]
) -> None:
    """Nothing, where nobody asked for another size than adapters have that are there.

    Args:
        rank: that was asked for; None = none was.
        alpha: the same.
        adapters: of all experts, by name; none is made anew.
        ready: of those that are not trained, the names.

    Raises:
        TrainingError: somebody did, and it would have been for nothing.
    """
    for name, adapter in _trained(adapters, ready).items():
        for option, asked, own in (
            ("--rank", rank, adapter.rank),
            ("--alpha", alpha, adapter.alpha),
        ):
            if asked is not None and asked != own:
                raise TrainingError(
                    f"{option} is of LoRAs that are made anew, and {name} is there, with {own:g}; "
                    f"leave {option} out."
                )


def told(adapters: Mapping[str, Adapter], ready: Collection[str]) -> dict[str, Any]:
    """The "rank" and "alpha" that adapters have: one number, or one by name where they differ.

    Args:
        adapters: of all experts, by name.
        ready: of those that are not trained, the names.
    """
    sizes: dict[str, Any] = {}
    for key in ("rank", "alpha"):
        own = {name: getattr(adapter, key) for name, adapter in _trained(adapters, ready).items()}
        sizes[key] = own if len(set(own.values())) > 1 else next(iter(own.values()))
    return sizes


def _trained(adapters: Mapping[str, Adapter], ready: Collection[str]) -> Mapping[str, Adapter]:
    """Those that are trained; all, where none is."""
    return {name: own for name, own in adapters.items() if name not in ready} or adapters
