"""Drafts → markup: how far they agree, what they lack, and the drafts themselves."""

from __future__ import annotations

from collections.abc import Sequence

from app.markup import greyed, passage
from atmoe.explanation.drafts import COUNT, Drafts, Statement
from atmoe.report.words import alone, held
from atmoe.study.reading import length_of


def answer(drafts: Drafts) -> str:
    """The answer, its statements that most drafts lack greyed."""
    few = [statement for statement in drafts.statements if alone(statement)]
    return greyed(drafts.answer, [(s.start, s.end, _held_by(s, drafts.texts)) for s in few])


def texts(drafts: Drafts) -> str:
    """The drafts, one below the other."""
    parts = []
    for number, text in enumerate(drafts.texts, 1):
        parts.append(f"<h3>Draft {number} of {len(drafts.texts)}</h3>{passage(text)}")
    return "".join(parts)


def progress(drafts: Drafts) -> str:
    """How far they are."""
    written = length_of("\n".join(drafts.texts))
    return f"Drafting {COUNT} times: {written} so far"


def _held_by(statement: Statement, drafts: Sequence[str]) -> str:
    return f"recurs in {held(statement, drafts) or 'none'} of {len(drafts)} drafts"
