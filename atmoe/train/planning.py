"""Who takes part, learned from labels: the first step of a router's training, or one of its own.

The planner reads the base model alone, so it can be taught anew without touching anything else of a
trained model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import TrainingError
from atmoe.mixture import store
from atmoe.mixture.replacing import experts_digest, refuse_other_experts
from atmoe.model import AtMoe
from atmoe.routing.planner import Planner
from atmoe.routing.router import GroupedRouter
from atmoe.train import loop
from atmoe.train.by_hand import NOTHING, WITHOUT, ByHand
from atmoe.train.reading import planner_states
from atmoe.train.rows import readable, training_side
from atmoe.train.settings import PLANNER, TWO_NEEDS, RouterSettings
from atmoe.train.spelling import fit_both
from atmoe.train.team import Team


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
    change: Callable[[Planner], None] | None = None,
) -> dict[str, Any]:
    """Teach a planner which experts take part.

    Args:
        model: whose base it reads.
        planner: changed in place.
        instructions: with their labels.
        settings: of the fit.
        team: the processes that read.
        change: what is done to the planner once it is taught.

    Returns:
        What to report of it: as `fit_both`, and "team_size", how many experts take part in these
        instructions on average, after all.

    Raises:
        DataError: none of the instructions is short enough.
        TrainingError: a floor is of a group that is not there.
    """
    floors = torch.tensor(settings.floors_of(planner.layout.group_names))
    states, examples = planner_states(model, planner.depth, instructions, team)
    facts = fit_both(planner, states, examples, settings)
    planner.floor.copy_(floors)
    if change is not None:
        change(planner)
    members = planner.team(states, [example.prompt for example in examples])
    taking = members.experts & members.groups[:, list(planner.layout.group_of)]
    return facts | {"team_size": round(float(taking.sum(1).float().mean()), 2)}


def taught_anew(router: GroupedRouter, given: Mapping[str, Any]) -> RouterSettings:
    """How the planner of a router is taught anew: what is not given stays as it has it.

    That is its width, whether it reads letters, and its floors. One without a hidden layer had
    floors of another kind, and gets what a new one has.

    Args:
        router: trained.
        given: fields of the settings, by name. A floor for all is also of groups that had another.

    Raises:
        TrainingError: a value is none that the setting can have.
    """
    planner = router.planner
    if planner is None or not planner.width:
        return RouterSettings(**given)
    # as float32 says them: 0.1, and not 0.10000000149011612
    floors = [float(str(floor)) for floor in planner.floor.cpu().numpy()]
    own = {
        group: floor
        for group, floor in zip(router.layout.group_names, floors)
        if "floor" not in given and floor != RouterSettings.floor
    }
    sizes = {name: router.sizes[name] for name in ("width", "pieces")}
    return RouterSettings(**sizes | dict(given) | {"floors": own | dict(given.get("floors", {}))})


def train_planner(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: RouterSettings,
    by_hand: ByHand = NOTHING,
) -> dict[str, Any]:
    """Teach the planner of a trained model anew, and write it into `out`, where `model` is saved.

    What is expected of groups stays, and so does all else.

    Args:
        model: changed in place.
        examples: of both sides of the split; trained on is the training side.
        description: whose groups the instructions are drawn by.
        out: the directory of the model.
        settings: of the fit; what else they say is not used.
        by_hand: what is changed besides, after the fit.

    Returns:
        {"stage", "settings", "training_examples", "seconds"} and what `plan_experts` reports.

    Raises:
        TrainingError: the router has no planner, or what is changed by hand is not there.
        AssetError: the experts in `out` were replaced meanwhile.
        DataError: no training example.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    began = time.perf_counter()
    out, team, old = Path(out), Team(), model.router.planner
    if old is None:
        raise TrainingError(WITHOUT)
    by_hand.fits(model.layout, lettered=settings.pieces > 0)
    experts = experts_digest(out)
    training = training_side(examples)
    loop.seed_everything(settings.seed)
    model.to(team.device)
    planner = Planner(
        model.layout, old.group_weight.shape[-1], old.depth, settings.width, pieces=settings.pieces
    ).to(team.device)
    expected = {k: v for k, v in old.state_dict().items() if k.startswith("group_")}
    planner.load_state_dict(expected, strict=False)
    instructions = warm_instructions(
        training, description, settings.instructions, settings.seed + 1
    )
    change = partial(by_hand.change, model.router)
    facts = plan_experts(model, planner, instructions, settings, team, change)
    refuse_other_experts(out, experts)
    model.router.planner = team.agree(planner.requires_grad_(False))
    report = {
        "stage": "planner",
        "settings": asdict(by_hand)
        | {name: value for name, value in asdict(settings).items() if name in PLANNER},
        "training_examples": readable(model, training),
        "seconds": round(time.perf_counter() - began, 1),
        **facts,
    }
    loop.conclude(model, out, report, team, lambda room: store.save_router(model.router, room))
    return report
