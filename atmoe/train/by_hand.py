"""What is set of a trained router by hand: learned from nothing, and chosen by what it does."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from atmoe.errors import TrainingError
from atmoe.mixture import store
from atmoe.model import AtMoe
from atmoe.routing.layout import Layout
from atmoe.routing.planner import Planner
from atmoe.routing.router import GroupedRouter
from atmoe.train import loop
from atmoe.train.settings import known, may_be_floor
from atmoe.train.team import Team

WITHOUT = (
    "This model's router has no planner, which would decide who takes part; train the router again "
    "with --depth 1 or more."
)


@dataclass(frozen=True)
class ByHand:
    """What is changed of a router; all else stays.

    Attributes:
        soften: what in-group logits are divided by; 1 = they stay.
        gain: what the gains are multiplied by; 1 = they stay.
        floors: how likely an expert of these groups must be asked for to take part.
        group_floors: from which share these groups take part, in units of an equal one; 0 = always.
        letters: what the letters say of these groups' experts is multiplied by; 0 = the state alone
            speaks.

    Raises:
        TrainingError: a number is none that this can have.
    """

    soften: float = 1.0
    gain: float = 1.0
    floors: Mapping[str, float] = field(default_factory=dict)
    group_floors: Mapping[str, float] = field(default_factory=dict)
    letters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, by in (("soften", self.soften), ("gain", self.gain)):
            if not 0 < by < math.inf:
                raise TrainingError(f"--{name} must be above 0, and not {by:g}; 1 changes nothing.")
        for floor in self.floors.values():
            may_be_floor("--floors", floor)
        of_groups = (
            ("--group-floors", self.group_floors, "the group always takes part"),
            ("--letters", self.letters, "no letters"),
        )
        for option, values, zero in of_groups:
            for value in values.values():
                if not 0 <= value < math.inf:
                    raise TrainingError(f"{option} is from 0 ({zero}) on, and not {value:g}.")

    def fits(self, layout: Layout, lettered: bool) -> None:
        """Nothing, where a router has all that is named.

        Args:
            layout: of the router.
            lettered: whether its planner reads letters, or will.

        Raises:
            TrainingError: a group is not there, or there are no letters.
        """
        for name in ("floors", "group_floors", "letters"):
            option = f"--{name.replace('_', '-')}"
            known(option, getattr(self, name), layout.group_names)
        if self.letters and not lettered:
            raise TrainingError("--letters has none to multiply: this planner reads states alone.")

    @torch.no_grad()
    def change(self, router: GroupedRouter, planner: Planner) -> None:
        """Change a router that it fits, and the planner that is its own or will be, in place."""
        layout = router.layout
        router.soften(self.soften)
        router.gain.mul_(self.gain)
        for group, floor in self.floors.items():
            planner.floor[layout.group_index(group)] = floor
        for group, floor in self.group_floors.items():
            planner.group_floor[layout.group_index(group)] = floor
        if planner.spelling is not None:
            for group, by in self.letters.items():
                planner.spelling.weight[:, layout.members(group)] *= by
                planner.spelling.bias[layout.members(group)] *= by


NOTHING = ByHand()
STAGE = "planner-set"


def set_by_hand(model: AtMoe, out: Path, by_hand: ByHand) -> dict[str, Any]:
    """Change the router of a trained model, and write it into `out`, where `model` is saved.

    Args:
        model: changed in place.
        out: the directory of the model.
        by_hand: what is changed.

    Returns:
        {"stage", "settings", "earlier", "seconds"}; the stage is "planner-set", so the log of what
        was learned stays, and `earlier` has the settings of each time before, the oldest first.
        Of a planner learned anew in between, what was set of letters is gone, and floors stay
        unless others were named.

    Raises:
        TrainingError: the router has not what is named, nothing would change, or the log of the
            times before cannot be read.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    began = time.perf_counter()
    planner = model.router.planner
    if planner is None:
        raise TrainingError(WITHOUT)
    by_hand.fits(model.layout, planner.spelling is not None)
    if by_hand == NOTHING:
        raise TrainingError("Nothing is learned, and nothing is set; name what to set.")
    out = Path(out)
    earlier = _earlier(out / f"{STAGE}.log.json")
    by_hand.change(model.router, planner)
    report = {
        "stage": STAGE,
        "settings": asdict(by_hand),
        "earlier": earlier,
        "seconds": round(time.perf_counter() - began, 1),
    }
    loop.conclude(model, out, report, Team(), lambda room: store.save_router(model.router, room))
    return report


def _earlier(log: Path) -> list[dict[str, Any]]:
    """What was set by hand so far, the oldest first: the router has all of it."""
    if not log.exists():
        return []
    try:
        report = json.loads(log.read_text(encoding="utf-8"))
        return [*report.get("earlier", []), report["settings"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{log} does not tell what was set before; move it away.") from error
