"""Is the explanation true? How well routing weight predicts measured effect, over a cohort.

rank correlation     Kendall's τ-b of weight and effect (and of contribution and effect), units of
                     all prompts pooled
comprehensiveness    p(full) − p(without the top k), and
sufficiency          p(full) − p(only the top k), experts in the order of their weight, mean over k
                     (ERASER, arXiv 1911.03429); p is the answer's probability per token, exp f.
                     Normalised between the best and the worst order (arXiv 2408.08137), of those
                     that were tried: by effect, its reverse, by weight, and for comprehensiveness
                     the random ones
deletion             the area under f as experts go in the order of their weight, as a percentile
                     among random orders
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.errors import DataError
from atmoe.explanation.measure import explain
from atmoe.explanation.sweep import finish, sweep
from atmoe.explanation.units import part_of, parts_of, without
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import leaders, verdict
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.routing.plan import RoutingPlan
from atmoe.study.answering import answered
from atmoe.study.bootstrap import DRAWS, interval

TOP = (1, 2, 3, 5, 8)
"""How many experts are deleted, or kept."""
KINDS = ("group", "expert", "band")


def kendall(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Kendall's τ-b (ties corrected), −1 to 1; None where either is constant."""
    dx, dy = _signs(x), _signs(y)
    norm = float((dx.square().sum() * dy.square().sum()).sqrt())
    return float((dx * dy).sum()) / norm if norm else None


def _signs(values: Sequence[float]) -> Tensor:
    """Which of each two values is greater [values, values]: 1, −1, or 0 for a tie."""
    v = torch.as_tensor(values, dtype=torch.float64)
    return torch.sign(v[:, None] - v[None])


def orders(explanation: Explanation, count: int, rng: random.Random) -> dict[str, list[str]]:
    """Orders in which experts can be deleted.

    Returns:
        "weight", "effect" and "reverse" (of effect), the largest first, and `count` random ones,
        "random 0" and so on.
    """
    experts = explanation.of("expert")
    names = [u.name for u in experts]
    by_name = {
        "weight": [u.name for u in sorted(experts, key=lambda u: -u.weight)],
        "effect": [u.name for u in sorted(experts, key=lambda u: -u.effect)],
        "reverse": [u.name for u in sorted(experts, key=lambda u: u.effect)],
    }
    for i in range(count):
        by_name[f"random {i}"] = rng.sample(names, len(names))
    return by_name


def deletion(
    model: AtMoe, record: Record, explanation: Explanation, count: int, rng: random.Random
) -> dict[str, float]:
    """One record's deletion metrics.

    Args:
        model: that gave the answer.
        record: of it.
        explanation: of it.
        count: how many random orders are tried.
        rng: what they are drawn from.

    Returns:
        "comprehensiveness", "sufficiency": normalised, 1 = as good as the best order tried.
        "percentile": of the deletion area among random orders, 100 = falls fastest.
        A metric is left out where best and worst order do not differ; all are where there is one
        expert.
    """
    # 1. the experts that are dropped, by (order, k, "without" the top k or "only" these)
    by_name = orders(explanation, count, rng)
    experts = [u.name for u in explanation.of("expert")]
    top = [k for k in TOP if k < len(experts)]
    if not top:  # of a single expert there are no orders
        return {}
    dropped: dict[tuple[str, int, str], frozenset[str]] = {}
    for name, order in by_name.items():
        for k in top:
            dropped[name, k, "without"] = frozenset(order[:k])
            if not name.startswith("random"):
                dropped[name, k, "only"] = frozenset(order[k:])

    # 2. the answer read without them; orders often begin alike, so each set is one row
    plans = {
        names: without(record.plan, tuple(n for n in experts if n in names))
        for names in dropped.values()
    }
    logp = _mean_logp(model, record, [record.plan, *plans.values()])
    logp_without = dict(zip(plans, logp[1:].tolist()))
    f = {what: logp_without[names] for what, names in dropped.items()}
    p = {what: math.exp(value) for what, value in f.items()}
    full = float(logp[0].exp())

    # 3. the orders beside each other
    def cost(name: str, what: str) -> float:
        return statistics.mean(full - p[name, k, what] for k in top)

    def area(name: str) -> float:
        return statistics.mean(f[name, k, "without"] for k in top)

    metrics = {}
    comprehensive = {name: cost(name, "without") for name in by_name}
    sufficient = {name: -cost(name, "only") for name in ("weight", "effect", "reverse")}
    for metric, values in (("comprehensiveness", comprehensive), ("sufficiency", sufficient)):
        best, worst = max(values.values()), min(values.values())
        if best > worst:
            metrics[metric] = (values["weight"] - worst) / (best - worst)
    above = [
        (area(name) > area("weight")) + 0.5 * (area(name) == area("weight"))
        for name in by_name
        if name.startswith("random")
    ]
    if above:
        metrics["percentile"] = 100 * statistics.mean(above)
    return metrics


def _mean_logp(model: AtMoe, record: Record, plans: Sequence[RoutingPlan]) -> Tensor:
    """Mean log-probability per token of a record's answer under each plan [plans], float64."""
    prompt = model.encode(record.prompt)
    return finish(sweep(model, prompt, record.answer_tokens, plans)).logp.double().mean(1)


