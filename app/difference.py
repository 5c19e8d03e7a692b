"""Word by word, where two texts differ (Python's difflib)."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

Span = tuple[str, bool]
"""A piece of a text, and whether the other text has nothing like it there."""


def differences(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """Both texts in pieces that join to the whole. White space goes with the words beside it and never differs alone."""
    words = [re.findall(r"\S+\s*|^\s+", text) for text in (first, second)]
    matcher = SequenceMatcher(None, *([word.strip() for word in some] for some in words), autojunk=False)
    spans: tuple[list[Span], list[Span]] = ([], [])
    for tag, a, b, c, d in matcher.get_opcodes():
        for some, pieces, start, end in ((spans[0], words[0], a, b), (spans[1], words[1], c, d)):
            if start < end:
                some.append(("".join(pieces[start:end]), tag != "equal"))
    return spans
