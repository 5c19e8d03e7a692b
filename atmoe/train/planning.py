"""Who takes part, learned from labels: the first step of a router's training, or one of its own.

The planner reads the base model alone, so it can be taught anew without touching anything else of a
trained model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import TrainingError
from atmoe.mixture import store
from atmoe.model import AtMoe
from atmoe.routing.planner import Planner
from atmoe.train import loop
from atmoe.train.reading import planner_states
from atmoe.train.rows import training_side
from atmoe.train.settings import PLANNER, TWO_NEEDS, RouterSettings, known
from atmoe.train.spelling import fit_both
from atmoe.train.team import Team

WITHOUT = (
    "This model's router has no planner, which would decide who takes part; train the router again "
    "with --depth 1 or more."
)


def warm_instructions(
    training: Sequence[Example], description: Description, count: int, seed: int
) -> list[Example]:
    """What heads are fitted on: most in words other than the corpus', many of two needs."""
    sampler = Sampler(
        training,
        seed,
        description.main_group,
        description.prompt_rows,
        paraphrased=0.85,
        two=TWO_NEEDS,
    )
    return list(islice(iter(sampler), count))


def plan_experts(
    model: AtMoe,
    planner: Planner,
    instructions: Sequence[Example],
    settings: RouterSettings,
    team: Team,
) -> dict[str, Any]:
    """Teach a planner which experts take part.

    Args:
        model: whose base it reads.
        planner: changed in place.
        instructions: with their labels.
        settings: of the fit.
        team: the processes that read.

    Returns:
        What to report of it: as `fit_both`, and "team_size" on these instructions.

    Raises:
        DataError: none of the instructions is short enough.
        TrainingError: a floor is of a group that is not there.
    """
    floors = torch.tensor(settings.floors_of(planner.layout.group_names))
    states, examples = planner_states(model, planner.depth, instructions, team)
    facts = fit_both(planner, states, examples, settings)
    planner.floor.copy_(floors)
    taking = planner.team(states, [example.prompt for example in examples]).experts
    return facts | {"team_size": round(float(taking.sum(1).float().mean()), 2)}


def train_planner(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: RouterSettings,
    soften: float = 1.0,
    gain: float = 1.0,
    group_floors: Mapping[str, float] | None = None,
    letters: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Teach the planner of a trained model anew, and write it into `out`, where `model` is saved.

    What is expected of groups stays, and so does all else.

    Args:
        model: changed in place.
        examples: of both sides of the split; trained on is the training side. None are needed
            where no instructions are drawn.
        description: whose groups the instructions are drawn by.
        out: the directory of the model.
        settings: of the fit; what else they say is not used. Of no instructions nothing is
            learned: what the planner knows stays, and of floors those of named groups are set.
        soften: what in-group logits are divided by besides; 1 = they stay too.
        gain: what the gains are multiplied by besides; 1 = they stay too.
        group_floors: of these groups, from which share each takes part, in units of an equal one;
            those of the others stay too.
        letters: what the letters say of these groups' experts is multiplied by, after the fit; 0 =
            the state alone speaks.

    Returns:
        {"stage", "settings", "training_examples", "seconds"} and what `plan_experts` reports. The
        stage is "planner-set" where nothing is learned, so that the log of what was stays.

    Raises:
        TrainingError: the router has no planner, `soften` or `gain` is not above 0, a group's floor
            or what its letters are multiplied by is below 0, one of them is of a group that is not
            there, the planner reads no letters to multiply, or nothing would change.
        DataError: no training example to draw instructions from.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    began = time.perf_counter()
    out, team, old = Path(out), Team(), model.router.planner
    if old is None:
        raise TrainingError(WITHOUT)
    besides = {"soften": soften, "gain": gain}
    for name, by in besides.items():
        if not 0 < by < math.inf:
            raise TrainingError(f"--{name} must be above 0, and not {by:g}; 1 changes nothing.")
    of_groups = {"group_floors": dict(group_floors or {}), "letters": dict(letters or {})}
    for name, zero in (("group_floors", "the group always takes part"), ("letters", "no letters")):
        option = f"--{name.replace('_', '-')}"
        known(option, of_groups[name], model.layout.group_names)
        for value in of_groups[name].values():
            if not 0 <= value < math.inf:
                raise TrainingError(f"{option} is from 0 ({zero}) on, and not {value:g}.")
    if letters and not (settings.pieces if settings.instructions else old.spelling):
        raise TrainingError("--letters has none to multiply: this planner reads states alone.")
    to_set = [settings.floors, *of_groups.values(), soften != 1, gain != 1]
    if not settings.instructions and not any(to_set):
        raise TrainingError(
            "With --instructions 0 nothing is learned, and nothing is set; name what to set."
        )
    training = training_side(examples) if settings.instructions else []
    loop.seed_everything(settings.seed)
    model.to(team.device)
    if settings.instructions:
        planner = Planner(
            model.layout,
            old.group_weight.shape[-1],
            old.depth,
            settings.width,
            pieces=settings.pieces,
        ).to(team.device)
        expected = {k: v for k, v in old.state_dict().items() if k.startswith("group_")}
        planner.load_state_dict(expected, strict=False)
        instructions = warm_instructions(
            training, description, settings.instructions, settings.seed + 1
        )
        facts = plan_experts(model, planner, instructions, settings, team)
    else:
        known("--floors", settings.floors, model.layout.group_names)
        planner, facts = old, {}
        for group, floor in settings.floors.items():
            planner.floor[model.layout.group_index(group)] = floor
    used = PLANNER if settings.instructions else {"instructions", "floors"}
    for group, floor in of_groups["group_floors"].items():
        planner.group_floor[model.layout.group_index(group)] = floor
    model.router.soften(soften)
    with torch.no_grad():
        model.router.gain.mul_(gain)
        if planner.spelling is not None:
            for group, by in of_groups["letters"].items():
                planner.spelling.weight[:, model.layout.members(group)] *= by
                planner.spelling.bias[model.layout.members(group)] *= by
    model.router.planner = team.agree(planner.requires_grad_(False))
    report = {
        "stage": "planner" if settings.instructions else "planner-set",
        "settings": {name: value for name, value in asdict(settings).items() if name in used}
        | besides
        | of_groups,
        "training_examples": len(training),
        "seconds": round(time.perf_counter() - began, 1),
        **facts,
    }
    loop.conclude(model, out, report, team, lambda room: store.save_router(model.router, room))
    return report
