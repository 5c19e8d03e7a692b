"""Is the explanation true? How well routing weight predicts measured effect, over a cohort.

rank correlation     Kendall's τ-b of weight and effect (and of contribution and effect), units of
                     all prompts pooled
deletion             experts deleted in the order of their weight (`atmoe.study.deletion`)
sanity               a plan taken from another prompt must explain worse: its weights must correlate
                     less with this prompt's effects, the answer must be less likely under it, and
                     its weights beside these effects must earn no verdict "explain"

f is the mean log-probability of the answer's tokens, as in `atmoe.explanation.measure`.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.errors import DataError
from atmoe.explanation.measure import explain
from atmoe.explanation.units import part_of, parts_of
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import leaders, undisputed, verdict
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.routing.plan import RoutingPlan
from atmoe.study.answering import answered
from atmoe.study.bootstrap import DRAWS, interval
from atmoe.study.deletion import deletion, mean_logp

KINDS = ("group", "expert", "band")
SAMPLING = Sampling(max_new_tokens=64, repetition_penalty=1.1)
"""Of the answers that are studied, unless others are asked for: greedy."""
RANDOM_ORDERS = 10
"""In which experts are deleted, of each answer."""


def kendall(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Kendall's τ-b (ties corrected), −1 to 1; None where either is constant."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(x, y).statistic)
    return None if math.isnan(tau) else tau


@dataclass(frozen=True)
class Judged:
    """An answer that was explained, and how its weights did.

    Attributes:
        record: explained.
        deletion: as `atmoe.study.deletion.deletion` has it.
        less_likely: whether the answer is less likely under another prompt's plan; None = there was
            no other prompt.
    """

    record: Record
    deletion: Mapping[str, float]
    less_likely: bool | None

    @property
    def explanation(self) -> Explanation:
        """What was measured of the answer."""
        assert self.record.explanation is not None
        return self.record.explanation

    def to_dict(self) -> dict[str, Any]:
        """The record's own, and beside it the rest."""
        more = {"deletion": dict(self.deletion), "less_likely": self.less_likely}
        return self.record.to_dict() | more

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judged:
        """The inverse of `to_dict`.

        Raises:
            AtMoeError: not such a record, or of a format this version does not read.
        """
        return cls(Record.from_dict(data), data["deletion"], data["less_likely"])


def judged(
    model: AtMoe, record: Record, other: RoutingPlan | None, count: int, rng: random.Random
) -> Judged:
    """An explained answer, judged.

    Args:
        model: that gave it.
        record: of it, explained.
        other: the plan of another prompt; None = there is no other prompt.
        count: how many random orders experts are deleted in.
        rng: what those are drawn from.
    """
    assert record.explanation is not None
    metrics = deletion(model, record, record.explanation, count, rng)
    if other is None:
        return Judged(record, metrics, None)
    own, others = mean_logp(model, record, [record.plan, other]).tolist()
    return Judged(record, metrics, others < own)


def following(records: Sequence[Record]) -> list[RoutingPlan | None]:
    """The plan of each one's next, the first being the last one's; None where there is but one."""
    if len(records) < 2:
        return [None] * len(records)
    return [record.plan for record in (*records[1:], records[0])]


