"""Why this answer: every part's weight, its contribution and its measured effect.

    weight         the share of the routing weight it received, mean over layers
    contribution   mean over tokens of ‖γ w (α/r) B A x‖ / ‖W x‖, summed over a layer's adapted
                   linears, mean over layers
    effect         f(plan) − f(plan with the part dropped), where f is the mean log-probability of
                   the answer's tokens, teacher-forced

The parts ("units") are the groups, the experts, and the groups in each third of the layers. Nothing
is generated again: each unit is a row of a sweep (`atmoe.explanation.sweep`). There are two, so
that what is asked for first is there first:

    opening      the whole answer without each group, each expert, all of them: who mattered.
                 Experts without weight cost nothing, nor does the only expert of a group.
    completing   the groups by third of the layers, the sets of groups of the Shapley values, and
                 the noise floor

The noise floor is what an effect must exceed to tell something of the part removed: a greedy answer
is the likeliest under its own plan, so that any other plan, whatever it changes, makes it a little
less likely. It is measured on plans in which every share of every layer is moved up or down by a
tenth of itself at random, so that no part loses or gains on the whole.

The three numbers
are never merged: routing weight predicts effect badly in mixture-of-experts models
(arXiv 2606.10703), so it is measured whether it does here (`atmoe.study.faithfulness`).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from atmoe.answer.answer import Answer
from atmoe.answer.pieces import telling, whole
from atmoe.errors import AtMoeError
from atmoe.explanation.shapley import shapley_of, shapley_rows
from atmoe.explanation.spans import sentence_spans, token_texts
from atmoe.explanation.sweep import sweep
from atmoe.explanation.units import Part, parts_of, without
from atmoe.explanation.value import Explanation, Unit
from atmoe.mixture.experts import ExpertLinear
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan

Dropped = tuple[str, ...]
NEUTRAL, NEUTRAL_PLANS = 0.1, 2
"""The noise floor is measured on so many plans, each share of which is moved by this part of
itself: far less than a removal takes, and far more than two readings of one plan differ by."""


def explain(model: Mixture, answer: Answer) -> Explanation:
    """`explaining`, run to its end."""
    return whole(explaining(model, answer))


def explaining(model: Mixture, answer: Answer) -> Generator[float, None, Explanation]:
    """Measure every unit of an answer.

    Yields:
        The fraction done.

    Returns:
        The `Explanation`.

    Raises:
        AtMoeError: the answer was given by another model, or is empty.
    """
    first = yield from telling(opening(model, answer), _first_half)
    return (yield from telling(completing(model, answer, first), _second_half))


def opening(model: Mixture, answer: Answer) -> Generator[float, None, Explanation]:
    """Measure the groups and the experts of an answer: what can be said of it first.

    Yields:
        The fraction done.

    Returns:
        An `Explanation` without thirds of the layers, Shapley values and noise floor.

    Raises:
        AtMoeError: the answer was given by another model, or is empty.
    """
    check_made_by(model, answer)
    began = time.perf_counter()
    layout, plan = model.layout, answer.plan
    parts = [part for part in parts_of(layout) if part.kind != "band"]

    # 1. the plans to read the answer under, by the units that are dropped
    plans: dict[Dropped, RoutingPlan] = {(): plan}
    for part in parts:
        plans[part.target,] = without(plan, (part.target,))
    # A model of one group has it here already.
    plans.setdefault(tuple(layout.group_names), RoutingPlan.off(layout))

    # 2. read it
    prompt = model.encode(answer.prompt)
    contributions = Contributions(model, len(prompt.ids) + len(answer.answer_tokens))
    swept = yield from sweep(
        model, prompt, answer.answer_tokens, list(plans.values()), contributions
    )
    logp = dict(zip(plans, swept.logp))

    # 3. what each unit did
    return Explanation(
        layout,
        tuple(
            _unit(part, plan, logp[()] - logp[part.target,], contributions.values) for part in parts
        ),
        token_texts(model.tokenizer, answer.answer_tokens),
        sentence_spans(model.tokenizer, answer.answer_tokens),
        _mean(logp[()]),
        _mean(logp[tuple(layout.group_names)]),
        None,
        swept.rows + 1,
        _since(began),
    )


def completing(
    model: Mixture, answer: Answer, first: Explanation
) -> Generator[float, None, Explanation]:
    """Measure what `opening` left: thirds of the layers, Shapley values, the noise floor.

    Args:
        model: as `opening` was given it.
        answer: as well.
        first: what it returned.

    Yields:
        The fraction done.

    Returns:
        The whole `Explanation`.
    """
    began = time.perf_counter()
    layout, plan = model.layout, answer.plan
    parts = [part for part in parts_of(layout) if part.kind == "band"]
    names = layout.group_names

    # 1. the plans
    f: dict[Dropped, float] = {(): first.logp}
    f |= {(unit.name,): first.logp - unit.effect for unit in first.of("group")}
    f[names] = first.base_logp
    bands = [without(plan, (part.name_in(layout),)) for part in parts]
    coalitions = [dropped for dropped in shapley_rows(layout) if dropped not in f]
    plans = [
        plan,
        *(neutral(plan, seed) for seed in range(NEUTRAL_PLANS)),
        *bands,
        *(without(plan, dropped) for dropped in coalitions),
    ]

    # 2. read it
    prompt = model.encode(answer.prompt)
    contributions = Contributions(model, len(prompt.ids) + len(answer.answer_tokens))
    swept = yield from sweep(model, prompt, answer.answer_tokens, plans, contributions)
    full, *others = swept.logp
    floor = max(abs(_mean(full - row)) for row in others[:NEUTRAL_PLANS])
    in_bands = others[NEUTRAL_PLANS : NEUTRAL_PLANS + len(bands)]
    f |= dict(zip(coalitions, map(_mean, others[NEUTRAL_PLANS + len(bands) :])))

    # 3. what they say
    units = [
        _unit(part, plan, full - row, contributions.values) for part, row in zip(parts, in_bands)
    ]
    return replace(
        first,
        units=(*first.units, *units),
        shapley=shapley_of(plan, f) if shapley_rows(layout) else None,
        rows=first.rows + swept.rows + 1,
        seconds=first.seconds + _since(began),
        floor=floor,
    )


def neutral(plan: RoutingPlan, seed: int) -> RoutingPlan:
    """The plan with every share of every layer moved up or down by `NEUTRAL` of itself, at random.

    What a layer's groups have together stays, and what a group's experts have together.

    Args:
        plan: of an answer.
        seed: the same one moves the shares the same way.
    """
    random = torch.Generator().manual_seed(seed)

    def moved(shares: Tensor) -> Tensor:
        signs = 2 * torch.randint(0, 2, shares.shape, generator=random) - 1
        new = shares * (1 + NEUTRAL * signs)
        return new * (shares.sum(1) / new.sum(1).clamp(min=1e-9))[:, None]

    inside = plan.expert_shares.clone()
    for group in plan.layout.group_names:
        members = plan.layout.members(group)
        inside[:, members] = moved(inside[:, members])
    return replace(plan, group_shares=moved(plan.group_shares), expert_shares=inside)


def check_made_by(model: Mixture, answer: Answer) -> None:
    """That an answer is this model's.

    Raises:
        AtMoeError: it was given by another model, or with other names.
    """
    if answer.model.get("sha256") != model.info.sha256 or answer.plan.layout != model.layout:
        raise AtMoeError(
            f"The record was made by the model {answer.model.get('name')!r} in another version; "
            f"explain it with that one, or ask again."
        )


def _unit(part: Part, plan: RoutingPlan, token_effects: Tensor, contributions: Tensor) -> Unit:
    """What was measured of a part.

    Args:
        part: which.
        plan: of the answer.
        token_effects: log-probability of each token under the plan, less that without the part.
        contributions: [layers, groups + experts].
    """
    layout = plan.layout
    own = contributions[list(part.layers(layout)), part.column(layout)]
    effects = token_effects.double()
    return Unit(
        part.name_in(layout),
        part.kind,
        part.weight(plan),
        float(own.mean()),
        float(effects.mean()),
        tuple(effects.tolist()),
    )


def _mean(logp: Tensor) -> float:
    return float(logp.double().mean())


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)


def _first_half(fraction: float) -> float:
    return fraction / 2


def _second_half(fraction: float) -> float:
    return (1 + fraction) / 2


@dataclass
class Contributions:
    """Watches the reference's pass of a sweep, and sums what each group and expert adds.

    Attributes:
        tokens: how many of the pass count; behind them is filler.
        values: [layers, groups + experts], the contribution of each.
        members: [groups + experts, experts], which experts belong to each.
    """

    model: Mixture
    tokens: int
    values: Tensor = field(init=False)
    members: Tensor = field(init=False)

    def __post_init__(self):
        layout = self.model.layout
        experts = len(layout.expert_names)
        group_of = torch.tensor(layout.group_of)
        self.members = torch.cat(
            [
                group_of == torch.arange(len(layout.groups))[:, None],
                torch.eye(experts, dtype=torch.bool),
            ]
        )
        self.values = torch.zeros(layout.layers, len(self.members))

    def __call__(self, linear: ExpertLinear, y: Tensor, scaled: Tensor) -> None:
        """Add what one adapted linear does.

        Args:
            linear: W, and the experts' factors beside it.
            y: W x [1, tokens, out].
            scaled: m (α/r) A x [1, tokens, R], whose product with B is what the experts add.
        """
        scaled, B = scaled[0, : self.tokens].float(), linear.B.float()
        own = self.members.to(scaled.device)[:, linear.expert_of_rank]  # [units, R]
        parts = scaled * own[:, None]  # [units, tokens, R]
        # ‖B s‖² = sᵀ (BᵀB) s: the outputs themselves, [units, tokens, out], are never made.
        squared = ((parts @ (B.T @ B)) * parts).sum(-1)
        size = y[0, : self.tokens].float().norm(dim=-1).clamp(min=1e-12)
        ratio = squared.clamp(min=0).sqrt() / size
        self.values[linear.layer] += ratio.mean(-1).cpu()
