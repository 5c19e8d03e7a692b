"""Topics found by the words of a question: BM25 (Robertson and Zaragoza 2009), by bm25s.

    "how is Crohn's treated" → [crohn, treat] ─ BM25 over all topics ─► score of each topic
    cover = that score / what the topic's own name would score                       0 to 1

A topic is covered where the question says its name; a common word of a long name covers little.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

import bm25s
import numpy as np
import torch
from torch import Tensor

from atmoe.data import wordings
from atmoe.routing import spelling
from atmoe.routing.spelling import plain

# What questions are put in, whatever they are about.
_COMMON_WORDS = """
a an and any anyone are as at be by can could did do does for from had has have having he her him
his how i if in is it its me my of on or she should so some tell that the their them then there they
this to was we were what when where which who why will with would you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[A-Za-z0-9]+")
# Abbreviations that are words of their own in small letters.
_COMMON_IN_SMALL = frozenset({"all", "cap", "hit", "pad"})
_PLURAL = 3
"""Longer words lose their last s."""
PIECES = 2**14
"""So many numbers stand for pieces of words; several pieces may share one."""


def words_of(text: str) -> list[str]:
    """The words of a text that say what it is about, without accents, case and plural."""
    words = [w for w in _WORD.findall(plain(text)) if w not in _COMMON]
    return [w.rstrip("s") if len(w) > _PLURAL else w for w in words]


def written_out(text: str) -> list[str]:
    """The words that abbreviations in a text stand for ("DVT": deep, vein, thrombosis)."""
    return [word for short in _LETTERS.findall(text) for word in _abbreviated().get(short, ())]


@cache
def _abbreviated() -> Mapping[str, tuple[str, ...]]:
    """Abbreviation → the words of all names that it stands for.

    In small letters too, where it has three letters or more and they make no common word.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for name, shorts in wordings.table()["abbreviations"].items():
        for short in shorts:
            small = len(short) > 2 and short.lower() not in _COMMON_IN_SMALL
            for written in {short, short.lower()} if small else {short}:
                names[written] += words_of(name)
    return {short: tuple(dict.fromkeys(words)) for short, words in names.items()}


def pieces_of(text: str) -> list[int]:
    """The words of a text that say what it is about, and their pieces, as numbers below PIECES."""
    return spelling.pieces_of(words_of(text), PIECES)


class Topics:
    """Names of topics, to be found by words.

    Args:
        names: of the topics; an empty one is never found.
    """

    def __init__(self, names: Sequence[str]):
        self._known: dict[str, int] = {}
        documents = []
        for name in names:
            words = words_of(name)
            documents.append([self._known.setdefault(w, len(self._known)) for w in words])
        self._scorer = bm25s.BM25() if self._known else None
        self._own = np.ones(len(names))
        if self._scorer is not None:
            self._scorer.index((documents, self._known), show_progress=False)
            # What a name scores that is asked for whole: all that its words score in it.
            entries = self._scorer.scores
            own = np.bincount(entries["indices"], entries["data"], minlength=len(names))
            self._own = np.where(own > 0, own, 1.0)

    def cover(self, question: str) -> Tensor:
        """How far a question says the name of each topic.

        Returns:
            [topics], 0 = not a word of it, 1 = all of it.
        """
        words = [*words_of(question), *written_out(question)]
        asked = {self._known[w] for w in words if w in self._known}
        if self._scorer is None or not asked:
            return torch.zeros(len(self._own))
        scores = self._scorer.get_scores_from_ids(sorted(asked)) / self._own
        return torch.from_numpy(scores).float().clamp(0, 1)
