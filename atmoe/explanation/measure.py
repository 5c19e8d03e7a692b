"""Why this answer: every part's weight, its contribution and its measured effect.

    weight         the share of the routing weight it received, mean over layers
    contribution   mean over tokens of ‖γ w (α/r) B A x‖ / ‖W x‖, summed over a layer's adapted
                   linears, mean over layers
    effect         f(plan) − f(plan with the part dropped), where f is the mean log-probability of
                   the answer's tokens, teacher-forced

The parts ("units") are the groups, the experts, and the groups in each third of the layers. Nothing
is generated again: each unit is a row of one sweep (`atmoe.explanation.sweep`). The three numbers
are never merged: routing weight predicts effect badly in mixture-of-experts models
(arXiv 2606.10703), so it is measured whether it does here (`atmoe.study.faithfulness`).
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
from atmoe.explanation.spans import sentence_spans, token_texts
from atmoe.explanation.sweep import finish, sweep
from atmoe.explanation.units import parts_of, without
from atmoe.explanation.value import Explanation, Unit
from atmoe.mixture.experts import ExpertLinear
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan


def explain(model: Mixture, answer: Answer) -> Explanation:
    """`explaining`, run to its end."""
    return finish(explaining(model, answer))


def explaining(model: Mixture, answer: Answer) -> Generator[float, None, Explanation]:
    """Measure every unit of an answer.

    Yields:
        The fraction done.

    Returns:
        The `Explanation`.

    Raises:
        AtMoeError: the answer was given by another model, or is empty.
    """
    check_made_by(model, answer)
    began = time.perf_counter()
    layout, plan = model.layout, answer.plan

    # 1. the plans to read the answer under, by the units that are dropped
    parts = {part.name_in(layout): part for part in parts_of(layout)}
    coalitions = shapley_rows(layout)
    all_groups = tuple(layout.group_names)
    plans: dict[tuple[str, ...], RoutingPlan] = {(): plan}
    for name in parts:
        plans[name,] = without(plan, (name,))
    for dropped in coalitions:
        if dropped not in plans:
            plans[dropped] = without(plan, dropped)
    plans.setdefault(all_groups, RoutingPlan.off(layout))

    # 2. read it
    prompt = model.encode(answer.prompt)
    contributions = Contributions(model, len(prompt.ids) + len(answer.answer_tokens))
    swept = yield from sweep(
        model, prompt, answer.answer_tokens, list(plans.values()), contributions
    )
    logp = dict(zip(plans, swept.logp))
    f = {dropped: float(values.double().mean()) for dropped, values in logp.items()}

    # 3. what each unit did
    units = []
    for name, part in parts.items():
        token_effects = (logp[()] - logp[name,]).double()
        layers = list(part.layers(layout))
        contribution = contributions.values[layers, part.column(layout)].mean()
        units.append(
            Unit(
                name,
                part.kind,
                part.weight(plan),
                float(contribution),
                float(token_effects.mean()),
                tuple(token_effects.tolist()),
            )
        )
    shapley = None
    if coalitions:
        shapley = shapley_values(layout.group_names, {gone: f[gone] for gone in coalitions})
    return Explanation(
        layout,
        tuple(units),
        token_texts(model.tokenizer, answer.answer_tokens),
        sentence_spans(model.tokenizer, answer.answer_tokens),
        f[()],
        f[all_groups],
        shapley,
        swept.rows + 1,
        round(time.perf_counter() - began, 3),
    )


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
