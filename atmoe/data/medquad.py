"""Reads MedQuAD: `<n>_<source>_QA*/*.xml`, one document about one disease a file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from atmoe.data.labels import audience_of, specialty_of_name, specialty_of_text, task_of
from atmoe.data.schema import Example
from atmoe.data.text import (
    count_words,
    cut_at_sentence,
    tidy,
    tidy_lines,
    tidy_question,
    without_questions,
)
from atmoe.errors import DataError
from atmoe.schema import address_of

LAYOUT = "<n>_<source>_QA*/*.xml"
_FOLDER = re.compile(r"^\d+_(?P<source>.+?)_QA")
# More than a dialogue needs: a long leaflet about anything mentions most organs in passing.
_MENTIONS = 5
# About a thousand answers hold nothing but the names of other pages.
_LINKS_ONLY = "These resources address the diagnosis or management of"
# About 1,700 GARD answers are, or end in, a flattened table of signs ("Ataxia 90% Seizures 50%
# ..."). A model that learned it would print percentages for diseases it knows nothing of: the prose
# before it is kept, the table is not.
_TABLE = re.compile(
    r"(?:What are the signs and symptoms of [^?]*\?\s*)?"
    r"The Human Phenotype Ontology provides the following list.*",
    re.DOTALL,
)
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


def read(root: Path, answer_words: int) -> list[Example]:
    """Every usable question of the corpus, in the order of folder, file and question."""
    folders = [d for d in sorted(root.iterdir(), key=_natural) if d.is_dir() and _source(d)]
    files = [f for folder in folders for f in sorted(folder.glob("*.xml"))]
    if not files:
        raise DataError(
            f"No MedQuAD files in {root}: expected {LAYOUT}, as in github.com/abachaa/MedQuAD."
        )
    return [example for file in files for example in _read_file(file, answer_words)]


def _source(folder: Path) -> str | None:
    """The source that a folder is named after; None where it is none of the corpus'."""
    match = _FOLDER.match(folder.name)
    return match["source"] if match else None


def _read_file(file: Path, answer_words: int) -> Iterator[Example]:
    try:
        document = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"Cannot read the MedQuAD file {file}: {error}.") from error

    # The folder's name is the source: the attribute is missing or differs in some files.
    source = _source(file.parent) or ""
    focus = tidy(document.findtext("Focus"))
    address = address_of(document.get("url") or "")
    pairs = [
        (
            pair,
            tidy_question(pair.findtext("Question")),
            without_questions(tidy_lines(_TABLE.sub("", pair.findtext("Answer") or ""))),
        )
        for pair in document.iter("QAPair")
    ]
    # A document is about one disease, so its answers together decide where its name does not.
    by_text = None
    if specialty_of_name(focus) is None:
        by_text = specialty_of_text(" ".join(answer for _, _, answer in pairs), _MENTIONS)
    disease = _disease(document, focus, file)

    for position, (pair, prompt, answer) in enumerate(pairs):
        question = pair.find("Question")
        kind = tidy(question.get("qtype")).lower() if question is not None else ""
        task = task_of(kind)
        if task is None or not prompt or count_words(answer) < 3 or answer.startswith(_LINKS_ONLY):
            continue
        named = {
            "task": task,
            "specialty": specialty_of_name(focus or prompt) or by_text,
            "audience": audience_of(source),
        }
        yield Example(
            id=f"medquad:{file.parent.name}/{file.stem}:{pair.get('pid') or position}",
            prompt=prompt,
            answer=cut_at_sentence(answer, answer_words),
            labels={group: expert for group, expert in named.items() if expert},
            disease=disease,
            source=source,
            kind=kind,
            focus=focus,
            address=address,
        )


def _disease(document: ElementTree.Element, focus: str, file: Path) -> str:
    """The lowest concept identifier, else the plain name, else the file itself.

    Documents that share another identifier, or a name where one has no identifier, have different
    keys, and so may lie on both sides of the split. The shipped model was trained on that split.
    """
    concepts = sorted(filter(None, (tidy(cui.text) for cui in document.iter("CUI"))))
    if concepts:
        return concepts[0]
    name = _NOT_A_NAME.sub(" ", focus.lower()).strip()
    return name or f"medquad:{file.parent.name}/{file.stem}"


def _natural(folder: Path) -> tuple[int, str]:
    number = re.match(r"\d+", folder.name)
    return (int(number[0]) if number else 0, folder.name)
