"""Sentence by sentence, where two texts differ: which stand in both, and which in one only.

1. the sentences of either, as the reading grade counts them
2. the pairing, in order, that makes most of their likeness (difflib's ratio, by words)
3. what found no partner stands beside what found none at the same place
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import zip_longest

from atmoe.study.reading import sentences_of

NEAR = 0.6
"""Two sentences are nearly the same from this ratio on: about six in ten of their words."""


class Kind(StrEnum):
    """Where else a sentence stands."""

    SAME = "same"
    NEAR = "near"
    MOVED = "moved"
    ONLY = "only"


@dataclass(frozen=True)
class Sentence:
    """A sentence of one text.

    Attributes:
        kind: whether it stands beside itself in the other, or nearly, or elsewhere, or not at all.
    """

    text: str
    kind: Kind


Row = tuple[Sentence | None, Sentence | None]
"""What stands side by side."""
Words = tuple[str, ...]


def aligned(first: str, second: str) -> list[Row]:
    """The sentences of both texts in their order, those that are alike beside each other."""
    left, right = sentences_of(first), sentences_of(second)
    left_words, right_words = list(map(_words, left)), list(map(_words, right))
    pairs = _pairs(left_words, right_words)
    # what found no partner in its place may have one elsewhere
    alone_left = set(left_words) - {left_words[i] for i, _ in pairs}
    alone_right = set(right_words) - {right_words[j] for _, j in pairs}
    moved = alone_left & alone_right

    def alone(sentences: Sequence[str]) -> list[Sentence]:
        return [Sentence(s, Kind.MOVED if _words(s) in moved else Kind.ONLY) for s in sentences]

    rows: list[Row] = []
    next_left = next_right = 0
    for i, j in pairs:
        rows += zip_longest(alone(left[next_left:i]), alone(right[next_right:j]))
        kind = Kind.SAME if left_words[i] == right_words[j] else Kind.NEAR
        rows.append((Sentence(left[i], kind), Sentence(right[j], kind)))
        next_left, next_right = i + 1, j + 1
    return rows + list(zip_longest(alone(left[next_left:]), alone(right[next_right:])))


def _words(sentence: str) -> Words:
    """What must be equal: the words, whatever their case and their punctuation."""
    bare = ("".join(filter(str.isalnum, word)).casefold() for word in sentence.split())
    return tuple(word for word in bare if word)


def _pairs(left: Sequence[Words], right: Sequence[Words]) -> list[tuple[int, int]]:
    """Which sentences stand beside each other, so that their likeness adds up to the most."""
    likeness = [[_likeness(one, two) for two in right] for one in left]
    # best[i][j]: of the sentences from i on the left and from j on the right
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in reversed(range(len(left))):
        for j in reversed(range(len(right))):
            paired = likeness[i][j] and likeness[i][j] + best[i + 1][j + 1]
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs = []
    i = j = 0
    while i < len(left) and j < len(right):
        if likeness[i][j] and best[i][j] == likeness[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(one: Words, two: Words) -> float:
    """Difflib's ratio; 0 where it is too small to call them alike."""
    ratio = SequenceMatcher(None, one, two, autojunk=False).ratio()
    return ratio if ratio >= NEAR else 0.0
