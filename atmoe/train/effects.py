"""Group heads that follow the effect: a group's share tells what leaving the group out costs.

For answers of training diseases, each group is left out of each third of the layers, and the answer
is read again: rows of one sweep. At every layer of a third, a group's share of the effects there is
what its share of the weight ought to be; a regression on the states that the router reads learns
to tell it beforehand. Effects change with the shares that follow them, so it is done in rounds.

    effect   e[b, g] = f(plan) − f(plan without g in third b), f the mean log-probability of a token
    target   s[l, g] = a[l, g] / Σ_g a[l, g],  a[l, g] = max(e[b(l), g], LEAST) ^ effect_power
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.answer.pieces import whole
from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import DataError
from atmoe.explanation.sweep import sweep
from atmoe.explanation.units import parts_of, without
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.train.rows import LENGTHS, Row, encode_row
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team

LEAST = 0.005
"""Nats a token that every group is held to cost at least: what is measured below it is noise."""
TOKENS = 64
"""So many tokens of each answer are read."""
FIT_STEPS = 400


def follow_effects(
    model: AtMoe,
    router: TrainingRouter,
    training: Sequence[Example],
    description: Description,
    settings: RouterSettings,
    team: Team,
) -> dict[str, list[float]]:
    """Fit the group heads of `router` to measured effects, in rounds.

    Args:
        model: is given what `router` is as its own, round by round.
        router: changed in place; has standardised.
        training: examples of the training side.
        description: whose groups they are drawn by.
        settings: of the training.
        team: the processes.

    Returns:
        Of each round, by group, the mean target over answers and layers.

    Raises:
        DataError: none of the answers drawn can be read.
    """
    sampler = Sampler(training, settings.seed + 5, description.main_group, description.rows)
    stream = iter(sampler)
    means: dict[str, list[float]] = {group: [] for group in model.layout.group_names}
    for _ in range(settings.effect_rounds):
        rows: list[Row] = []
        for example in islice(stream, 4 * settings.effect_answers):
            row = encode_row(model, example)
            if row is not None and len(rows) < settings.effect_answers:
                rows.append(row)
        if not rows:
            raise DataError(
                f"None of {4 * settings.effect_answers} examples drawn to leave groups out could "
                f"be read; shorten prompts and answers to {LENGTHS[-1]} tokens together, or give "
                f"more --effect-answers."
            )
        model.router = router.plain()
        states, targets = _measured(model, router, rows, settings.effect_power, team)
        _fit(router, states, targets, settings)
        for group, share in zip(means, targets.mean((0, 1)).tolist()):
            means[group].append(round(share, 4))
    return means


@torch.no_grad()
def _measured(
    model: AtMoe, router: TrainingRouter, rows: Sequence[Row], power: float, team: Team
) -> tuple[Tensor, Tensor]:
    """What the router read of these prompts, and what shares it ought to have given.

    Returns:
        [answers, layers, hidden] and [answers, layers, groups].
    """
    states, targets = [], []
    for row in tqdm(
        team.share(list(rows)),
        desc="leaving groups out",
        mininterval=5,
        disable=not team.leads,
    ):
        _, plans, _ = model.forward(model.collate([row.prompt]), router=router, logits=False)
        states.append(router.last()[0].float().cpu())
        effects = group_effects(model, row, plans[0]) ** power
        targets.append((effects / effects.sum(1, keepdim=True))[None])
    gathered = team.gather(list(zip(states, targets)))
    parts = [torch.cat(part).to(model.device) for part in zip(*gathered)]
    return parts[0], parts[1]


def group_effects(model: AtMoe, row: Row, plan: RoutingPlan) -> Tensor:
    """What leaving each group out of a layer's third costs, at least LEAST.

    Returns:
        [layers, groups], nats a token.
    """
    layout = model.layout
    every = parts_of(layout)
    kind = "band" if any(part.band for part in every) else "group"  # too few layers have no thirds
    parts = [part for part in every if part.kind == kind]
    plans = [plan, *(without(plan, (part.name_in(layout),)) for part in parts)]
    swept = whole(sweep(model, row.prompt, row.answer[:TOKENS], plans))
    f = swept.logp.mean(1)
    effects = torch.zeros(layout.layers, len(layout.groups))
    for part, value in zip(parts, f[1:]):
        effects[list(part.layers(layout)), layout.group_index(part.group)] = f[0] - value
    return effects.clamp(min=LEAST)


def _fit(router: TrainingRouter, states: Tensor, targets: Tensor, settings: RouterSettings) -> None:
    """Fit the group heads to targets, from equal shares, all answers in every step."""
    heads = [router.group_weight, router.group_bias]
    for head in heads:
        head.data.zero_()
    # The biases do not decay: then the mean share given is the mean share aimed at.
    groups: list[dict[str, Any]] = [
        {"params": heads[:1], "weight_decay": settings.effect_decay},
        {"params": heads[1:], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.fit_learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, FIT_STEPS)
    with torch.enable_grad():
        for _ in range(FIT_STEPS):
            s, _ = router(states, slice(None))
            optimizer.zero_grad()
            (-(targets * s.clamp(min=1e-8).log()).sum(-1).mean()).backward()
            optimizer.step()
            schedule.step()
