"""Stage 3, where it is wanted: experts learn on under the router's plan, not under the labels.

1. *Which groups take part.* What the router gives each group is known after the last layer only, so
   the planner learns to tell it from the first ones; a group of which it expects less than
   `group_floor` then has a share of exactly 0 in every layer of that prompt. Left out where no
   instructions are to be read.
2. *Training on.* Experts and gains by the language-model loss on answers under those plans: who has
   the weight learns the most, so that what a plan says and what its experts do come together. The
   heads of the router stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Description, Example
from atmoe.errors import TrainingError
from atmoe.mixture import store
from atmoe.mixture.precision import quick
from atmoe.mixture.replacing import experts_digest, refuse_other_experts
from atmoe.model import AtMoe
from atmoe.prompt.batch import Batch
from atmoe.train import loop
from atmoe.train.budget import budget_of
from atmoe.train.by_hand import WITHOUT
from atmoe.train.experts import hold
from atmoe.train.fitting import fit_groups
from atmoe.train.planning import warm_instructions
from atmoe.train.reading import planner_states, routed_shares
from atmoe.train.router import refinement_batches
from atmoe.train.rows import Row, language_loss, training_side
from atmoe.train.settings import RouterSettings, in_range
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team
from atmoe.train.validation import held_out_rows, routed_loss

PASSES, MOST = 3, 100_000
"""Passes over the data, and answer tokens, of the largest budget that nobody asked for."""


@dataclass(frozen=True)
class TogetherSettings:
    """How experts learn on.

    Attributes:
        group_floor: the share of the weight from which a group takes part, in units of an equal
            share; 0 = all groups do.
        instructions: that tell the planner what the router gives its groups; 0 = who takes part
            stays as it is.
        answer_tokens: the budget; None = as the data bears (`atmoe.train.budget`).
        learning_rate: of the experts, at its peak.
        gain_learning_rate: of the gains.
        seed: of everything.
        dtype: of the base model; default: the quicker of two, as `quick` says.

    Raises:
        TrainingError: a number is none that this can have.
    """

    group_floor: float = 0.75
    instructions: int = 2000
    answer_tokens: int | None = None
    learning_rate: float = 5e-4
    gain_learning_rate: float = 1e-2
    seed: int = 0
    dtype: str = field(default_factory=quick)

    def __post_init__(self) -> None:
        least = {"group_floor": 0, "instructions": 0, "answer_tokens": 1}
        in_range(self, least, ("learning_rate", "gain_learning_rate"))


def train_together(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: TogetherSettings,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train experts and gains of `model` on under its own plans, and save it to `out`.

    Args:
        model: changed in place; its router has a planner.
        examples: of both sides of the split; trained on is the training side.
        description: whose groups the batches are drawn by.
        out: a directory.
        settings: of the training.
        start: where `model` was loaded from: experts that are at rest are taken from there as they
            are, whatever the precision here.

    Returns:
        Seconds, steps, answer tokens, the budget, the loss on topics held back before and after,
        and which groups are left out how often.

    Raises:
        TrainingError: the router has no planner; `out` holds a run with other settings or one that
            cannot be read; or the loss is not a number.
        AssetError: the experts in `start` were replaced meanwhile, and some are taken from there.
        DataError: no training example.
        OSError: something cannot be written; a model that was in `out` is left, whole.
    """
    out, team = Path(out), Team()
    if model.router.planner is None:
        raise TrainingError(WITHOUT)
    copied = start if description.ready else None
    digest = copied and experts_digest(copied)
    training = training_side(examples)
    loop.seed_everything(settings.seed)
    router = TrainingRouter(model.router)
    model.to(team.device)
    router.to(team.device)
    experts = range(len(model.layout.expert_names))
    halves = [e for e in experts if model.bank.adapter(e).exact == torch.bfloat16]
    chosen = held_out_rows(model, examples, description)
    budget = budget_of(model, training, chosen, settings.answer_tokens, PASSES, MOST, "routed")
    if team.leads:
        loop.tell(budget.sentences())
    measure = routed_loss(model, router, chosen)
    unchanged = measure() if measure else {}

    # 1. which groups take part
    facts = _plan_groups(model, router, training, description, settings, team)

    # 2. experts and gains
    router.requires_grad_(False)
    router.gain.requires_grad_(True)
    parameters = model.bank.parameters_to_train()
    hold(model, [model.layout.expert_index(name) for name in description.ready])

    def read(batch: Batch, rows: Sequence[Row]) -> Tensor:
        return model.forward(batch, router=router, logits=False)[0]

    result = loop.run(
        parameters=[
            {"params": parameters, "lr": settings.learning_rate},
            {"params": [router.gain], "lr": settings.gain_learning_rate},
        ],
        batches=refinement_batches(
            model, training, description, budget.tokens, settings.seed + 7, budget.step_tokens
        ),
        budget=budget.tokens,
        loss=language_loss(model, read),
        team=team,
        out=out / "together-run",
        settings={
            **asdict(settings),
            "data": description.digest(training),
            "start": model.info.sha256,
            **budget.mark(description),
        },
        validate=measure,
        stopping=budget.stopping,
    )

    # 3. what came of it
    if copied and digest:
        refuse_other_experts(copied, digest)
    _round(model, halves)
    model.router = router.plain()
    report = {
        "stage": "together",
        "settings": asdict(settings),
        "training_examples": budget.rows,
        "budget": budget.report(),
        **facts,
        **{f"{name}_unchanged": value for name, value in unchanged.items()},
        **result,
        "gain_by_layer": [round(g, 3) for g in model.router.gain.tolist()],
    }

    def write(room: Path) -> None:
        store.write(room, model.bank, model.router, model.info)
        if copied:
            for name in description.ready:
                store.copy_expert(copied / "experts" / name, room / "experts" / name)

    loop.conclude(model, out, report, team, write)
    return report


def _plan_groups(
    model: AtMoe,
    router: TrainingRouter,
    training: Sequence[Example],
    description: Description,
    settings: TogetherSettings,
    team: Team,
) -> dict[str, Any]:
    """Teach the planner which groups take part.

    Returns:
        What to report of it: the weight decay, and of the instructions read the part that each
        group is left out of, and would be if its share were known beforehand.
    """
    planner = router.planner
    assert planner is not None  # refused without
    if not settings.instructions:
        return {}
    planner.group_floor.fill_(0.0)  # what the router gives, it gives to all
    if not settings.group_floor:
        return {}
    instructions = warm_instructions(
        training, description, settings.instructions, settings.seed + 6
    )
    shares, _, read = routed_shares(model, router, instructions, team)
    states, again = planner_states(model, planner.depth, instructions, team)
    decay = fit_groups(planner, states, shares, read, RouterSettings(seed=settings.seed))
    planner.group_floor.fill_(settings.group_floor)
    left = [~planner.team(states, [e.prompt for e in again]).groups, ~planner.chosen(shares)]
    return {
        "group_decay": decay,
        **{
            key: {
                name: round(part, 4)
                for name, part in zip(model.layout.group_names, out.double().mean(0).tolist())
            }
            for key, out in zip(("left_out", "left_out_by_shares"), left)
        },
    }


def _round(model: AtMoe, experts: Sequence[int]) -> None:
    """Round experts to bfloat16: they are kept in what they came in, at half the bytes."""
    half = torch.tensor(experts, device=model.device)
    with torch.no_grad():
        for linear in model.bank.linears.values():
            own = torch.isin(linear.expert_of_rank, half)
            linear.A[own] = linear.A[own].bfloat16().to(linear.A.dtype)
            linear.B[:, own] = linear.B[:, own].bfloat16().to(linear.B.dtype)
