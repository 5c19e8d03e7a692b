"""The tables of `kept_to.json` as patterns: concepts by their forms, and how names end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

from atmoe.flags.numbers import spaced, table

HELD_BY = "~"
"""Marks a form that shows that a source speaks of a thing, and is no name of it."""


def concepts_in(
    text: str, start: int = 0, end: int | None = None
) -> Iterator[tuple[str, re.Match[str]]]:
    """The concepts that a stretch of a text names, and where; the table's order, then by place."""
    stop = len(text) if end is None else end
    for name, match in _all_concepts(text):
        if start <= match.start() and match.end() <= stop:
            yield name, match


@lru_cache(maxsize=8)
def _all_concepts(text: str) -> tuple[tuple[str, re.Match[str]], ...]:
    return tuple(
        (name, match) for name, pattern in _concepts().items() for match in pattern.finditer(text)
    )


@cache
def _concepts() -> Mapping[str, re.Pattern[str]]:
    return {
        name: _any_of(form for form in forms if not form.startswith(HELD_BY))
        for name, forms in table()["concepts"].items()
    }


@cache
def forms_of(name: str) -> re.Pattern[str]:
    """All that counts as a mention of a concept in a source."""
    return _any_of(form.removeprefix(HELD_BY) for form in table()["concepts"][name])


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(spaced, forms))})(?!\w)", re.IGNORECASE)


@cache
def word_set(name: str) -> frozenset[str]:
    """One of the tables' lists of words."""
    return frozenset(table()[name])


@cache
def endings() -> re.Pattern[str]:
    """How names of drugs and diseases end."""
    ends = [*table()["drug endings"], *table()["disease endings"]]
    return re.compile(rf"(?:{'|'.join(ends)})$")


@cache
def also_called() -> Mapping[str, tuple[str, ...]]:
    """A drug's name → its other names."""
    names = {}
    for group in table()["same drug"]:
        for name in group:
            names[name] = tuple(other for other in group if other != name)
    return names
