"""Why this answer: for every part of the mixture its weight, its contribution and its measured effect (design: section 4).

    weight         the share of the routing weight it received, mean over layers
    contribution   mean over tokens of ‖γ w (α/r) B A x‖ / ‖W x‖, summed over a layer's adapted linears, mean over layers
    effect         f(plan) − f(plan with the part dropped), f = mean log-probability of the answer's tokens, teacher-forced

The parts ("units") are the groups, the experts, and the groups in each third of the layers. Nothing is generated again:
each unit is a row of one sweep (`atmoe.explanation.sweep`). The three numbers are never merged: routing weight predicts effect badly
in mixture-of-experts models (arXiv 2606.10703), so it is measured whether it does here (`atmoe.study.faithfulness`).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atmoe.answer.answer import Answer
from atmoe.errors import AtMoeError
from atmoe.explanation.shapley import shapley_rows, shapley_values
from atmoe.explanation.spans import sentence_spans
from atmoe.explanation.sweep import finish, sweep
from atmoe.explanation.units import column_of, kind_of, layers_of, units_of, weight_of, without
from atmoe.explanation.value import Explanation, Unit
from atmoe.mixture.experts import ExpertLinear
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan


def explain(model: Mixture, given: Answer) -> Explanation:
    """`explaining`, run to its end."""
    return finish(explaining(model, given))


def explaining(model: Mixture, given: Answer) -> Generator[float, None, Explanation]:
    """Measure every unit of a given answer. Yields the fraction done; returns the `Explanation`.

    Raises:
        AtMoeError: the record was made by another model, or its answer is empty.
    """
    check_made_by(model, given)
    began, layout, plan = time.perf_counter(), model.layout, given.plan
    dropped = units_of(layout)
    coalitions = shapley_rows(layout)
    plans = {(): plan} | {(name,): without(plan, (name,)) for name in dropped}
    plans |= {gone: without(plan, gone) for gone in coalitions if gone not in plans}
    everything = tuple(layout.group_names)
    plans.setdefault(everything, RoutingPlan.off(layout))
    contributions = Contributions(model)
    prompt = model.encode(given.prompt)
    contributions.tokens = len(prompt.ids) + len(given.answer_tokens)
    found = yield from sweep(
        model, prompt, given.answer_tokens, list(plans.values()), contributions
    )
    logp = dict(zip(plans, found.logp))
    f = {gone: float(values.double().mean()) for gone, values in logp.items()}
    units = []
    for name in dropped:
        difference = (logp[()] - logp[name,]).double()
        where = list(layers_of(name, layout))
        units.append(
            Unit(
                name,
                kind_of(name),
                weight_of(plan, name),
                float(contributions.values[where, column_of(name, layout)].mean()),
                float(difference.mean()),
                tuple(difference.tolist()),
            )
        )
    shapley = (
        shapley_values(layout.group_names, {gone: f[gone] for gone in coalitions})
        if coalitions
        else None
    )
    texts = [model.tokenizer.decode([token]) for token in given.answer_tokens]
    return Explanation(
        layout,
        tuple(units),
        tuple(texts),
        sentence_spans(model.tokenizer, given.answer_tokens),
        f[()],
        f[everything],
        shapley,
        found.rows + 1,
        round(time.perf_counter() - began, 3),
    )


def check_made_by(model: Mixture, given: Answer) -> None:
    """Raises: AtMoeError, where the record was made by another model, or with other names."""
    if given.model.get("sha256") != model.info.sha256 or given.plan.layout != model.layout:
        raise AtMoeError(
            f"The record was made by the model {given.model.get('name')!r} in another version; explain it with that one, "
            f"or ask again."
        )


@dataclass
class Contributions:
    """Watches the reference's pass of a sweep. values: [layers, groups + experts], see the module."""

    model: Mixture
    tokens: int = 0
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
        """y: W x [1, tokens, out].  scaled: m (α/r) A x [1, tokens, R], whose product with B is what the experts add."""
        scaled, B = scaled[0, : self.tokens].float(), linear.B.float()
        own = self.members.to(scaled.device)[:, linear.expert_of_rank]  # [units, R]
        parts = scaled * own[:, None]
        # ‖B s‖² = sᵀ (BᵀB) s: the outputs themselves, [units, tokens, out], are never made.
        squared = ((parts @ (B.T @ B)) * parts).sum(-1)
        ratio = squared.clamp(min=0).sqrt() / y[0, : self.tokens].float().norm(dim=-1).clamp(
            min=1e-12
        )
        self.values[linear.layer] += ratio.mean(-1).cpu()
