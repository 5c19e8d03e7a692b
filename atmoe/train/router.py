"""Stage 2: the router. Experts and base are frozen; the router learns to read the instruction.

1. *Warm start.* The language-model loss alone is a slow teacher, so heads are first fitted on
   states that were read once, in seconds of regression: the planner (who takes part) and the
   in-group heads to the labels (`atmoe.train.fitting`), the group heads to what leaving each
   group out costs (`atmoe.train.effects`).
2. *Refinement* by the language-model loss on answers, which teaches in-group heads and gains, with
   `label_weight` · cross-entropy of the layer-averaged in-group shares with the labels beside it
   (keeps names true). Group heads and planner stay as they were fitted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import TrainingError
from atmoe.mixture import store
from atmoe.mixture.replacing import experts_digest, refuse_other_experts
from atmoe.model import AtMoe
from atmoe.routing.router import GroupedRouter
from atmoe.train import checkpoint, loop
from atmoe.train.budget import budget_of
from atmoe.train.effects import follow_effects
from atmoe.train.experts import SHARE
from atmoe.train.fitting import fit_heads, label_losses
from atmoe.train.planning import plan_experts, warm_instructions
from atmoe.train.reading import pooled_states
from atmoe.train.rows import (
    Row,
    answer_loss,
    batches,
    collate_rows,
    label_targets,
    training_side,
)
from atmoe.train.settings import (
    MOST,
    PASSES,
    READINGS,
    REFINEMENT,
    SHARES_READ,
    TWO_NEEDS_REFINED,
    RouterSettings,
)
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team
from atmoe.train.validation import agreement, held_out_instructions, held_out_rows, routed_loss


def train_router(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: RouterSettings,
) -> dict:
    """Train the router of `model`, and write it into `out`, where `model` is saved.

    Args:
        model: changed in place.
        examples: of both sides of the split; trained on is the training side.
        description: whose groups the batches are drawn by.
        out: a directory with the experts.
        settings: of the training.

    Returns:
        Seconds, steps, answer tokens, the budget, agreement after each stage, gains and group
        shares at the end.

    Raises:
        TrainingError: `out` holds a run with other settings or a file of it that cannot be read,
            or the loss is not a number.
        AssetError: the experts in `out` were replaced meanwhile.
        DataError: no training example.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    out, team = Path(out), Team()
    training = training_side(examples)
    loop.seed_everything(settings.seed)
    # Always from uniform shares, never from a router trained before: the command and its seed say
    # all.
    hidden = model.router.group_weight.shape[-1]
    gain = SHARE * len(model.layout.groups)
    depth = min(settings.depth, model.layout.layers - 1)
    router = TrainingRouter(
        GroupedRouter(model.layout, hidden, gain, depth, settings.width, settings.pieces)
    )
    model.to(team.device)
    router.to(team.device)
    few = None if settings.answer_tokens else READINGS
    held_out = held_out_instructions(examples, description, settings.seed, few)
    chosen = held_out_rows(model, examples, description)
    budget = budget_of(model, training, chosen, settings.answer_tokens, PASSES, MOST, "routed")
    if team.leads:
        loop.tell(f"Refinement, after heads are fitted to labels: {budget.sentences()}")
    mark = {
        **asdict(settings),
        "data": description.digest(training),
        "experts": experts_digest(out),
    }

    # 1. the warm start, kept apart so that refinements of other settings can begin from the same
    warm_mark = {k: v for k, v in mark.items() if k not in REFINEMENT}
    path = out / "warm_start.pt"
    cure = f"delete {path}, and it is made again"
    saved = checkpoint.read_tensors(path, team, cure)
    if saved is None or saved.get("mark") != warm_mark:
        saved = {
            "mark": warm_mark,
            "facts": warm_start(model, router, training, held_out, description, settings, team),
            "router": {k: v.cpu() for k, v in router.state_dict().items()},
            "mean": router.mean.cpu(),
            "spread": router.spread.cpu(),
        }
        saved = team.agree(saved)  # whatever the order of sums did to each process
        if team.leads:
            checkpoint.write_tensors(path, saved)
    facts = _take(router, saved, f"{path} is no warm start of this model; {cure}.")

    # 2. the refinement
    result = loop.run(
        parameters=[
            {"params": [router.expert_weight, router.expert_bias], "lr": settings.learning_rate},
            {"params": [router.gain], "lr": settings.gain_learning_rate},
        ],
        batches=refinement_batches(
            model, training, description, budget.tokens, settings.seed + 3, budget.step_tokens
        ),
        budget=budget.tokens,
        loss=_refinement_loss(model, router, settings, team),
        team=team,
        out=out / "router-run",
        settings=mark | budget.mark(description),
        validate=routed_loss(model, router, chosen) if budget.stopping else None,
        stopping=budget.stopping,
    )

    # 3. what came of it
    refuse_other_experts(out, mark["experts"])
    facts["agreement_refined"] = agreement(model, router, held_out, team)
    model.router = router.plain()
    report = {
        "stage": "router",
        "settings": asdict(settings),
        "training_examples": budget.rows,
        "budget": budget.report(),
        **result,
        **facts,
        "gain_by_layer": [round(g, 3) for g in model.router.gain.tolist()],
    }
    loop.conclude(model, out, report, team, lambda room: store.save_router(model.router, room))
    return report


