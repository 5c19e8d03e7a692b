"""Drafts → markup: how far they agree, what they lack, and the drafts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app.markup import greyed, passage
from app.wording import count
from atmoe.explanation.drafts import COUNT, Drafts, Statement

MOST = 0.5
"""A statement that fewer than this share of the drafts hold is greyed."""
NO_PROOF = "Drafts that agree need not be right, and a statement that none repeats may be right."
NO_WORDS = "The answer holds no statement that could be looked for in the drafts."


def agreement(drafts: Drafts) -> str:
    """How far the drafts agree with the answer, in a sentence with its number."""
    mean = drafts.agreement
    if mean is None:
        return f"<p>{NO_WORDS}</p>"
    statements, made = drafts.statements, len(drafts.texts)
    lacking = sum(map(alone, statements))
    return (
        f"<p><strong>Self-agreement {mean:.2f}</strong> (0 to 1): on average a statement of this "
        f"answer recurs in {mean * made:.1f} of {made} drafts. Grey: in fewer than half of them "
        f"({lacking} of {count(len(statements), 'statement')}).</p><p>{escape(NO_PROOF)}</p>"
    )


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
    words = sum(len(text.split()) for text in drafts.texts)
    return f"Drafting {COUNT} times: {count(words, 'word')} so far"


def alone(statement: Statement) -> bool:
    """Whether fewer than half of the drafts say it."""
    return statement.shared < MOST


def held(statement: Statement, drafts: Sequence[str]) -> int:
    """How many of the drafts say it."""
    return round(statement.shared * len(drafts))


def _held_by(statement: Statement, drafts: Sequence[str]) -> str:
    return f"recurs in {held(statement, drafts) or 'none'} of {len(drafts)} drafts"
