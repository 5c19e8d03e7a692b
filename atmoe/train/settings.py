"""How the router is trained, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from atmoe.errors import TrainingError
from atmoe.mixture.precision import quick


@dataclass(frozen=True)
class RouterSettings:
    """How the router is trained.

    Attributes:
        instructions: of the warm start.
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
        TrainingError: a planner or shares cannot be of that width, floor or temperature.
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
        if self.width < 1:
            raise TrainingError(f"--width must be at least 1, and not {self.width}.")
        if self.pieces < 0:
            raise TrainingError(f"--pieces must be at least 0, and not {self.pieces}.")
        for floor in (self.floor, *self.floors.values()):
            may_be_floor("--floor", floor)
        if not self.temperature > 0:
            raise TrainingError(f"--temperature must be above 0, and not {self.temperature:g}.")

    def floors_of(self, groups: Sequence[str]) -> list[float]:
        """The floor of each group, in their order.

        Raises:
            TrainingError: a floor is of a group that is not there.
        """
        known("--floors", self.floors, groups)
        return [self.floors.get(group, self.floor) for group in groups]


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
