"""From which strength on do answers run in circles?

Coherence over a cohort, at every strength (`atmoe.explanation.coherence` says how it is measured).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from tqdm import tqdm

from atmoe.answer.generation import Step
from atmoe.answer.sampling import Sampling
from atmoe.explanation.coherence import INNER, MEASURES, SAMPLING, repeated_trigrams
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import Steering

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

Measured = Mapping[str, Sequence[Sequence[float | None]]]
"""Measure → [prompts][strengths]; None where an answer held no words."""


def study(
    model: AtMoe, prompts: Sequence[str], seed: int = 0, sampling: Sampling = SAMPLING
) -> dict[str, Any]:
    """Answer each prompt at every strength of the router's own plan, and measure the answers.

    The answers to a prompt are one batch.

    Args:
        model: to be studied.
        prompts: at least one.
        seed: with which they were drawn; it is only written down.
        sampling: of the answers.

    Returns:
        As `summary`, and "prompts", "seed", "sampling", "model", "dtype", "seconds".
    """
    began = time.perf_counter()
    measured: dict[str, list[list[float | None]]] = {m: [] for m in MEASURES}
    for prompt in tqdm(prompts, desc="strengths", mininterval=5):
        router = model.route(prompt)
        plans = [Steering(strength=s).apply(router) for s in STRENGTHS]
        ended = model.generate([prompt] * len(plans), plans, sampling).run()
        measured["repeated"].append(
            [repeated_trigrams(text) if text.strip() else None for text in ended.texts]
        )
        measured["logp"].append(_own_logp(model, prompt, ended, plans))
    return summary(measured) | {
        "prompts": len(prompts),
        "seed": seed,
        "sampling": asdict(sampling),
        "model": {"name": model.info.name, "sha256": model.info.sha256},
        "dtype": model.precision,
        "seconds": round(time.perf_counter() - began, 1),
    }


def summary(measured: Measured) -> dict[str, Any]:
    """What is said of a cohort, strength by strength.

    Returns:
        "strengths": STRENGTHS.
        "range": measure → [low, high] at strength 1.
        "by_strength": one a strength, {"strength", measure: {"mean", "median", "quartiles",
            "outside": the share of the answers with words that read worse than the range}}.
        "leaves": the strength from which on the median answer repeats more than the range holds.
        "answers": what was measured, rounded.
    """
    tables = {m: pd.DataFrame(measured[m], columns=list(STRENGTHS), dtype=float) for m in MEASURES}
    span = {m: tables[m][1.0].quantile(list(INNER)).tolist() for m in MEASURES}
    worse = {
        "repeated": tables["repeated"] > span["repeated"][1],
        "logp": tables["logp"] < span["logp"][0],
    }
    by_strength = []
    for strength in STRENGTHS:
        row: dict[str, Any] = {"strength": strength}
        for measure, table in tables.items():
            row[measure] = _row(table[strength], worse[measure][strength])
        by_strength.append(row)
    return {
        "strengths": list(STRENGTHS),
        # not rounded: an answer that lies at the end itself is not outside
        "range": span,
        "by_strength": by_strength,
        "leaves": _leaves(tables["repeated"], span["repeated"][1]),
        "answers": {m: [[_round_or_none(x) for x in row] for row in measured[m]] for m in MEASURES},
    }


def _row(values: pd.Series, worse: pd.Series) -> dict[str, Any]:
    """One measure at one strength; the values of all prompts, and which are outside the range."""
    return {
        "mean": _round(values.mean()),
        "median": _round(values.median()),
        "outside": _round(worse[values.notna()].mean()),
        "quartiles": [_round(q) for q in values.quantile([0.25, 0.75])],
    }


def _leaves(repeated: pd.DataFrame, high: float) -> float | None:
    """The strength from which on the median of the repetitions is above `high`.

    From there on, not merely there: every greater strength that was measured must be out as well.
    """
    leaves = None
    for strength in reversed([s for s in STRENGTHS if s > 1]):
        if not repeated[strength].median() > high:
            break
        leaves = strength
    return leaves


def _round(number: float) -> float:
    return round(float(number), 4)


def _round_or_none(number: float | None) -> float | None:
    return None if number is None else _round(number)


def _own_logp(
    model: AtMoe, prompt: str, answers: Step, plans: Sequence[RoutingPlan]
) -> list[float | None]:
    """Each answer's mean log-probability under its own plan; None where it holds no words."""
    readable = [i for i, text in enumerate(answers.texts) if text.strip()]
    logp: list[float | None] = [None] * len(plans)
    if readable:
        rows, _ = model.score_tokens(
            [prompt] * len(readable),
            [answers.tokens[i] for i in readable],
            [plans[i] for i in readable],
        )
        for i, row in zip(readable, rows):
            logp[i] = float(row.mean())
    return logp