def study(
    model: AtMoe,
    prompts: Sequence[str],
    seed: int = 0,
    random_orders: int = 10,
    sampling: Sampling | None = None,
    batch: int = 10,
) -> dict[str, Any]:
    """Answer each prompt under the router's plan, explain it, and say how true the weights are.

    Args:
        model: to be studied.
        prompts: at least two.
        seed: of the random orders.
        random_orders: how many a prompt.
        sampling: of the answers; by default greedy, 64 tokens.
        batch: how many prompts are answered at once.

    Returns:
        "prompts", "answer_tokens", "seed", "sampling", "dtype", "random_orders", "seconds".
        "kendall": "weight" and "contribution" → {kind of unit: τ-b with effect}.
        "top_expert_agrees": group → the fraction of prompts in which the expert with most weight is
            the one whose removal costs most; "all": of all groups.
        "comprehensiveness", "sufficiency", "deletion_percentile": means over prompts.
        "sanity": as `sanity`.
        "shapley_error": by how much Shapley values fail to add up, at most.
        "verdicts": level → how many; "verdicts_shuffled": the same with weights from another
            prompt's plan, which must not explain.
        "team_size": members, mean over prompts.
        "effect_by_third": third → group → [mean, low, high] of its part of what all groups cost in
            all thirds, negative ones counted as 0; "late_minus_early": the same of group → how
            much more of it lies late. Means over prompts, 95% intervals from bootstrapping them.

    Raises:
        DataError: fewer than two prompts, so that no plan can be taken from another.
    """
    if len(prompts) < 2:
        raise DataError("Faithfulness needs at least two prompts; raise --limit or name more data.")
    began, rng = time.perf_counter(), random.Random(seed)
    sampling = sampling or Sampling(max_new_tokens=64, repetition_penalty=1.1)
    # 1. answers, and what is measured of each
    records = [r for r in answered(model, prompts, sampling, batch) if r.answer_tokens]
    explanations = [explain(model, r) for r in tqdm(records, desc="explaining", mininterval=5)]
    metrics = [
        deletion(model, record, explanation, random_orders, rng)
        for record, explanation in zip(
            tqdm(records, desc="deleting experts", mininterval=5), explanations
        )
    ]
    # 2. what is said of all of them
    agreeing: dict[str, list[bool]] = {}
    for explanation in explanations:
        for group, (heaviest, strongest) in leaders(explanation).items():
            agreeing.setdefault(group, []).append(heaviest is strongest)
    agreement = {group: _fraction(flags) for group, flags in agreeing.items()}
    agreement["all"] = _fraction([flag for flags in agreeing.values() for flag in flags])
    shapley_errors = [
        abs(sum(x.shapley.values()) - (x.logp - x.base_logp)) for x in explanations if x.shapley
    ]
    return {
        "prompts": len(records),
        "answer_tokens": sum(len(r.answer_tokens) for r in records),
        "seed": seed,
        "sampling": asdict(sampling),
        "dtype": model.precision,
        "kendall": {
            measure: {kind: _correlation(explanations, measure, kind) for kind in KINDS}
            for measure in ("weight", "contribution")
        },
        "top_expert_agrees": agreement,
        "comprehensiveness": _mean_metric(metrics, "comprehensiveness"),
        "sufficiency": _mean_metric(metrics, "sufficiency"),
        "deletion_percentile": _mean_metric(metrics, "percentile"),
        "random_orders": random_orders,
        "sanity": sanity(model, records, explanations),
        "shapley_error": max(shapley_errors, default=None),
        "verdicts": dict(Counter(str(verdict(x).level) for x in explanations)),
        "verdicts_shuffled": dict(
            Counter(
                str(verdict(with_weights_of(x, r.plan)).level)
                for x, r in zip(explanations, [*records[1:], records[0]])
            )
        ),
        **_by_third(explanations, seed),
        "team_size": statistics.mean(len(r.plan.team) for r in records),
        "seconds": round(time.perf_counter() - began, 1),
    }


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

    def told(of: Tensor, resampled: Tensor) -> list[float]:
        return [round(x, 4) for x in (float(of.mean()), *interval(resampled))]

    by_third: dict[str, dict[str, list[float]]] = {}
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


def _mean_metric(metrics: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Over the prompts that have it; None where none has."""
    values = [metric[name] for metric in metrics if name in metric]
    return statistics.mean(values) if values else None


def _fraction(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def sanity(
    model: AtMoe, records: Sequence[Record], explanations: Sequence[Explanation]
) -> dict[str, float]:
    """Each record under the plan of the next one.

    Returns:
        "explains_worse": the fraction of prompts in which that plan's weights correlate less with
            the effects measured here.
        "less_likely": the fraction in which the answer is less likely under it.
    """
    worse, less = [], []
    for i, (record, own) in enumerate(zip(records, explanations)):
        other = (i + 1) % len(records)
        effects = [u.effect for u in own.of("expert")]
        tau_own, tau_other = (
            kendall([u.weight for u in explanation.of("expert")], effects) or 0.0
            for explanation in (own, explanations[other])
        )
        worse.append(tau_other < tau_own)
        prompt, plans = model.encode(record.prompt), [record.plan, records[other].plan]
        logp = finish(sweep(model, prompt, record.answer_tokens, plans)).logp
        less.append(bool(logp[1].mean() < logp[0].mean()))
    return {"explains_worse": statistics.mean(worse), "less_likely": statistics.mean(less)}
