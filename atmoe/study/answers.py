"""Do answers read well, and does an answer to two needs answer both?

echoed      an answer that puts a question to itself first, as a page's heading does
listing     an answer with a list; "flattened": one whose items stand in a line of running text
patient     an answer to a question about a disease that speaks of a patient nobody mentioned
both needs  what a reference answer to each of two needs gains over the base model when they are
            asked for together, as a fraction of what it gains when it is asked for alone
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.data import Example, paraphrase, two_needs
from atmoe.data.text import sentences, tidy, without_questions
from atmoe.errors import DataError
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.study.answering import answered

SAMPLING = Sampling(max_new_tokens=128, repetition_penalty=1.1)

_ITEM = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s+\S")
_FLAT = re.compile(r"\S(?:[ \t]+[-•][ \t]+\S[^\n]*?){2,}")
# "Whether the patient has a family history" speaks of any patient, and not of one.
_PATIENT = re.compile(
    r"\bdenie[sd]\b"
    r"|(?<!\bwhether )(?<!\bif )(?<!\bwhen )(?<!\bunless )(?<!\bonce )"
    r"\b(?:the|this) patient (?:is|was|has|had|reports|states|presents)\b"
    r"|\b\d{1,3}[- ]year[- ]old\b",
    re.IGNORECASE,
)


def echoed(answer: str) -> bool:
    """Whether an answer begins with a question put to itself."""
    first = sentences(tidy(answer))[:1]
    return bool(first) and first[0] != without_questions(first[0])


def listing(answer: str) -> bool:
    """Whether an answer has a list, set in lines or not."""
    return bool(_ITEM.search(answer)) or flattened(answer)


def flattened(answer: str) -> bool:
    """Whether items of a list stand in a line of running text ("fever - cough - rash")."""
    return bool(_FLAT.search(answer))


def invents_a_patient(answer: str, prompt: str) -> bool:
    """Whether an answer speaks of a patient, as charts do, though the question mentions none."""
    return bool(_PATIENT.search(answer)) and not _PATIENT.search(prompt)


def study(
    model: AtMoe,
    examples: Sequence[Example],
    count: int = 60,
    seed: int = 0,
    sampling: Sampling = SAMPLING,
    batch: int = 10,
) -> dict[str, Any]:
    """Answer questions in unseen wordings where one fits, else as they stand, and look at them.

    Args:
        model: to be studied.
        examples: questions are put about what these ask for; those with a text of their own are
            left out.
        count: of questions, and of pairs of needs.
        seed: of what is drawn.
        sampling: of the answers.
        batch: how many are answered at once.

    Returns:
        "answers", "echoed", "listing", "flattened", "patient": numbers of answers; "reworded": of
        those whose question was put in other words.
        "both_needs": {"pairs", "gained": by need ("first", "second") and "both", the mean gain
        together over the mean gain alone, None where that is none; "gaining": in how many pairs
        each need gains alone, "kept": the fraction of these whose needs both keep 70%, None without
        any; "in_team": the fraction of all whose two experts both take part}.
        "seed", "sampling", "dtype", "seconds".

    Raises:
        DataError: no example is a question without a text of its own.
    """
    began, rng = time.perf_counter(), random.Random(seed)
    questions = [e for e in examples if not e.material]
    if not questions:
        raise DataError("No example is a plain question; name data that holds some.")
    chosen = rng.sample(questions, min(count, len(questions)))
    asked = [paraphrase(e, rng, "evaluation").prompt for e in chosen]
    answers = [record.answer for record in answered(model, asked, sampling, batch)]
    pairs = list(islice(_pairs(questions, rng), count))
    return {
        "answers": len(answers),
        "reworded": sum(prompt != e.prompt for prompt, e in zip(asked, chosen)),
        "echoed": sum(map(echoed, answers)),
        "listing": sum(map(listing, answers)),
        "flattened": sum(map(flattened, answers)),
        "patient": sum(map(invents_a_patient, answers, asked)),
        "both_needs": _both_needs(model, pairs),
        "seed": seed,
        "sampling": asdict(sampling),
        "dtype": model.precision,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _pairs(
    examples: Sequence[Example], rng: random.Random
) -> Iterator[tuple[Example, Example, Example]]:
    """Two examples about one disease, and the instruction that asks for both; a disease once."""
    by_disease: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_disease[example.disease].append(example)
    diseases = sorted(by_disease)
    rng.shuffle(diseases)
    for disease in diseases:
        own = by_disease[disease]
        if len(own) < 2:
            continue
        first, second = rng.sample(own, 2)
        both = two_needs(first, second, rng, "evaluation")
        if both is not None:
            yield first, second, both


def _both_needs(
    model: AtMoe, pairs: Sequence[tuple[Example, Example, Example]]
) -> dict[str, Any] | None:
    """As `study` says; None without pairs."""
    if not pairs:
        return None
    off = RoutingPlan.off(model.layout)
    gains: list[tuple[list[float], list[float]]] = []
    together_in_team = []
    for first, second, both in tqdm(pairs, desc="two needs", mininterval=5):
        plan = model.route(both.prompt)
        group = next(iter(both.also))
        wanted = {f"{group}/{e.labels[group]}" for e in (first, second)}
        together_in_team.append(wanted <= set(plan.team))
        together = [_gain(model, both.prompt, e.answer, plan, off) for e in (first, second)]
        alone = [
            _gain(model, e.prompt, e.answer, model.route(e.prompt), off) for e in (first, second)
        ]
        gains.append((together, alone))

    first, second = zip(*(together for together, _ in gains))
    first_alone, second_alone = zip(*(alone for _, alone in gains))
    every = [
        all(t >= 0.7 * a for t, a in zip(together, alone, strict=True))
        for together, alone in gains
        if min(alone) > 0
    ]
    return {
        "pairs": len(pairs),
        "gained": {
            "first": _share(first, first_alone),
            "second": _share(second, second_alone),
            "both": _share(first + second, first_alone + second_alone),
        },
        "gaining": len(every),
        "kept": statistics.mean(every) if every else None,
        "in_team": statistics.mean(together_in_team),
    }


def _share(together: Sequence[float], alone: Sequence[float]) -> float | None:
    """What is gained together of what is gained alone; None where nothing is gained alone."""
    return sum(together) / sum(alone) if sum(alone) > 0 else None


def _gain(model: AtMoe, prompt: str, answer: str, plan: RoutingPlan, off: RoutingPlan) -> float:
    """By how much a plan makes an answer likelier than the base model does, nats a token."""
    with_experts, without = model.score(prompt, answer, [plan, off]).mean(1).tolist()
    return with_experts - without
