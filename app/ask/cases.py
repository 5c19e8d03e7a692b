"""Cases: questions written by us, with what an answer to each must hold and must not.

They lie with the model (cases.json beside its atmoe.json), since whether an answer is acceptable is
a fact about the model; a test asks the shipped one each of them.

    [{"label": "Asthma: treatment", "question": "How is asthma treated?",
      "holds": "names inhaled steroids",           what was checked, in words
      "must": ["inhaled (cortico)?steroid"],       patterns that the answer holds, all of them
      "must_not": ["antibiotic"],                  and none of these
      "failure": false}]                           true: an honest failure, and "holds" says of what

Patterns are Python's, and case does not matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.markup import inert
from atmoe.errors import AssetError

FILE = "cases.json"
ELSEWHERE = (
    "Another processor or precision rounds otherwise and may answer in other words: hold the "
    "answer that you get against what is said here."
)
"""Of what was checked: a rounding that decides one word decides those after it as well."""


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        label: a few words for the menu.
        question: what is asked, to the letter.
        holds: what was checked of the answer, in words.
        must: patterns that it holds.
        must_not: patterns that it does not hold.
        failure: the answer is wrong, and shown for that.
    """

    label: str
    question: str
    holds: str
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()
    failure: bool = False

    def faults(self, answer: str) -> list[str]:
        """What keeps an answer from being what the menu says of it."""
        missing = [f"lacks {p!r}" for p in self.must if not re.search(p, answer, re.IGNORECASE)]
        return missing + [
            f"holds {p!r}" for p in self.must_not if re.search(p, answer, re.IGNORECASE)
        ]


def read_cases(folder: Path) -> tuple[Case, ...]:
    """A model's cases; none where its directory has no such file.

    Args:
        folder: where the model lies.

    Raises:
        AssetError: the file is no list of cases.
    """
    file = folder / FILE
    if not file.is_file():
        return ()
    try:
        cases = tuple(_case(raw) for raw in json.loads(file.read_text("utf-8")))
        for case in cases:
            case.faults("")  # a pattern that is none is an error here and not later
    except (ValueError, TypeError, KeyError, AttributeError, re.error) as error:
        raise AssetError(
            f"{file} is no list of cases ({error}); mend it, or delete it and the page offers none."
        ) from error
    return cases


def _case(raw: dict) -> Case:
    """One case as the file has it."""
    must, must_not = (tuple(raw.get(name, ())) for name in ("must", "must_not"))
    label, question, holds = (raw[name] for name in ("label", "question", "holds"))
    texts = (label, question, holds, *must, *must_not)
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{str(raw)[:60]}… lacks a text")
    if not must:
        raise ValueError(f"{label} has no pattern to be held against")
    return Case(label, question, holds, must, must_not, raw.get("failure") is True)


def menu(cases: Sequence[Case], examples: Sequence[str] = ()) -> str:
    """A button, and the list that it opens.

    Those that fail, and questions whose answers nobody has read, each stand under a heading of
    their own.

    Args:
        cases: questions with what was checked.
        examples: questions alone.

    Returns:
        HTML that no template language reads anything into.
    """
    parts = f"<p>{ELSEWHERE}</p>" if cases else ""
    for title, failure in (("Acceptable answers", False), ("Honest failures", True)):
        items = "".join(_item(case) for case in cases if case.failure is failure)
        if items:
            parts += f"<h3>{title}</h3><ul>{items}</ul>"
    if examples:
        items = "".join(f"<li>{_button(example)}</button></li>" for example in examples)
        parts += f"<h3>Examples</h3><ul>{items}</ul>"
    name = "cases that were checked" if cases else "examples"
    return (
        '<button type="button" id="cases-button" aria-expanded="false" aria-controls="cases-menu">'
        f"▾ {name}</button>"
        f'<div id="cases-menu" role="group" aria-label="{name.capitalize()}" hidden>'
        f"{parts}</div>"
    )


def _button(question: str, before: str = "") -> str:
    """What asks a question, as far as its words."""
    return (
        f'<button type="button" data-question="{inert(question)}">{before}<q>{inert(question)}</q>'
    )


def _item(case: Case) -> str:
    """One button: its label, the question, and what was checked of the answer."""
    sign, before = ("✗", "An honest failure: it") if case.failure else ("✓", "It")
    return (
        f"<li>{_button(case.question, f'<b>{inert(case.label)}</b> ')}"
        f'<small><span aria-hidden="true">{sign}</span> {before} {inert(case.holds)}.</small>'
        "</button></li>"
    )
