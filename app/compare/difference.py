"""Word by word, where two texts differ (Python's difflib)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

Span = tuple[str, bool]
"""A piece of a text, and whether the other text has nothing like it there."""


def differences(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """Both texts in pieces that join to the whole. White space never differs."""
    first_words, second_words = (re.findall(r"\S+\s*|^\s+", text) for text in (first, second))
    matcher = SequenceMatcher(
        None,
        [word.strip() for word in first_words],
        [word.strip() for word in second_words],
        autojunk=False,
    )
    first_spans: list[Span] = []
    second_spans: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        first_spans += _spans(first_words[a:b], tag != "equal")
        second_spans += _spans(second_words[c:d], tag != "equal")
    return first_spans, second_spans


def _spans(words: Sequence[str], differs: bool) -> list[Span]:
    """Words as one piece, and the white space behind them as another; none that is empty."""
    text = "".join(words)
    end = len(text.rstrip())
    pieces = [(text[:end], differs), (text[end:], False)]
    return [(piece, differs) for piece, differs in pieces if piece]
