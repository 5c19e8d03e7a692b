"""Where does strength break coherence? Two measures of an answer, over a cohort and of a single one.

repeated     the share of word trigrams that stood in the answer before (rep-3: 1 − distinct / all, arXiv 1908.04319)
logp         the mean log-probability per token of the answer under the very plan that gave it

Both move with an answer's length and with how tokens are chosen, so an answer is compared with the cohort over its first
tokens, as many as the cohort's answers had at most, and only where it was sampled as they were.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from atmoe.decode import Sampling, in_words
from atmoe.errors import AtMoeError, PromptError
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.steering import Steering

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
MEASURES = ("repeated", "logp")
INNER = (0.05, 0.95)
"""The range of strength 1: between these quantiles of the prompts."""
SAMPLING = Sampling(max_new_tokens=160, repetition_penalty=1.1)
LEAST_TOKENS = 40
"""Of a shorter answer neither measure says much: a dozen tokens hold no loop, and one odd word moves their mean."""


@dataclass(frozen=True)
class Coherence:
    """See the module.  tokens: over how many of the answer's first."""

    repeated: float
    logp: float
    tokens: int


def repeated_trigrams(text: str) -> float:
    """The share of the text's word trigrams that stood in it before, 0 to 1. Case does not count."""
    words = text.casefold().split()
    trigrams = list(zip(words, words[1:], words[2:]))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def coherence(model: AtMoe, record: Record, tokens: int = SAMPLING.max_new_tokens) -> Coherence | None:
    """Both measures of a record's answer; None where it holds no words."""
    kept = record.answer_tokens[:tokens]
    text = record.answer if len(kept) == len(record.answer_tokens) else in_words(model, kept)
    logp = replace(record, answer=text).mean_logp(model, [record.plan])
    return None if logp is None else Coherence(repeated_trigrams(text), logp[0], len(kept))


@dataclass(frozen=True)
class Cohort:
    """What a report says of answers at strength 1, and where more strength leaves it.

    prompts: how many.  sampling: of their answers.  range: measure → (low, high) at strength 1.
    median: measure → its median at each of `strengths`.  leaves: the strength from which on the median answer repeats more
    trigrams than `range` holds; None where it never does.
    """

    prompts: int
    sampling: Sampling
    strengths: tuple[float, ...]
    range: Mapping[str, tuple[float, float]]
    median: Mapping[str, tuple[float, ...]]
    leaves: float | None

    @classmethod
    def read(cls, file: Path, model: AtMoe) -> Cohort | None:
        """As `of`; None also where there is no such file."""
        try:
            return cls.of(json.loads(file.read_text("utf-8")), model) if file.is_file() else None
        except ValueError as error:
            raise AtMoeError(f"{file} is not JSON; write it with python -m atmoe evaluate-strength … --json.") from error

    @classmethod
    def of(cls, report: Mapping[str, Any], model: AtMoe) -> Cohort | None:
        """A report of `study`; None where it was measured on another model.

        Raises:
            AtMoeError: it is no such report.
        """
        try:
            if report["model"]["sha256"] != model.info.sha256:
                return None
            return cls(report["prompts"], Sampling(**report["sampling"]), tuple(report["strengths"]),
                       {m: tuple(report["range"][m]) for m in MEASURES},
                       {m: tuple(row[m]["median"] for row in report["by_strength"]) for m in MEASURES}, report["leaves"])
        except (KeyError, TypeError, AttributeError) as error:
            raise AtMoeError("This is no report of strength; write it with python -m atmoe evaluate-strength … --json.") from error

    def compares(self, record: Record) -> bool:
        """Whether a record's answer was sampled as the cohort's, and is long enough."""
        mine = asdict(self.sampling)
        return len(record.answer_tokens) >= LEAST_TOKENS and all(
            record.sampling[name] == mine[name] for name in ("temperature", "top_p", "repetition_penalty"))

    def outside(self, found: Coherence) -> tuple[str, ...]:
        """The measures by which an answer reads worse than the cohort's at strength 1. Few repetitions are no fault."""
        low = found.logp < self.range["logp"][0]
        high = found.repeated > self.range["repeated"][1]
        return ("repeated",) * high + ("logp",) * low


def study(model: AtMoe, prompts: Sequence[str], seed: int = 0, sampling: Sampling = SAMPLING) -> dict:
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
    return summary(found) | {"prompts": len(prompts), "seed": seed, "sampling": asdict(sampling),
                             "model": {"name": model.info.name, "sha256": model.info.sha256},
                             "dtype": model.precision, "seconds": round(time.perf_counter() - began, 1)}


def summary(found: Mapping[str, Sequence[Sequence[float | None]]]) -> dict:
    """found: measure → [prompts][strengths], None where an answer held no words.

    → {"strengths", "range": {measure: [low, high] at strength 1}, "by_strength": [{"strength", measure: {"mean", "median",
       "quartiles", "outside": share of answers that read worse than the range}}], "leaves", "answers": found}
    """
    tables = {m: pd.DataFrame(found[m], columns=list(STRENGTHS), dtype=float) for m in MEASURES}
    span = {m: tables[m][1.0].quantile(list(INNER)).tolist() for m in MEASURES}
    worse = {"repeated": tables["repeated"] > span["repeated"][1], "logp": tables["logp"] < span["logp"][0]}
    rows = [{"strength": s} | {m: {"mean": _round(t[s].mean()), "median": _round(t[s].median()), "outside": _round(worse[m][s].mean()),
                                   "quartiles": [_round(q) for q in t[s].quantile([0.25, 0.75])]} for m, t in tables.items()} for s in STRENGTHS]
    # From there on, not merely there: every greater strength that was measured must be out as well.
    leaves = None
    for row in reversed([row for row in rows if row["strength"] > 1]):
        if not tables["repeated"][row["strength"]].median() > span["repeated"][1]:
            break
        leaves = row["strength"]
    rounded = {m: [[None if x is None else _round(x) for x in row] for row in found[m]] for m in MEASURES}
    return {"strengths": list(STRENGTHS), "range": {m: [_round(x) for x in ends] for m, ends in span.items()}, "by_strength": rows, "leaves": leaves, "answers": rounded}


def _round(number: float) -> float:
    return round(float(number), 4)


def _own_logp(model: AtMoe, prompt: str, texts: Sequence[str], plans: Sequence) -> list[float | None]:
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
        rows, _ = model.score_rows([prompt] * len(readable), [texts[i] for i in readable], [plans[i] for i in readable])
        for i, row in zip(readable, rows):
            found[i] = float(row.mean())
    return found
