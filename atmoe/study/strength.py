"""From which strength on do answers run in circles? Coherence over a cohort, at every strength (`atmoe.explanation.coherence`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.errors import PromptError
from atmoe.explanation.coherence import INNER, MEASURES, SAMPLING, repeated_trigrams
from atmoe.model import AtMoe
from atmoe.steering.overrides import Steering

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def study(
    model: AtMoe, prompts: Sequence[str], seed: int = 0, sampling: Sampling = SAMPLING
) -> dict:
    """Answer each prompt at every strength of the router's own plan, as one batch, and measure the answers. → see `summary`"""
    began = time.perf_counter()
    found: dict[str, list[list[float | None]]] = {m: [] for m in MEASURES}
    for prompt in tqdm(prompts, desc="strengths", mininterval=5):
        router = model.route(prompt)
        plans = [Steering(strength=s).apply(router) for s in STRENGTHS]
        for step in model.generate([prompt] * len(plans), plans, sampling):
            pass
        found["repeated"].append([repeated_trigrams(text) for text in step.texts])
        found["logp"].append(_own_logp(model, prompt, step.texts, plans))
    return summary(found) | {
        "prompts": len(prompts),
        "seed": seed,
        "sampling": asdict(sampling),
        "model": {"name": model.info.name, "sha256": model.info.sha256},
        "dtype": model.precision,
        "seconds": round(time.perf_counter() - began, 1),
    }


def summary(found: Mapping[str, Sequence[Sequence[float | None]]]) -> dict:
    """found: measure → [prompts][strengths], None where an answer held no words.

    → {"strengths", "range": {measure: [low, high] at strength 1}, "by_strength": [{"strength", measure: {"mean", "median",
       "quartiles", "outside": share of answers that read worse than the range}}], "leaves", "answers": found}
    """
    tables = {m: pd.DataFrame(found[m], columns=list(STRENGTHS), dtype=float) for m in MEASURES}
    span = {m: tables[m][1.0].quantile(list(INNER)).tolist() for m in MEASURES}
    worse = {
        "repeated": tables["repeated"] > span["repeated"][1],
        "logp": tables["logp"] < span["logp"][0],
    }
    rows = [
        {"strength": s}
        | {
            m: {
                "mean": _round(t[s].mean()),
                "median": _round(t[s].median()),
                "outside": _round(worse[m][s].mean()),
                "quartiles": [_round(q) for q in t[s].quantile([0.25, 0.75])],
            }
            for m, t in tables.items()
        }
        for s in STRENGTHS
    ]
    # From there on, not merely there: every greater strength that was measured must be out as well.
    leaves = None
    for row in reversed([row for row in rows if row["strength"] > 1]):
        if not tables["repeated"][row["strength"]].median() > span["repeated"][1]:
            break
        leaves = row["strength"]
    rounded = {
        m: [[None if x is None else _round(x) for x in row] for row in found[m]] for m in MEASURES
    }
    return {
        "strengths": list(STRENGTHS),
        "range": {m: [_round(x) for x in ends] for m, ends in span.items()},
        "by_strength": rows,
        "leaves": leaves,
        "answers": rounded,
    }


def _round(number: float) -> float:
    return round(float(number), 4)


def _own_logp(
    model: AtMoe, prompt: str, texts: Sequence[str], plans: Sequence
) -> list[float | None]:
    """Each answer's mean log-probability under its own plan."""
    readable = []
    for i, text in enumerate(texts):
        try:
            model.encode_answer(text)
        except PromptError:
            continue
        readable.append(i)
    found: list[float | None] = [None] * len(texts)
    if readable:
        rows, _ = model.score_rows(
            [prompt] * len(readable), [texts[i] for i in readable], [plans[i] for i in readable]
        )
        for i, row in zip(readable, rows):
            found[i] = float(row.mean())
    return found
