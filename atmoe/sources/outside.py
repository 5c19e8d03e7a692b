"""Lines that are no question for a model, and some that are one in real people's words.

All of them were written for this project (`outside.json`). "choose" is what scores and thresholds
are made with, "kept" what they are tested on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

SPLITS = ("choose", "kept")
MEASURED = ("language", "emoji", "recipe", "code", "empty talk")
"""The kinds of lines outside that must be flagged; "other matters" are reported beside them."""

Lines = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Kind → split → lines."""


def outside() -> Lines:
    """Lines that are no question for a medical model, by kind."""
    return _table()["outside"]


def inside() -> Lines:
    """Questions that are, in real people's words and in a clinician's shorthand."""
    return _table()["inside"]


def lines(table: Lines, split: str) -> Iterator[tuple[str, str]]:
    """(kind, line) of one split."""
    for kind, splits in table.items():
        for line in splits[split]:
            yield kind, line


@cache
def _table() -> dict[str, Lines]:
    raw = json.loads((Path(__file__).parent / "outside.json").read_text("utf-8"))
    return {
        name: {
            kind: {split: tuple(lines) for split, lines in splits.items()}
            for kind, splits in raw[name].items()
        }
        for name in ("outside", "inside")
    }
