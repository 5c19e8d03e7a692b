"""Is the explanation true? How well routing weight predicts measured effect, over a cohort of prompts (design: section 5).

rank correlation     Kendall's τ-b of weight and effect (and of contribution and effect), units of all prompts pooled
comprehensiveness    p(full) − p(without the top k), and
sufficiency          p(full) − p(only the top k), experts in the order of their weight, mean over k (ERASER,
                     arXiv 1911.03429); p is the answer's probability per token, exp f. Normalised between the best
                     and the worst order (arXiv 2408.08137), of those that were tried: by effect, its reverse, by
                     weight, and for comprehensiveness the random ones
deletion             the area under f as experts go in the order of their weight, as a percentile among random orders
sanity               a plan taken from another prompt must explain worse: its weights must correlate less with this
                     prompt's effects, and the answer must be less likely under it
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import torch
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.errors import DataError
from atmoe.explanation.measure import explain
from atmoe.explanation.sweep import finish, sweep
from atmoe.explanation.units import without
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import leaders, verdict
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.steering.overrides import Steering

TOP = (1, 2, 3, 5, 8)
"""How many experts are deleted, or kept."""
KINDS = ("group", "expert", "band")


def kendall(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Kendall's τ-b (ties corrected), −1 to 1; None where either is constant."""
    x, y = (torch.as_tensor(values, dtype=torch.float64) for values in (x, y))
    dx, dy = (torch.sign(v[:, None] - v[None]) for v in (x, y))
    norm = float((dx.square().sum() * dy.square().sum()).sqrt())
    return float((dx * dy).sum()) / norm if norm else None


def orders(explanation: Explanation, count: int, rng: random.Random) -> dict[str, list[str]]:
    """Orders of the experts: "weight", "effect" and "reverse" (of effect), the largest first, and `count` random ones."""
    experts = explanation.of("expert")
    by = lambda key: [u.name for u in sorted(experts, key=key)]
    names = [u.name for u in experts]
    return {
        "weight": by(lambda u: -u.weight),
        "effect": by(lambda u: -u.effect),
        "reverse": by(lambda u: u.effect),
    } | {f"random {i}": rng.sample(names, len(names)) for i in range(count)}


def deletion(
    model: AtMoe, record: Record, explanation: Explanation, count: int, rng: random.Random
) -> dict[str, float]:
    """One record's deletion metrics.

    → {"comprehensiveness", "sufficiency": normalised, 1 = as good as the best order tried; "percentile": of the deletion
       area among random orders, 100 = falls fastest}; a metric is left out where best and worst order do not differ
    """
    found = orders(explanation, count, rng)
    top = [k for k in TOP if k < len(explanation.of("expert"))]
    plan, names = record.plan, [u.name for u in explanation.of("expert")]
    gone: dict[tuple, frozenset[str]] = {}
    for name, order in found.items():
        for k in top:
            gone[name, k, "without"] = frozenset(order[:k])
            if not name.startswith("random"):
                gone[name, k, "only"] = frozenset(order[k:])
    # Orders often begin alike: each set of dropped experts is one row.
    rows = {
        dropped: without(plan, tuple(n for n in names if n in dropped)) for dropped in gone.values()
    }
    logp = (
        finish(
            sweep(model, model.encode(record.prompt), record.answer_tokens, [plan, *rows.values()])
        )
        .logp.double()
        .mean(1)
    )
    by_set = dict(zip(rows, logp[1:].tolist()))
    f = {what: by_set[dropped] for what, dropped in gone.items()}
    full = float(logp[0].exp())
    p = {row: math.exp(value) for row, value in f.items()}
    mean = lambda name, what: statistics.mean(full - p[name, k, what] for k in top)
    found_metrics = {}
    comprehensive = {name: mean(name, "without") for name in found}
    sufficient = {
        name: -mean(name, "only") for name in ("weight", "effect", "reverse")
    }  # small is good
    for metric, values in (("comprehensiveness", comprehensive), ("sufficiency", sufficient)):
        best, worst = max(values.values()), min(values.values())
        if best > worst:
            found_metrics[metric] = (values["weight"] - worst) / (best - worst)
    area = lambda name: statistics.mean(f[name, k, "without"] for k in top)
    above = [
        (area(name) > area("weight")) + 0.5 * (area(name) == area("weight"))
        for name in found
        if name.startswith("random")
    ]
    return found_metrics | ({"percentile": 100 * statistics.mean(above)} if above else {})


