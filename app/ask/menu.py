"""The menu of questions beside the question box: cases that were checked, or examples."""

from __future__ import annotations

from collections.abc import Sequence

from app.cases import Case
from app.markup import inert

ELSEWHERE = (
    "Another processor or precision rounds otherwise and may answer in other words; below an "
    "answer stands whether what is said here holds of it."
)
"""Of what was checked: a rounding that decides one word decides those after it as well."""


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
