"""Reads PubMedQA: `data/ori_pqal.json`, research questions with an abstract and its conclusion."""

from __future__ import annotations

import json
import re
from pathlib import Path

from atmoe.data.labels import specialty_of_text
from atmoe.data.schema import Example
from atmoe.data.text import count_words, cut_at_sentence, tidy, tidy_question
from atmoe.errors import DataError
from atmoe.schema import address_of

LAYOUT = "data/ori_pqal.json"
ABSTRACT_WORDS = 220
HEADINGS = 3
"""So many headings of an article stand for its topic."""
# Headings of how a study was made and on whom (MeSH check tags and their like): no topic.
_STUDIES = re.compile(
    r"humans|animals|male|female|adult|adolescent|aged|infant|child|young|pregnancy"
    r"|.*\b(?:studies|analysis|models?|surveys|factors|outcome|results|index|rate|ratio|states"
    r"|assessment|tests|age|sensitivity|prevalence|incidence|prognosis|probability|statistics"
    r"|method|trials? as topic|retrospective|feasibility|reproducibility|risk)\b",
    re.IGNORECASE,
)
_INSTRUCTION = "What does the evidence show?"


def read(root: Path, answer_words: int) -> list[Example]:
    """Every question that has a conclusion, in the order of the file."""
    file = root / LAYOUT
    if not file.is_file():
        raise DataError(
            f"No PubMedQA in {root}: expected {LAYOUT}, as in github.com/pubmedqa/pubmedqa."
        )
    try:
        records = json.loads(file.read_text("utf-8-sig"))
        examples = [_example(pmid, record, answer_words) for pmid, record in records.items()]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"Cannot read the PubMedQA file {file}: expected PMID → QUESTION, CONTEXTS, "
            f"LONG_ANSWER ({type(error).__name__}: {error})."
        ) from error
    usable = [example for example in examples if example is not None]
    if not usable:
        raise DataError(f"The PubMedQA file {file} holds no question with a LONG_ANSWER.")
    return usable


def _example(pmid: str, record: dict, answer_words: int) -> Example | None:
    question, answer = tidy_question(record["QUESTION"]), tidy(record.get("LONG_ANSWER"))
    if not question or count_words(answer) < 3:
        return None
    abstract = _abstract(record)
    # Questions decide the topic more than the abstract's detail, so they count twice.
    topic = " ".join([question, question, abstract, *record.get("MESHES", [])])
    specialty = specialty_of_text(topic)
    labels = {"task": "evidence", "audience": "professional"}
    if specialty:
        labels["specialty"] = specialty
    material = cut_at_sentence(abstract, ABSTRACT_WORDS)
    return Example(
        id=f"pubmedqa:{pmid}",
        prompt=f"{material}\n\n{question} {_INSTRUCTION}".strip(),
        answer=cut_at_sentence(answer, answer_words),
        labels=labels,
        disease=f"pmid:{pmid}",
        source="PubMedQA",
        kind="conclusion",
        focus=question,
        material=material,
        topic=_topic(pmid, record.get("MESHES", [])),
        address=address_of(f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"),
    )


def _topic(pmid: str, headings: list[str]) -> str:
    """The first headings that indexers gave the article and that name no kind of study."""
    named = [tidy(h) for h in headings if not _STUDIES.match(h)]
    return "; ".join(named[:HEADINGS]) or f"PubMed {pmid}"


def _abstract(record: dict) -> str:
    """The abstract's parts, each after its heading ("Methods: ...") where it has one."""
    headings = record.get("LABELS") or []
    parts = []
    for position, part in enumerate(record["CONTEXTS"]):
        heading = tidy(headings[position]).capitalize() if position < len(headings) else ""
        parts.append(f"{heading}: {tidy(part)}" if heading else tidy(part))
    return " ".join(parts)
