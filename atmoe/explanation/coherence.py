"""Does an answer hold together? Two measures of it, and those of a cohort to compare with.

repeated     the share of word trigrams that stood in the answer before
             (rep-3: 1 − distinct / all, arXiv 1908.04319)
logp         the mean log-probability per token of the answer under the very plan that gave it

Both move with an answer's length and with how tokens are chosen, so an answer is compared with the
cohort over its first tokens, as many as the cohort's answers had at most, and only where it was
sampled as they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
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
"""Of a shorter answer neither measure says much: a dozen tokens hold no loop, and one odd word
moves their mean."""


@dataclass(frozen=True)
class Coherence:
    """Both measures of one answer.

    Attributes:
        repeated: the share of word trigrams that stood in the answer before, 0 to 1.
        logp: the mean log-probability per token under the answer's own plan, in nats.
        tokens: over how many of the answer's first.
    """

    repeated: float
    logp: float
    tokens: int


def repeated_trigrams(text: str) -> float:
    """The share of a text's word trigrams that stood in it before, 0 to 1, whatever their case."""
    words = text.casefold().split()
    trigrams = list(zip(words, words[1:], words[2:]))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def coherence(
    model: Mixture,
    answer: Answer,
    tokens: int = SAMPLING.max_new_tokens,
    logp: Sequence[float] | None = None,
) -> Coherence | None:
    """Both measures of an answer's first tokens.

    Args:
        model: the one that gave it.
        answer: to be measured under its own plan.
        tokens: at most how many of them.
        logp: of each token under that plan, in nats, as known from decoding it; None = the answer
            is read once more.

    Returns:
        None where they hold no words.
    """
    opening = answer.answer_tokens[:tokens]
    text = answer.answer
    if len(opening) < len(answer.answer_tokens):
        text = in_words(model, opening)
    opened = replace(answer, answer=text, answer_tokens=opening)
    if not opened.worded:
        return None
    if logp is None:
        read = opened.mean_logp(model, [answer.plan])
        assert read is not None  # it holds words
        [mean] = read
    else:
        mean = fmean(logp[: len(opening)])
    return Coherence(repeated_trigrams(text), mean, len(opening))


@dataclass(frozen=True)
class Cohort:
    """What a report says of answers at strength 1, and where more strength leaves it.

    Attributes:
        prompts: how many.
        sampling: of their answers.
        range: measure → (low, high) at strength 1.
        median: measure → its median at each of `strengths`.
        leaves: the strength from which on the median answer repeats more trigrams than `range`
            holds; None where it never does.
    """

    prompts: int
    sampling: Sampling
    strengths: tuple[float, ...]
    range: Mapping[str, tuple[float, float]]
    median: Mapping[str, tuple[float, ...]]
    leaves: float | None

    @classmethod
    def read(cls, file: Path, model: Mixture) -> Cohort | None:
        """As `of`, from a file; None also where there is no such file.

        Raises:
            AtMoeError: the file is no such report.
        """
        try:
            return cls.of(json.loads(file.read_text("utf-8")), model) if file.is_file() else None
        except ValueError as error:
            raise AtMoeError(
                f"{file} is not JSON; write it with python -m atmoe evaluate-strength … --json."
            ) from error

    @classmethod
    def of(cls, report: Mapping[str, Any], model: Mixture) -> Cohort | None:
        """The cohort of a report of `atmoe evaluate-strength`.

        Returns:
            None where it was measured on another model, or no answer of it held words.

        Raises:
            AtMoeError: it is no such report.
        """
        try:
            if report["model"]["sha256"] != model.info.sha256:
                return None
            ranges = {m: tuple(report["range"][m]) for m in MEASURES}
            medians = {
                m: tuple(row[m]["median"] for row in report["by_strength"]) for m in MEASURES
            }
            if None in [x for numbers in (*ranges.values(), *medians.values()) for x in numbers]:
                return None  # JSON's word for a mean of nothing
            return cls(
                report["prompts"],
                Sampling(**report["sampling"]),
                tuple(report["strengths"]),
                ranges,
                medians,
                report["leaves"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise AtMoeError(
                "This is no report of strength; write it with python -m atmoe evaluate-strength … "
                "--json."
            ) from error

    def compares(self, answer: Answer) -> bool:
        """Whether an answer was sampled as the cohort's, and is long enough."""
        settings = asdict(self.sampling)
        return len(answer.answer_tokens) >= LEAST_TOKENS and all(
            answer.sampling[name] == settings[name]
            for name in ("temperature", "top_p", "repetition_penalty")
        )

    def outside(self, measures: Coherence) -> tuple[str, ...]:
        """The measures by which an answer reads worse than the cohort's at strength 1.

        Few repetitions are no fault, nor is a high log-probability.
        """
        outside = []
        if measures.repeated > self.range["repeated"][1]:
            outside.append("repeated")
        if measures.logp < self.range["logp"][0]:
            outside.append("logp")
        return tuple(outside)