def _take(router: TrainingRouter, saved: dict[str, Any], otherwise: str) -> dict[str, Any]:
    """Take up a warm start.

    Returns:
        What to report of it.

    Raises:
        TrainingError: `otherwise`, where something in it is not what was saved.
    """
    try:
        for own, value in ((router.mean, saved["mean"]), (router.spread, saved["spread"])):
            if own.shape != value.shape:  # it would be stretched
                raise TrainingError(otherwise)
            own.copy_(value)
        router.load_state_dict(saved["router"])
        return dict(saved["facts"])
    except Exception as error:  # torch raises nearly every type on a state that does not fit
        raise TrainingError(otherwise) from error


def _refinement_loss(
    model: AtMoe, router: TrainingRouter, settings: RouterSettings, team: Team
) -> loop.Loss:
    """The language-model loss and the labels', as `loop.run` takes it."""
    layout = model.layout

    def loss(rows: list[Row], whole: list[Row]) -> tuple[Tensor, dict[str, float]]:
        _, labelled = label_targets(layout, [r.example for r in whole])
        lm = label = torch.zeros((), device=model.device)
        shares = torch.zeros(len(layout.groups), device=model.device)
        members = torch.zeros((), device=model.device)
        if rows:
            batch, where, tokens = collate_rows(model, rows)
            hidden, _, _ = model.forward(batch, router=router, logits=False)
            _, s, q = router.last()
            lm = answer_loss(model, hidden, where, tokens, sum(len(r.answer) for r in whole))
            targets, labels = label_targets(layout, [r.example for r in rows])
            of = labelled.sum(0)
            label = label_losses(layout, q, targets, labels, settings.smoothing, of).mean()
            shares = s.mean(1).sum(0)
            members = (q > 0).any(1).float().sum()
        mean_share = team.total(shares) / len(whole)
        by_group = zip(layout.group_names, mean_share.tolist(), strict=True)
        return lm + settings.label_weight * label, {
            **{n: team.total(part.detach()).item() for n, part in (("lm", lm), ("label", label))},
            "gain": router.gain.mean().item(),
            "members": team.total(members).item() / len(whole),
            **{f"share_{group}": share for group, share in by_group},
        }

    return loss


def refinement_batches(
    model: AtMoe,
    training: Sequence[Example],
    description: Description,
    answer_tokens: int,
    seed: int,
    step_tokens: int | None = None,
) -> Iterator[list[Row]]:
    """What is learned from under a router's plans: by routers, and by experts together with one.

    The same seed gives the same.
    """
    sampler = Sampler(
        training, seed, description.main_group, description.rows, two=TWO_NEEDS_REFINED
    )
    return batches(model, iter(sampler), answer_tokens, step_tokens)


def warm_start(
    model: AtMoe,
    router: TrainingRouter,
    training: Sequence[Example],
    held_out: Sequence[Example],
    description: Description,
    settings: RouterSettings,
    team: Team,
) -> dict:
    """Fit `router`: its planner and in-group heads to labels, its group heads to effects.

    Returns:
        What to report of it: {what `plan_experts` reports, and "fit_decay", "agreement_warm_start",
        "effect_shares", "warm_start_seconds"}.
    """
    began = time.perf_counter()
    instructions = warm_instructions(
        training, description, settings.instructions, settings.seed + 1
    )
    facts: dict[str, Any] = {}
    # 1. who takes part
    if router.planner is not None:
        facts |= plan_experts(model, router.planner, instructions, settings, team)
    # 2. shares among those: there is less to tell, so fewer instructions do
    fewer = instructions[: max(2, int(len(instructions) * SHARES_READ))]
    states, examples = pooled_states(model, router, fewer, team)
    router.standardise(states)
    facts["fit_decay"] = fit_heads(router, states, examples, settings)
    router.soften(settings.temperature)
    facts["agreement_warm_start"] = agreement(model, router, held_out, team)
    # 3. shares of the groups
    if settings.effect_answers:
        facts["effect_shares"] = follow_effects(
            model, router, training, description, settings, team
        )
    return facts | {"warm_start_seconds": round(time.perf_counter() - began, 1)}