def study(
    model: AtMoe,
    prompts: Sequence[str],
    seed: int = 0,
    random_orders: int = RANDOM_ORDERS,
    sampling: Sampling = SAMPLING,
    batch: int = 10,
) -> dict[str, Any]:
    """Answer each prompt under the router's plan, explain it, and say how true the weights are.

    Args:
        model: to be studied.
        prompts: at least two.
        seed: of the random orders.
        random_orders: how many a prompt.
        sampling: of the answers.
        batch: how many prompts are answered at once.

    Returns:
        What `summary` says, and "seed", "sampling", "dtype", "random_orders", "seconds".

    Raises:
        DataError: fewer than two prompts, so that no plan can be taken from another.
    """
    _at_least_two(prompts)
    began, rng = time.perf_counter(), random.Random(seed)
    records = [
        replace(record, explanation=explain(model, record))
        for record in tqdm(
            [r for r in answered(model, prompts, sampling, batch) if r.answer_tokens],
            desc="explaining",
            mininterval=5,
        )
    ]
    rows = [
        judged(model, record, other, random_orders, rng)
        for record, other in zip(
            tqdm(records, desc="deleting experts", mininterval=5), following(records)
        )
    ]
    return summary(rows, seed) | {
        "seed": seed,
        "sampling": asdict(sampling),
        "dtype": model.precision,
        "random_orders": random_orders,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _at_least_two(prompts: Sequence[Any]) -> None:
    if len(prompts) < 2:
        raise DataError("Faithfulness needs at least two prompts that were answered; give it more.")


def summary(rows: Sequence[Judged], seed: int = 0) -> dict[str, Any]:
    """What is said of all answers together.

    Args:
        rows: at least two.
        seed: of what intervals are drawn from.

    Returns:
        "prompts", "answer_tokens".
        "kendall": "weight" and "contribution" → {kind of unit: τ-b with effect}.
        "top_expert_agrees": group → the fraction of prompts in which the expert with most weight is
            the one whose removal costs most; "all": of all groups.
        "among_several": the same, "agree" of so many, where several experts of a group have weight:
            of one alone it is true by construction, unless its removal makes the answer likelier.
        "comprehensiveness", "sufficiency", "deletion_percentile": means over prompts.
        "sanity": as `sanity`.
        "shapley_error": by how much Shapley values fail to add up, at most.
        "kendall_shapley": measure → τ-b of it, a group's, with the group's Shapley value; None
            where there are none.
        "verdicts": level → how many; "verdicts_shuffled": the same with weights from another
            prompt's plan, which must not explain.
        "team_size": members, mean over prompts.
        "effect_by_third": third → group → [mean, low, high] of its part of what all groups cost in
            all thirds, negative ones counted as 0; "late_minus_early": the same of group → how
            much more of it lies late. Means over prompts, 95% intervals from bootstrapping them
            (None of one alone).

    Raises:
        DataError: fewer than two.
    """
    _at_least_two(rows)
    explanations = [row.explanation for row in rows]
    agreeing: dict[str, list[bool]] = {}
    disputed = []  # of those groups in which several experts have weight
    for explanation in explanations:
        alone = undisputed(explanation)
        for group, (heaviest, strongest) in leaders(explanation).items():
            agreeing.setdefault(group, []).append(heaviest is strongest)
            if group not in alone:
                disputed.append(heaviest is strongest)
    agreement = {group: _fraction(flags) for group, flags in agreeing.items()}
    agreement["all"] = _fraction([flag for flags in agreeing.values() for flag in flags])
    shapley_errors = [
        abs(sum(x.shapley.values()) - (x.logp - x.base_logp)) for x in explanations if x.shapley
    ]
    metrics = [row.deletion for row in rows]
    others = following([row.record for row in rows])
    swapped = [with_weights_of(x, plan) for x, plan in zip(explanations, others) if plan]
    return {
        "prompts": len(rows),
        "answer_tokens": sum(len(row.record.answer_tokens) for row in rows),
        "kendall": {
            measure: {kind: _correlation(explanations, measure, kind) for kind in KINDS}
            for measure in ("weight", "contribution")
        },
        "top_expert_agrees": agreement,
        "among_several": {"agree": sum(disputed), "of": len(disputed)},
        "comprehensiveness": _mean_metric(metrics, "comprehensiveness"),
        "sufficiency": _mean_metric(metrics, "sufficiency"),
        "deletion_percentile": _mean_metric(metrics, "percentile"),
        "sanity": sanity(rows, swapped),
        "shapley_error": max(shapley_errors, default=None),
        "kendall_shapley": _with_shapley(explanations),
        "verdicts": _levels(explanations),
        "verdicts_shuffled": _levels(swapped),
        **_by_third(explanations, seed),
        "team_size": statistics.mean(len(row.record.plan.team) for row in rows),
    }


def _levels(explanations: Iterable[Explanation]) -> dict[str, int]:
    """Level of the verdict → how many have it."""
    return dict(Counter(str(verdict(explanation).level) for explanation in explanations))


def _by_third(explanations: Sequence[Explanation], seed: int) -> dict[str, Any]:
    """Where each group's effect lies, as `study` says; nothing where there are no thirds."""
    rows = []
    for explanation in explanations:
        cost = {unit.name: max(unit.effect, 0.0) for unit in explanation.of("band")}
        total = sum(cost.values())
        if total > 0:
            rows.append({name: value / total for name, value in cost.items()})
    if not rows:
        return {}
    layout = explanations[0].layout
    thirds = [part for part in parts_of(layout) if part.band]
    parts = torch.tensor([[row[p.name_in(layout)] for p in thirds] for row in rows])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(rows), (DRAWS, len(rows)), generator=generator)
    means = parts[drawn].mean(1)  # [draws, thirds · groups]
    places = {(p.band, p.group): i for i, p in enumerate(thirds)}

    def told(of: torch.Tensor, resampled: torch.Tensor) -> list[float | None]:
        if len(rows) < 2:
            return [round(float(of.mean()), 4), None, None]
        return [round(x, 4) for x in (float(of.mean()), *interval(resampled))]

    by_third: dict[str, dict[str, list[float | None]]] = {}
    for (band, group), i in places.items():
        by_third.setdefault(str(band), {})[group] = told(parts[:, i], means[:, i])
    more = {}
    for group in layout.group_names:
        late, early = places["late", group], places["early", group]
        more[group] = told(parts[:, late] - parts[:, early], means[:, late] - means[:, early])
    return {"effect_by_third": by_third, "late_minus_early": more}


