"""Experts deleted in the order of their weight: does the answer fall as fast as it can?

comprehensiveness    p(full) − p(without the top k), and
sufficiency          p(full) − p(only the top k), experts in the order of their weight, mean over k
                     (ERASER, arXiv 1911.03429); p is the answer's probability per token, exp f.
                     Normalised between the best and the worst order (arXiv 2408.08137), of those
                     that were tried: by effect, its reverse, by weight, and for comprehensiveness
                     the random ones
deletion             the area under f as experts go in the order of their weight, as a percentile
                     among random orders

f is the mean log-probability of the answer's tokens, as in `atmoe.explanation.measure`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

from torch import Tensor

from atmoe.answer.pieces import whole
from atmoe.explanation.sweep import sweep
from atmoe.explanation.units import without
from atmoe.explanation.value import Explanation
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.routing.plan import RoutingPlan

TOP = (1, 2, 3, 5, 8)
"""How many experts are deleted, or kept."""


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
    logp = mean_logp(model, record, [record.plan, *plans.values()])
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


def mean_logp(model: AtMoe, record: Record, plans: Sequence[RoutingPlan]) -> Tensor:
    """Mean log-probability per token of a record's answer under each plan [plans], float64."""
    prompt = model.encode(record.prompt)
    return whole(sweep(model, prompt, record.answer_tokens, plans)).logp.double().mean(1)
