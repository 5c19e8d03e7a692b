"""Why this answer: for every part of the mixture its weight, its contribution and its measured effect (design: section 4).

    weight         the share of the routing weight it received, mean over layers
    contribution   mean over tokens of ‖γ w (α/r) B A x‖ / ‖W x‖, summed over a layer's adapted linears, mean over layers
    effect         f(plan) − f(plan with the part dropped), f = mean log-probability of the answer's tokens, teacher-forced

The parts ("units") are the groups, the experts, and the groups in each third of the layers. Nothing is generated again:
each unit is a row of one sweep (`atmoe.sweep`). The three numbers are never merged: routing weight predicts effect badly
in mixture-of-experts models (arXiv 2606.10703), so it is measured whether it does here (`atmoe.faithfulness`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from atmoe.errors import AtMoeError
from atmoe.experts import ExpertLinear
from atmoe.explanation import Explanation, Unit
from atmoe.model import AtMoe
from atmoe.plan import Layout, RoutingPlan
from atmoe.record import Record
from atmoe.spans import sentence_spans
from atmoe.steering import BANDS, Override, State, Steering, layer_range
from atmoe.sweep import finish, sweep

SHAPLEY_GROUPS = 6
"""Exact Shapley values need 2^groups rows; with more groups than this they are left out."""


def explain(model: AtMoe, record: Record) -> Explanation:
    """`explaining`, run to its end."""
    return finish(explaining(model, record))


def explaining(model: AtMoe, record: Record) -> Generator[float, None, Explanation]:
    """Measure every unit of a record. Yields the fraction done; returns the `Explanation`.

    Raises:
        AtMoeError: the record was made by another model, or its answer is empty.
    """
    check_made_by(model, record)
    began, layout, plan = time.perf_counter(), model.layout, record.plan
    dropped = units_of(layout)
    coalitions = shapley_rows(layout)
    plans = {(): plan} | {(name,): without(plan, (name,)) for name in dropped}
    plans |= {gone: without(plan, gone) for gone in coalitions if gone not in plans}
    everything = tuple(layout.group_names)
    plans.setdefault(everything, RoutingPlan.off(layout))
    contributions = Contributions(model)
    prompt = model.encode(record.prompt)
    contributions.tokens = len(prompt.ids) + len(record.answer_tokens)
    found = yield from sweep(model, prompt, record.answer_tokens, list(plans.values()), contributions)
    logp = dict(zip(plans, found.logp))
    f = {gone: float(values.double().mean()) for gone, values in logp.items()}
    units = []
    for name in dropped:
        difference = (logp[()] - logp[name,]).double()
        where = list(layers_of(name, layout))
        units.append(Unit(name, kind_of(name), weight_of(plan, name), float(contributions.values[where, _column(name, layout)].mean()),
                          float(difference.mean()), tuple(difference.tolist())))
    shapley = shapley_values(layout.group_names, {gone: f[gone] for gone in coalitions}) if coalitions else None
    texts = [model.tokenizer.decode([token]) for token in record.answer_tokens]
    return Explanation(layout, tuple(units), tuple(texts), sentence_spans(model.tokenizer, record.answer_tokens), f[()], f[everything],
                       shapley, found.rows + 1, round(time.perf_counter() - began, 3))


def check_made_by(model: AtMoe, record: Record) -> None:
    """Raises: AtMoeError, where the record was made by another model, or with other names."""
    if record.model.get("sha256") != model.info.sha256 or record.plan.layout != model.layout:
        raise AtMoeError(f"The record was made by the model {record.model.get('name')!r} in another version; explain it with that one, "
                         f"or ask again.")


# -- units ----------------------------------------------------------------------------------------------------------


def units_of(layout: Layout) -> tuple[str, ...]:
    """Names of all units: groups, experts, then groups by third of the layers (where there are three layers)."""
    bands = BANDS if layout.layers >= len(BANDS) else ()
    return (*layout.group_names, *layout.expert_names, *(f"{g}@{band}" for g in layout.group_names for band in bands))


def kind_of(name: str) -> str:
    return "expert" if "/" in name else "band" if "@" in name else "group"


def layers_of(name: str, layout: Layout) -> range:
    return layer_range(name.partition("@")[2] or "all", layout.layers)


def without(plan: RoutingPlan, units: tuple[str, ...]) -> RoutingPlan:
    """The plan with these units dropped: nobody takes their weight over."""
    return Steering(tuple(Override(name.partition("@")[0], State.OFF, None, name.partition("@")[2] or "all") for name in units)).apply(plan)


def weight_of(plan: RoutingPlan, name: str) -> float:
    """Mean over the unit's layers of its share of the routing weight: an expert's is group share · in-group share."""
    column = _column(name, plan.layout) - len(plan.layout.groups)
    shares = plan.weights[:, column] if "/" in name else plan.group_shares[:, column + len(plan.layout.groups)]
    return float(shares[list(layers_of(name, plan.layout))].mean())


def _column(name: str, layout: Layout) -> int:
    """Where a unit stands among groups and experts."""
    if "/" in name:
        return len(layout.groups) + layout.expert_index(name)
    return layout.group_index(name.partition("@")[0])


@dataclass
class Contributions:
    """Watches the reference's pass of a sweep. values: [layers, groups + experts], see the module."""

    model: AtMoe
    tokens: int = 0
    values: Tensor = field(init=False)
    members: Tensor = field(init=False)

    def __post_init__(self):
        layout = self.model.layout
        experts = len(layout.expert_names)
        group_of = torch.tensor(layout.group_of)
        self.members = torch.cat([group_of == torch.arange(len(layout.groups))[:, None], torch.eye(experts, dtype=torch.bool)])
        self.values = torch.zeros(layout.layers, len(self.members))

    def __call__(self, linear: ExpertLinear, y: Tensor, scaled: Tensor) -> None:
        """y: W x [1, tokens, out].  scaled: m (α/r) A x [1, tokens, R], whose product with B is what the experts add."""
        scaled, B = scaled[0, :self.tokens].float(), linear.B.float()
        own = self.members.to(scaled.device)[:, linear.expert_of_rank]  # [units, R]
        parts = scaled * own[:, None]
        # ‖B s‖² = sᵀ (BᵀB) s: the outputs themselves, [units, tokens, out], are never made.
        squared = ((parts @ (B.T @ B)) * parts).sum(-1)
        ratio = squared.clamp(min=0).sqrt() / y[0, :self.tokens].float().norm(dim=-1).clamp(min=1e-12)
        self.values[linear.layer] += ratio.mean(-1).cpu()


# -- Shapley values -------------------------------------------------------------------------------------------------


def shapley_rows(layout: Layout) -> list[tuple[str, ...]]:
    """Every set of groups, as the tuple of those dropped; empty where they would be too many."""
    names = layout.group_names
    if len(names) > SHAPLEY_GROUPS:
        return []
    return [gone for size in range(len(names) + 1) for gone in combinations(names, size)]


def shapley_values(names: tuple[str, ...], f: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """Exact Shapley values (Shapley 1953): each group's mean gain over all orders in which the groups may join.

    f: the value of every set of groups, by the tuple of those dropped. They add up to f(none dropped) − f(all dropped).
    """
    count = len(names)
    in_order = lambda gone: tuple(n for n in names if n in gone)
    values = {}
    for name in names:
        others = [n for n in names if n != name]
        total = 0.0
        for size in range(count):
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for present in combinations(others, size):
                absent = [n for n in others if n not in present]
                total += share * (f[in_order(absent)] - f[in_order([*absent, name])])
        values[name] = total
    return values
