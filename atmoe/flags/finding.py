"""What an answer is held against, what is found in it, and where sentences begin and end."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from atmoe.data.text import count_words
from atmoe.flags.words import Piece

NO_VERDICT = (
    "Flags mark words, not errors: an answer with flags may be right, and one without may be wrong."
)
"""Said wherever flags are."""

NOT_HELD = "not held against the question's text, which is done for a dialogue or an abstract only"
"""Said of an answer whose question brings neither, whether or not a word of it is flagged."""

KINDS = ("number", "unit", "P-value", "name", "negation")

LEAST_WORDS = 40
"""A shorter text without turns of speech is a question, not an abstract."""

LEAST_MARKS = 2

LEAST_SPEAKERS = 2

_QUOTED = 70
"""Letters of a source that a sentence quotes at most."""

TURN = re.compile(r"^[ \t]*(?P<who>[A-Z][\w. ]{0,24}?)[ \t]*:[ \t]*(?P<said>.*)$", re.MULTILINE)

_WHO = r"doctor|dr|patient|pt|physician|clinician|nurse|provider|therapist"

_SPEAKERS = re.compile(rf"^(?:{_WHO}|guest|d|p)\b|^guest_", re.IGNORECASE)

_BESIDE = re.compile(rf"[ \t](?=(?:{_WHO}|guest_\w+)\s?:)", re.IGNORECASE)
"""What stands before a turn of speech within a line."""

_ABSTRACT_MARKS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"\b(?:methods?|results?|objectives?|background|aims?|purpose|design|setting)\s*:",
        r"\bp\s*[=<>≤≥]",
        r"\d\s*%",
        r"\b(?:95% ci|confidence interval|odds ratio|hazard ratio|relative risk)\b",
        r"\b(?:retrospective|prospective|randomi[sz]ed|cohort|controlled trial|cross-sectional)",
        r"\b(?:patients|subjects|participants|children|women|men|cases)"
        r" (?:were|was|who|with|underwent)\b",
        r"\b(?:study|studies|trial|survey|analy[sz]ed|evaluated|investigated|assessed|compar(?:ed|ing))\b",
        r"\b(?:significant|associat|correlat)\w*",
    )
)

_SPACE = re.compile(r"[^\S\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")

_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?\n]?")


class Source(NamedTuple):
    """What a prompt gives to be kept to: the prompt itself, and of which kind it is."""

    kind: str
    text: str


@dataclass(frozen=True)
class Finding:
    """Something an answer says that its source does not hold, or holds the other way round.

    Attributes:
        start: of its first character in the answer.
        end: after its last.
        kind: one of KINDS, or "word".
        says: what stands there.
        source: first character and end of where the prompt says otherwise; None where it says
            nothing.
        sentence: what was found, for a reader.
    """

    start: int
    end: int
    kind: str
    says: str
    source: tuple[int, int] | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes."""
        return {**asdict(self), "source": self.source and list(self.source)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """The inverse of `to_dict`."""
        source = data["source"]
        return cls(**{**data, "source": None if source is None else (source[0], source[1])})


def plain(text: str) -> str:
    """A text with a space for each of Unicode's and a hyphen for each of its; no place moves."""
    return _SPACE.sub(" ", text).replace("\u2010", "-").replace("\u2011", "-")


def source_of(prompt: str) -> Source | None:
    """What a prompt gives to be kept to: a dialogue, an abstract, or None.

    Of a dialogue all in one line, each turn becomes a line; every letter stays in its place.
    """
    for text in (prompt, _BESIDE.sub("\n", prompt)):
        speakers = {match["who"].casefold() for match in TURN.finditer(text)}
        if sum(bool(_SPEAKERS.match(who)) for who in speakers) >= LEAST_SPEAKERS:
            return Source("dialogue", text)
    marks = sum(bool(mark.search(prompt)) for mark in _ABSTRACT_MARKS)
    if count_words(prompt) >= LEAST_WORDS and marks >= LEAST_MARKS:
        return Source("abstract", prompt)
    return None


def sentence_at(text: str, at: int, begin: int = 0) -> Piece:
    """The sentence of a text that a place lies in."""
    ends = _sentence_ends(text)
    n = bisect_right(ends, at)
    start = max(ends[n - 1] if n else 0, begin)
    end = ends[n] if n < len(ends) else len(text)
    return Piece(start, end, text[start:end])


@lru_cache(maxsize=8)
def _sentence_ends(text: str) -> list[int]:
    """Where the sentences of a text end, each line at its end at the latest."""
    return [match.end() for match in _SENTENCE.finditer(text) if match[0]]


def quote(text: str, where: tuple[int, int]) -> str:
    """What stands at a place, not too much of it."""
    said = " ".join(text[slice(*where)].split())
    return said if len(said) <= _QUOTED else said[:_QUOTED].rsplit(" ", 1)[0] + " …"
