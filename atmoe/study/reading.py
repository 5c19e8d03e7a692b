"""How hard a text is to read, and whether it speaks to its reader.

A sentence ends at its full stop. Each item of a list, and each heading, is a sentence of its own
though it has none, and what marks it ("- ", "1.") is no word.

Reports of control made up to 25 November 2026, the one of the shipped weights among them, ran the
lines of an answer together: there a whole list was one long sentence, and each mark a word. Their
grades of answers that hold lists are higher than these, and their shares of second-person words
lower. Of prose, both count the same.

The grade is a formula for English: what is written in other letters has none, and neither has an
answer of a model that learned from another language. Words are what white space parts: what is
written without has no number of them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import textstat

from atmoe.data.text import BULLET, ITEM, count_words, sentences, tidy
from atmoe.wording import count

SECOND_PERSON = re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE)
ENGLISH = "en"
_LATIN = ("LATIN",)
_UNSPACED = (
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "BOPOMOFO",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
)
"""Scripts that are written without spaces between words, as their letters' names begin."""
_HEADING_WORDS = 10
"""A line without a full stop and of no more words is a heading; a longer one was only broken."""


class _Unit(NamedTuple):
    """A piece of a text that no sentence crosses: an item, a heading, or prose."""

    text: str
    is_item: bool = False

    @property
    def finished(self) -> bool:
        return self.text.rstrip("\"')]*_").endswith((".", "!", "?"))

    @property
    def is_prose(self) -> bool:
        return not self.is_item and (self.finished or count_words(self.text) > _HEADING_WORDS)


def grade(text: str) -> float:
    """Flesch–Kincaid grade: the US school year that can read the text (Kincaid et al. 1975)."""
    units = [unit.text for unit in _units(text)]
    words = textstat.lexicon_count("\n".join(units))
    if not words:
        return 0.0
    # textstat passes over sentences of one or two words. In prose they are mostly abbreviations; an
    # item of a list may well be so short.
    length = words / sum(max(1, textstat.sentence_count(unit)) for unit in units)
    return 0.39 * length + 11.8 * textstat.syllable_count("\n".join(units)) / words - 15.59


def whole_sentences(text: str) -> str:
    """A text without the sentence that the length limit cut off, unless it is the only one.

    Half a sentence reads too easily. A last item without a full stop is whole where the item before
    it has none either.

    Returns:
        Items with "- " before them, headings and prose, a blank line apart.
    """
    units = _units(text)
    if units and not units[-1].finished and not _has_the_habit(units):
        last = units.pop()
        parts = sentences(last.text)[:-1]
        if parts:
            units.append(_Unit(" ".join(parts), last.is_item))
        elif not units:
            units.append(last)
    return "\n\n".join(BULLET * unit.is_item + unit.text for unit in units)


def grade_of(text: str, language: str = ENGLISH) -> float | None:
    """The reading grade of a text's whole sentences; None for what the formula does not fit.

    Args:
        text: an answer.
        language: what the model learned from, as an ISO 639-1 code; "" = it does not say.
    """
    if language != ENGLISH or not _mostly(text, _LATIN):
        return None
    counted = whole_sentences(text)
    return grade(counted) if counted else None


def word_count(text: str) -> int | None:
    """How many words, without what marks an item of a list; None where no spaces part them."""
    return None if _mostly(text, _UNSPACED) else sum(are_words(text))


def are_words(text: str) -> list[bool]:
    """Of each piece that white space makes of a text, whether it is a word: no item's mark."""
    marks = {match.end() - len(match[0].lstrip()) for match in ITEM.finditer(text)}
    return [piece.start() not in marks for piece in re.finditer(r"\S+", text)]


def length_of(text: str) -> str:
    """How long a text is: "3 words"; in characters where no spaces part its words."""
    words = word_count(text)
    return count(len(text), "character") if words is None else count(words, "word")


def second_person(text: str) -> float:
    """The share of words that are "you", "your" and their like, 0 to 1; "you/your" is one word."""
    words = [word for word, is_word in zip(text.split(), are_words(text)) if is_word]
    return sum(bool(SECOND_PERSON.search(word)) for word in words) / max(len(words), 1)


def _mostly(text: str, scripts: tuple[str, ...]) -> bool:
    """Whether at least half of a text's letters, and one, are of these scripts."""
    letters = [ch for ch in text if ch.isalpha()]
    own = sum(unicodedata.name(ch, "").startswith(scripts) for ch in letters)
    return 0 < len(letters) <= 2 * own


def sentences_of(text: str) -> list[str]:
    """The sentences as they are counted, in their order, without the marks of items."""
    return [sentence for unit in _units(text) for sentence in sentences(unit.text)]


def items_of(text: str) -> int:
    """How many items of lists it has."""
    return len(ITEM.findall(text))


def _units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    after_blank = False
    for line in text.splitlines():
        unit = _Unit(tidy(ITEM.sub("", line)).lstrip("# "), ITEM.match(line) is not None)
        if not unit.text:
            after_blank = True
            continue
        if units and _goes_on(units[-1], unit, after_blank):
            units[-1] = _Unit(f"{units[-1].text} {unit.text}", units[-1].is_item)
        else:
            units.append(unit)
        after_blank = False
    return units


def _goes_on(unit: _Unit, line: _Unit, after_blank: bool) -> bool:
    """Whether a line goes on with what stands before it."""
    if line.is_item:
        return False
    if not after_blank and not unit.finished and line.text[0].islower():
        return True
    return unit.is_prose and line.is_prose and (unit.finished or not after_blank)


def _has_the_habit(units: list[_Unit]) -> bool:
    """Whether the list that a text ends with goes without full stops."""
    return len(units) > 1 and all(unit.is_item and not unit.finished for unit in units[-2:])
