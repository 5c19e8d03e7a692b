"""How the router is trained, as one value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atmoe.errors import TrainingError
from atmoe.mixture.precision import quick
from atmoe.schema import SEEDS


@dataclass(frozen=True)
class RouterSettings:
    """How the router is trained.

    Attributes:
        instructions: of the warm start; what is fitted is standardised, so two at least.
        fit_steps: of the regression.
        fit_learning_rate: of the regression, at its peak.
        fit_decays: the weight decays that the regression tries.
        smoothing: of the labels.
        depth: how many layers of the base model the planner reads.
        width: of the planner's hidden layer. Medical questions of two needs in unseen wordings had
            both experts in the team in 72 and 60% without one (two draws), at 1.4 task experts
            where there is one need; with it in 82 and 76%, at 1.2.
        pieces: how many numbers stand for pieces of words, by which the planner reads letters
            besides; 0 = it does not.
        floor: how likely an expert must be asked for to take part.
        floors: the same of groups that have one of their own, by name. Where a prompt may ask for
            two experts of a group, a low one lets the second in; where it asks for one, a low one
            lets in doubt.
        temperature: of in-group shares. The heads are fitted to instructions that training knows,
            and are too sure of others: at 1, the second of two needs had twice its uniform share
            in 40% of unseen wordings of the medical data, at 4 in 68%, for 0.003 nats less.
        effect_answers: how many answers are read for their groups' effects, each round; 0 leaves
            the groups' shares equal.
        effect_rounds: how often; effects change with the shares that follow them.
        effect_power: a group's share follows its effect to this power. At 1 it is its part of all
            effects, which cost the medical model 0.06 nats a token beside equal shares; the square
            root keeps the order and costs 0.016.
        effect_decay: weight decay of the group heads' fit to them.
        answer_tokens: of the refinement; None = as the data bears (`atmoe.train.budget`).
        learning_rate: of the in-group heads, which come warm.
        gain_learning_rate: of the gains.
        label_weight: of the cross-entropy with the labels, beside the language-model loss.
        seed: of all.
        dtype: of the base model; default: the quicker of two, as `quick` says.

    Raises:
        TrainingError: a number is none that this can have.
    """

    instructions: int = 8000
    fit_steps: int = 800
    fit_learning_rate: float = 3e-3
    fit_decays: tuple[float, ...] = (0.1, 1.0, 3.0, 10.0)
    smoothing: float = 0.02
    depth: int = 9
    width: int = 64
    pieces: int = 0
    floor: float = 0.25
    floors: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 4.0
    effect_answers: int = 160
    effect_rounds: int = 2
    effect_power: float = 0.5
    effect_decay: float = 3.0
    answer_tokens: int | None = None
    learning_rate: float = 3e-4
    gain_learning_rate: float = 3e-2
    label_weight: float = 0.1
    seed: int = 0
    dtype: str = field(default_factory=quick)

    def __post_init__(self) -> None:
        least = {"instructions": 2, "fit_steps": 1, "depth": 0, "width": 1, "pieces": 0}
        least |= {"effect_answers": 0, "effect_rounds": 0, "effect_power": 0, "effect_decay": 0}
        least |= {"answer_tokens": 1, "label_weight": 0}
        rates = ("fit_learning_rate", "learning_rate", "gain_learning_rate")
        in_range(self, least, ("temperature", *rates))
        for floor in (self.floor, *self.floors.values()):
            may_be_floor("--floor", floor)

    def floors_of(self, groups: Sequence[str]) -> list[float]:
        """The floor of each group, in their order.

        Raises:
            TrainingError: a floor is of a group that is not there.
        """
        known("--floors", self.floors, groups)
        return [self.floors.get(group, self.floor) for group in groups]


def in_range(settings: Any, least: Mapping[str, int], above_zero: Iterable[str]) -> None:
    """Nothing, where the numbers of a training's settings can be; None is what nobody said.

    Args:
        settings: with a seed. Its learning rates are at most 1: Adam takes steps of that size.
        least: fields, and the least that each can be.
        above_zero: fields that are more than 0.

    Raises:
        TrainingError: one cannot be; the sentence names the option.
    """
    ranges: dict[str, tuple[str, float]]
    ranges = {name: (f"at least {lowest}", lowest) for name, lowest in least.items()}
    ranges |= {name: ("above 0", math.ulp(0.0)) for name in above_zero}
    for name, (words, lowest) in {**ranges, "seed": ("at least 0", 0)}.items():
        highest, most = math.inf, ""
        if name.endswith("learning_rate"):
            highest, most = 1, " and at most 1"
        elif name == "seed":
            highest, most = SEEDS - 1, " and below 2**63"
        value = getattr(settings, name)
        if value is not None and not (lowest <= value <= highest and value < math.inf):
            raise TrainingError(
                f"--{name.replace('_', '-')} must be {words}{most}, and not {value}."
            )


def may_be_floor(option: str, floor: float) -> None:
    """Nothing, where a number can be how likely an expert must be asked for to take part.

    Raises:
        TrainingError: it cannot; the sentence names the option.
    """
    if not 0 <= floor < 1:
        raise TrainingError(
            f"{option} is from 0 (everybody takes part) to below 1, and not {floor:g}: it is how "
            "likely an expert must be asked for, not a part of an equal share."
        )


def known(option: str, named: Iterable[str], groups: Sequence[str]) -> None:
    """Nothing, where these are names of groups.

    Raises:
        TrainingError: one is not; the sentence names the option and the groups.
    """
    for name in named:
        if name not in groups:
            raise TrainingError(
                f"{option} names the group {name!r}, and there is none; write one of "
                f"{', '.join(groups)}."
            )


PASSES, MOST = 3, 60_000
"""Passes over the data, and answer tokens, of the largest refinement that nobody asked for."""

READINGS = 8
"""Each row of small data is read so often, on average, where nobody said how often."""


def readings(rows: int) -> dict[str, int]:
    """How much a warm start reads of so many training rows, where nobody said how much."""
    instructions = min(RouterSettings.instructions, READINGS * rows)
    return {
        "instructions": instructions,
        "fit_steps": min(RouterSettings.fit_steps, max(200, instructions // 10)),
        "effect_answers": min(RouterSettings.effect_answers, max(1, rows // 2)),
    }


TWO_NEEDS, TWO_NEEDS_REFINED = 0.7, 0.3
"""How often two needs are asked for at once in the warm start and in the refinement.

Where the disease has two of them, that is.
"""

SHARES_READ = 0.4
"""Of the instructions that the planner is fitted on, the part that the in-group heads are."""

REFINEMENT = {
    "answer_tokens",
    "learning_rate",
    "gain_learning_rate",
    "label_weight",
}
"""The settings that the warm start does not depend on."""

PLANNER = {
    "instructions",
    "fit_steps",
    "fit_learning_rate",
    "fit_decays",
    "width",
    "pieces",
    "floor",
    "floors",
    "seed",
}
"""The settings by which a planner is taught who takes part."""
