"""Words of a text, where they stand, and the key under which two forms of one word are the same.

    "The patients' T-waves" ─ words ─► The · patients' · T · waves ─ key ─► the · patient · t · wave

The key is the stem of the Snowball project's English stemmer (Porter2, snowballstem.org), so that
"infections" and "infected" are one word. That stemmer is always the pure Python one: where
PyStemmer is installed the package would take it, and another version may cut other stems.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

from snowballstemmer.english_stemmer import EnglishStemmer

from atmoe.data.text import ITEM, sentences

STEMMER = f"snowballstemmer {version('snowballstemmer')}, English"
"""What cuts the keys; a file that holds keys names it."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")
# Function words of English: they say nothing of what a sentence is about.
FUNCTION_WORDS = frozenset(
    """
    a about all also an and any are as at be been being both but by can could did do does
    for from had has have he her his how i if in into is it its may might more most my no
    not of on one or other our she should so some such than that the their them then there
    these they this those to up was we were what when which who will with would you your
    """.split()  # noqa: SIM905  # a list of words reads as words
)

_stemmer = EnglishStemmer()
_stemming = threading.Lock()


class Piece(NamedTuple):
    """Characters `start` to `end` (not included) of a text, and what stands there."""

    start: int
    end: int
    text: str


def words_of(text: str) -> Iterator[Piece]:
    """The words of a text: letters, with an apostrophe inside. A hyphen parts two words."""
    for match in _WORD.finditer(text):
        yield Piece(match.start(), match.end(), match[0])


@lru_cache(maxsize=2**16)
def key(word: str) -> str:
    """What all forms of a word have in common: its stem, without case and possessive."""
    plain = word.casefold().replace("’", "'")
    plain = plain.removesuffix("'s").replace("'", "")
    with _stemming:  # the stemmer holds the word it is at
        return _stemmer.stemWord(plain)


def content_of(text: str) -> frozenset[str]:
    """The keys of a text's words and numbers other than function words.

    Returns:
        Of a text of nothing but function words, all of theirs.
    """
    plain = [match[0].casefold() for match in _TOKEN.finditer(text)]
    content = [word for word in plain if word not in FUNCTION_WORDS]
    return frozenset(map(key, content or plain))


def statements_of(text: str) -> list[Piece]:
    """The sentences and the items of lists of a text, in order, without the marks of items."""
    pieces = []
    at = 0
    for line in text.splitlines(keepends=True):
        mark = ITEM.match(line)
        begin = mark.end() if mark else 0
        for sentence in sentences(" ".join(line[begin:].split())):
            form = r"\s+".join(map(re.escape, sentence.split()))
            match = re.compile(form).search(line, begin)
            if match is not None and any(letter.isalnum() for letter in sentence):
                pieces.append(Piece(at + match.start(), at + match.end(), match[0]))
                begin = match.end()
        at += len(line)
    return pieces