def study(
    model: AtMoe,
    prompts: Sequence[str],
    seed: int = 0,
    random_orders: int = 10,
    sampling: Sampling | None = None,
    batch: int = 10,
) -> dict:
    """Answer each prompt under the router's plan, explain each answer, and say how true the weights are.

    → {"prompts", "kendall": {"weight", "contribution": {kind: τ-b}}, "top_expert_agrees": {group: fraction, "all"},
       "comprehensiveness", "sufficiency", "deletion_percentile": means over prompts, "sanity": {...}, "shapley_error",
       "verdicts": {level: count}, "seconds"}

    Raises:
        DataError: fewer than two prompts, so that no plan can be taken from another.
    """
    if len(prompts) < 2:
        raise DataError("Faithfulness needs at least two prompts; raise --limit or name more data.")
    began, rng = time.perf_counter(), random.Random(seed)
    sampling = sampling or Sampling(max_new_tokens=64, repetition_penalty=1.1)
    records = [r for r in _answers(model, prompts, sampling, batch) if r.answer_tokens]
    explanations = [explain(model, r) for r in tqdm(records, desc="explaining", mininterval=5)]
    metrics = [
        deletion(model, r, x, random_orders, rng)
        for r, x in zip(tqdm(records, desc="deleting experts", mininterval=5), explanations)
    ]
    lens = lambda name, kind: kendall(
        [getattr(u, name) for x in explanations for u in x.of(kind)],
        [u.effect for x in explanations for u in x.of(kind)],
    )
    agree: dict[str, list[bool]] = {}
    for x in explanations:
        for group, (heaviest, strongest) in leaders(x).items():
            agree.setdefault(group, []).append(heaviest is strongest)
    mean = lambda metric: (
        statistics.mean(values) if (values := [m[metric] for m in metrics if metric in m]) else None
    )
    fraction = lambda flags: sum(flags) / len(flags) if flags else None
    return {
        "prompts": len(records),
        "answer_tokens": sum(len(r.answer_tokens) for r in records),
        "seed": seed,
        "sampling": asdict(sampling),
        "dtype": model.precision,
        "kendall": {
            name: {kind: lens(name, kind) for kind in KINDS} for name in ("weight", "contribution")
        },
        "top_expert_agrees": {g: fraction(flags) for g, flags in agree.items()}
        | {"all": fraction([flag for flags in agree.values() for flag in flags])},
        "comprehensiveness": mean("comprehensiveness"),
        "sufficiency": mean("sufficiency"),
        "deletion_percentile": mean("percentile"),
        "random_orders": random_orders,
        "sanity": sanity(model, records, explanations),
        "shapley_error": max(
            (
                abs(sum(x.shapley.values()) - (x.logp - x.base_logp))
                for x in explanations
                if x.shapley
            ),
            default=None,
        ),
        "verdicts": dict(Counter(str(verdict(x).level) for x in explanations)),
        "seconds": round(time.perf_counter() - began, 1),
    }


def sanity(
    model: AtMoe, records: Sequence[Record], explanations: Sequence[Explanation]
) -> dict[str, float]:
    """Each record under the plan of the next one. → fractions of prompts in which that plan's weights correlate less with
    the effects measured here ("explains_worse"), and in which the answer is less likely under it ("less_likely")
    """
    worse, less = [], []
    for i, (record, own) in enumerate(zip(records, explanations)):
        other = (i + 1) % len(records)
        effects = [u.effect for u in own.of("expert")]
        tau = [
            kendall([u.weight for u in x.of("expert")], effects) or 0.0
            for x in (own, explanations[other])
        ]
        worse.append(tau[1] < tau[0])
        logp = finish(
            sweep(
                model,
                model.encode(record.prompt),
                record.answer_tokens,
                [record.plan, records[other].plan],
            )
        ).logp
        less.append(bool(logp[1].mean() < logp[0].mean()))
    return {"explains_worse": statistics.mean(worse), "less_likely": statistics.mean(less)}


def _answers(model: AtMoe, prompts: Sequence[str], sampling: Sampling, batch: int) -> list[Record]:
    """Each prompt's greedy answer under the router's plan, in the order given."""
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    records: dict[int, Record] = {}
    for start in tqdm(range(0, len(prompts), batch), desc="answering", mininterval=5):
        rows = by_length[start : start + batch]
        generation = model.generate([prompts[i] for i in rows], None, sampling)
        for step in generation:
            pass
        for row, i in enumerate(rows):
            records[i] = Record.of(
                model, prompts[i], Steering(), generation.plans[row], generation, step, row
            )
    return [records[i] for i in range(len(prompts))]
