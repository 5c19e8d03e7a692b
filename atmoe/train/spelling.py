"""A planner that reads states and letters: fitted apart, and stacked on topics that neither saw.

    logit = α_g · states + β_g · (letters − how often an expert is asked for at all) + c_g

Fitted together, letters would learn the training's names by heart, and states would leave it to
them. So each is fitted alone, without a tenth of the topics, and how much each counts in a group g
is what reads that tenth best (stacked generalisation, Wolpert 1992). What both know, how often an
expert is asked for, counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atmoe.data import Example
from atmoe.routing.planner import Planner
from atmoe.routing.spelling import Spelling
from atmoe.sources.fitting import minimise
from atmoe.train.fitting import fit_planner, kept_out, labelled_yes_or_no
from atmoe.train.settings import RouterSettings

DECAY = 3e-6
"""Of the letters' regression, a factor of the squares' sum. With 1e-6 they read medical topics kept
out about as well, and with 1e-5 fewer specialties of unseen diseases."""
STEPS = 60
"""Of L-BFGS, at most."""


def fit_both(
    planner: Planner, states: Tensor, examples: Sequence[Example], settings: RouterSettings
) -> dict[str, Any]:
    """Fit what a planner reads off states, and what it reads off letters.

    Args:
        planner: changed in place; it has a hidden layer.
        states: as it reads them, [examples, depth, hidden].
        examples: with their labels.
        settings: of the fit.

    Returns:
        What to report: {"planner_decay"}, and where letters are read "letters": group → how much
        states and letters count, α and β. Where no topic can be kept out, letters say nothing.
    """
    decay = fit_planner(planner, states, examples, settings)
    facts: dict[str, Any] = {"planner_decay": decay}
    spelling, apart = planner.spelling, kept_out(examples)
    if spelling is None or not apart.any() or apart.all():
        return facts
    whole = {name: value.clone() for name, value in planner.state_dict().items()}
    # 1. both without the topics kept out, and what they say of those
    rest, rows = (~apart).nonzero()[:, 0], apart.nonzero()[:, 0]
    fit_planner(planner, states[rest], _at(examples, rest), replace(settings, fit_decays=(decay,)))
    _fit_spelling(planner, spelling, _at(examples, rest))
    held = _at(examples, rows)
    with torch.no_grad():
        said = planner.logits(states[rows]), spelling([e.prompt for e in held])
    labels = labelled_yes_or_no(planner.layout, held, states.device)
    counts = {}
    for group in planner.layout.group_names:
        members = planner.layout.members(group)
        counts[group] = _stack(*(part[:, members] for part in (*said, *labels)))
    # 2. both of all, each as far as it counts
    planner.load_state_dict(whole)
    _fit_spelling(planner, spelling, examples)
    with torch.no_grad():
        for group, (of_states, of_letters, constant) in counts.items():
            members = planner.layout.members(group)
            planner.weight[:, members] *= of_states
            planner.bias[:, members] *= of_states
            planner.bias[:, members] += constant
            spelling.weight[:, members] *= of_letters
            spelling.bias[members] *= of_letters
    return facts | {"letters": {g: [round(x, 3) for x in each[:2]] for g, each in counts.items()}}


def _at(examples: Sequence[Example], rows: Tensor) -> list[Example]:
    return [examples[i] for i in rows.tolist()]


def _fit_spelling(planner: Planner, spelling: Spelling, examples: Sequence[Example]) -> None:
    """Letters to labels; the bias is what they say beyond how often an expert is asked for."""
    rows = spelling.numbers([example.prompt for example in examples])
    asked, known = labelled_yes_or_no(planner.layout, examples, spelling.weight.device)
    often = ((asked * known).sum(0) / known.sum(0).clamp(min=1)).clamp(1e-4, 1 - 1e-4).logit()
    spelling.take_rarity(rows)
    bags = spelling.bags(rows)
    with torch.no_grad():
        spelling.weight.zero_()
        spelling.bias.copy_(often)
    heads = [spelling.weight, spelling.bias]

    def loss() -> Tensor:
        losses = F.binary_cross_entropy_with_logits(spelling.of(bags), asked, reduction="none")
        return (losses * known).sum() / len(rows) + DECAY * spelling.weight.square().sum()

    with torch.enable_grad():
        for head in heads:
            head.requires_grad_(True)
        minimise(loss, heads, STEPS)
    with torch.no_grad():
        spelling.bias.sub_(often)


def _stack(
    states: Tensor, letters: Tensor, asked: Tensor, known: Tensor
) -> tuple[float, float, float]:
    """How much states and letters count in a group, and a constant.

    Few topics move it little: it is drawn to 1, 1 and 0 as if by one more row of each.

    Args:
        states: their logits, of examples that neither was fitted on, [examples, members].
        letters: theirs.
        asked: whether each expert is asked for, 0 or 1.
        known: whether that is known, 0 or 1.
    """
    free = torch.zeros(3, device=states.device, requires_grad=True)

    def loss() -> Tensor:
        logits = free[0].exp() * states + free[1].exp() * letters + free[2]
        losses = F.binary_cross_entropy_with_logits(logits, asked, reduction="none")
        return ((losses * known).sum() + free.square().sum()) / len(states)

    with torch.enable_grad():
        minimise(loss, [free], STEPS)
    of_states, of_letters, constant = free.detach().tolist()
    return math.exp(of_states), math.exp(of_letters), constant
