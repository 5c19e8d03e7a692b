"""Word by word, where two texts differ (Python's difflib)."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

Span = tuple[str, bool]
"""A piece of a text, and whether the other text has nothing like it there."""


def differences(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """Both texts in pieces that join to the whole. White space never differs."""
    words = [re.findall(r"\S+\s*|^\s+", text) for text in (first, second)]
    matcher = SequenceMatcher(
        None, *([word.strip() for word in some] for some in words), autojunk=False
    )
    spans: tuple[list[Span], list[Span]] = ([], [])
    for tag, a, b, c, d in matcher.get_opcodes():
        for some, pieces, start, end in ((spans[0], words[0], a, b), (spans[1], words[1], c, d)):
            text = "".join(pieces[start:end])
            end_of_words = len(text.rstrip())
            some += [
                (part, differs)
                for part, differs in (
                    (text[:end_of_words], tag != "equal"),
                    (text[end_of_words:], False),
                )
                if part
            ]
    return spans
