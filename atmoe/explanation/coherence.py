"""Does an answer hold together? Two measures of it, and those of a cohort to compare with.

repeated     the share of word trigrams that stood in the answer before (rep-3: 1 − distinct / all, arXiv 1908.04319)
logp         the mean log-probability per token of the answer under the very plan that gave it

Both move with an answer's length and with how tokens are chosen, so an answer is compared with the cohort over its first
tokens, as many as the cohort's answers had at most, and only where it was sampled as they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from atmoe.answer.answer import Answer
from atmoe.answer.generation import in_words
from atmoe.answer.sampling import Sampling
from atmoe.errors import AtMoeError
from atmoe.mixture.mixture import Mixture

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


def coherence(
    model: Mixture, given: Answer, tokens: int = SAMPLING.max_new_tokens
) -> Coherence | None:
    """Both measures of a record's answer; None where it holds no words."""
    kept = given.answer_tokens[:tokens]
    text = given.answer if len(kept) == len(given.answer_tokens) else in_words(model, kept)
    logp = replace(given, answer=text).mean_logp(model, [given.plan])
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
    def read(cls, file: Path, model: Mixture) -> Cohort | None:
        """As `of`; None also where there is no such file."""
        try:
            return cls.of(json.loads(file.read_text("utf-8")), model) if file.is_file() else None
        except ValueError as error:
            raise AtMoeError(
                f"{file} is not JSON; write it with python -m atmoe evaluate-strength … --json."
            ) from error

    @classmethod
    def of(cls, report: Mapping[str, Any], model: Mixture) -> Cohort | None:
        """A report of `study`; None where it was measured on another model.

        Raises:
            AtMoeError: it is no such report.
        """
        try:
            if report["model"]["sha256"] != model.info.sha256:
                return None
            return cls(
                report["prompts"],
                Sampling(**report["sampling"]),
                tuple(report["strengths"]),
                {m: tuple(report["range"][m]) for m in MEASURES},
                {m: tuple(row[m]["median"] for row in report["by_strength"]) for m in MEASURES},
                report["leaves"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise AtMoeError(
                "This is no report of strength; write it with python -m atmoe evaluate-strength … --json."
            ) from error

    def compares(self, given: Answer) -> bool:
        """Whether a record's answer was sampled as the cohort's, and is long enough."""
        mine = asdict(self.sampling)
        return len(given.answer_tokens) >= LEAST_TOKENS and all(
            given.sampling[name] == mine[name]
            for name in ("temperature", "top_p", "repetition_penalty")
        )

    def outside(self, found: Coherence) -> tuple[str, ...]:
        """The measures by which an answer reads worse than the cohort's at strength 1. Few repetitions are no fault."""
        low = found.logp < self.range["logp"][0]
        high = found.repeated > self.range["repeated"][1]
        return ("repeated",) * high + ("logp",) * low