def with_weights_of(explanation: Explanation, plan: RoutingPlan) -> Explanation:
    """An explanation whose weights are another plan's, beside the effects that were measured."""
    layout = explanation.layout
    units = tuple(
        replace(unit, weight=part_of(unit.name, layout).weight(plan)) for unit in explanation.units
    )
    return replace(explanation, units=units)


def _correlation(explanations: Sequence[Explanation], measure: str, kind: str) -> float | None:
    """Kendall's τ-b of a measure and the effect, units of one kind, all prompts pooled."""
    units = [u for explanation in explanations for u in explanation.of(kind)]
    return kendall([getattr(u, measure) for u in units], [u.effect for u in units])


def _with_shapley(explanations: Sequence[Explanation]) -> dict[str, float | None]:
    """Kendall's τ-b of a group's weight, contribution and effect with its Shapley value."""
    pairs = [
        (unit, explanation.shapley[unit.name])
        for explanation in explanations
        if explanation.shapley
        for unit in explanation.of("group")
    ]
    values = [value for _, value in pairs]
    return {
        measure: kendall([getattr(unit, measure) for unit, _ in pairs], values) if pairs else None
        for measure in ("weight", "contribution", "effect")
    }


def _mean_metric(metrics: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Over the prompts that have it; None where none has."""
    values = [metric[name] for metric in metrics if name in metric]
    return statistics.mean(values) if values else None


def _fraction(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def sanity(rows: Sequence[Judged], swapped: Sequence[Explanation]) -> dict[str, float | None]:
    """Whether another prompt's plan does worse.

    Args:
        rows: as they were measured.
        swapped: their effects beside another prompt's weights.

    Returns:
        "explains_worse": the fraction of prompts in which that plan's weights correlate less with
            the effects measured here.
        "less_likely": the fraction in which the answer is less likely under it; None where there
            was no other prompt to any.
    """
    worse = []
    for row, other in zip(rows, swapped):
        tau_own, tau_other = (
            kendall([u.weight for u in units], [u.effect for u in units]) or 0.0
            for units in (row.explanation.of("expert"), other.of("expert"))
        )
        worse.append(tau_other < tau_own)
    less = [row.less_likely for row in rows if row.less_likely is not None]
    return {"explains_worse": statistics.mean(worse), "less_likely": _fraction(less)}
