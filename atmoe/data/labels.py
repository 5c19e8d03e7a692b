"""Which expert of each group an example belongs to.

Task and audience follow from the corpus: the question type and the source. Specialty follows from
the disease, because a router reads only the question: the disease's name decides wherever one of
the terms in `terms.json` occurs in it, and the text is asked only where the name says nothing.

The six specialties cover more than their names say, so that most of medicine has a home:
  neurology                  brain, nerve, muscle, mind, sleep, eye, ear
  cardiopulmonary            heart, vessels, lungs, blood (as in the US institute of that name)
  endocrine-digestive-renal  hormones, food, gut, liver, kidney, urinary and reproductive organs,
                             bone mass
  infection-immune           infections, immunity, allergy, autoimmune joints, inflamed skin
  oncology                   tumours of any organ
  genetic-rare               inherited, chromosomal and syndromic diseases that no organ claims by
                             name
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

GROUPS: dict[str, tuple[str, ...]] = {
    "task": (
        "overview",
        "diagnosis",
        "treatment",
        "causes",
        "outlook",
        "documentation",
        "evidence",
    ),
    "specialty": (
        "oncology",
        "neurology",
        "cardiopulmonary",
        "endocrine-digestive-renal",
        "infection-immune",
        "genetic-rare",
    ),
    "audience": ("patient", "reference", "professional"),
}

# Not here, so skipped: "research" and "support groups", which answer with links that go out of
# date.
_TASK_OF_QTYPE = {
    "information": "overview",
    "frequency": "overview",
    "symptoms": "diagnosis",
    "exams and tests": "diagnosis",
    "stages": "diagnosis",
    "treatment": "treatment",
    "prevention": "treatment",
    "considerations": "treatment",
    "causes": "causes",
    "susceptibility": "causes",
    "inheritance": "causes",
    "genetic changes": "causes",
    "outlook": "outlook",
    "complications": "outlook",
}

_AUDIENCE_OF_SOURCE = {
    "seniorhealth": "patient",
    "nihseniorhealth": "patient",
    "mplus": "patient",
    "niddk": "patient",
    "nhlbi": "patient",
    "cdc": "patient",
    "cancergov": "patient",
    "ghr": "reference",
    "gard": "reference",
    "ninds": "reference",
}

# A term that settles the matter, one that nearly does, one that speaks for a specialty, and two
# that do so only if nothing else speaks: "text" tells much in running text ("mutation"), "weak"
# nothing.
_TIER_WEIGHT = {"decisive": 27, "strong": 9, "terms": 3, "text": 1, "weak": 1}
# In text a specialty needs this many mentions, and this lead over the next, to be believed.
TEXT_MENTIONS = 3
TEXT_LEAD = 1.5


def task_of(qtype: str) -> str | None:
    """The task expert of a MedQuAD question type; None where the type is not used."""
    return _TASK_OF_QTYPE.get(qtype.strip().lower())


def audience_of(source: str) -> str | None:
    """The audience a MedQuAD source writes for."""
    plain = re.sub(r"[^a-z]", "", source.lower())
    return next((who for name, who in _AUDIENCE_OF_SOURCE.items() if plain.startswith(name)), None)


@cache
def specialty_of_name(name: str) -> str | None:
    """The specialty a disease's name speaks for; the heavier terms win, then the earlier one."""
    scores: dict[str, tuple[int, int]] = {}
    for specialty, tier, match in _matches(name):
        score, first = scores.get(specialty, (0, len(name)))
        scores[specialty] = (score + _TIER_WEIGHT[tier], min(first, match.start()))
    if not scores:
        return None
    return min(scores, key=lambda s: (-scores[s][0], scores[s][1], s))


def specialty_of_text(text: str, mentions: int = TEXT_MENTIONS) -> str | None:
    """The specialty a text speaks for, where it does so often enough and clearly enough."""
    scores = dict.fromkeys(GROUPS["specialty"], 0)
    for specialty, tier, _ in _matches(text):
        scores[specialty] += tier != "weak"
    best, second = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    if scores[best] >= mentions and scores[best] >= TEXT_LEAD * scores[second]:
        return best
    return None


def _matches(text: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    for (specialty, tier), pattern in _patterns().items():
        for match in pattern.finditer(text):
            yield specialty, tier, match


@cache
def _patterns() -> dict[tuple[str, str], re.Pattern[str]]:
    r"""One pattern per specialty and tier.

    A term is a regular expression matched from a word's start; it is a stem ("nephr" finds
    "nephropathy") unless it ends in \b.
    """
    table = json.loads((Path(__file__).parent / "terms.json").read_text("utf-8"))
    return {
        (specialty, tier): re.compile(rf"\b(?:{'|'.join(terms)})", re.IGNORECASE)
        for specialty, tiers in table.items()
        if specialty in GROUPS["specialty"]
        for tier, terms in tiers.items()
        if terms
    }
