"""The numbers of a text, in figures and in words, and whether a source holds one.

    "one ninety seven" ─► 1, 97, 197, …      "P = 0.024" ─► 0.024      "two weeks" ─► 2, and 14 days

A source is read generously: what is spoken can be meant in several ways ("one ninety seven" is a
weight of 197), and each of them counts as held. So is what a source's number rounds to, a share
that two of its counts make, and one length of time in another unit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FIGURES = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.·]\d+)?|(?<![\d.])\.\d+")
DATE = re.compile(r"\b(?:\d{1,2}/\d{1,2}/(?:\d{4}|\d{2})|\d{4}[/-]\d{1,2}[/-]\d{1,2})\b")
_MARK = re.compile(r"(?<![\d.])(\d{1,2})[.)](?=\s|$)")
_LONGEST_RUN = 8
"""Number words in a row that are read together."""
_LOOKED_AT = 40
"""Counts of a source that are tried for the share that two of them make."""


@cache
def table() -> dict[str, Any]:
    """What stands in `kept_to.json`."""
    return json.loads((Path(__file__).parent / "kept_to.json").read_text("utf-8"))


@dataclass(frozen=True)
class Number:
    """A number where it stands.

    Attributes:
        start: of its first character.
        end: after its last.
        text: what stands there.
        values: all that it can mean; in figures it is one.
        decimals: digits after its point.
        unit: a name of the table's units that follows it, or "".
    """

    start: int
    end: int
    text: str
    values: frozenset[float]
    decimals: int
    unit: str


def numbers_of(text: str) -> list[Number]:
    """The numbers of a text in figures and in words, by place.

    Left out are dates, the marks of a list, figures that are part of a name ("T4", "COVID-19"),
    and "one", which is mostly a pronoun.
    """
    elsewhere = [match.span() for match in DATE.finditer(text)]
    elsewhere += _list_marks(text)
    numbers = [
        _figures(text, match)
        for match in FIGURES.finditer(text)
        if _counts(text, match)
        and not any(start <= match.start() < end for start, end in elsewhere)
    ]
    for match in _run_pattern().finditer(text):
        if match[0].casefold() not in ("one", "zero"):
            values = frozenset(meanings(match[0]))
            unit = unit_after(text, match.end())
            numbers.append(Number(match.start(), match.end(), match[0], values, 0, unit))
    return sorted(numbers, key=lambda number: number.start)


def unit_after(text: str, end: int) -> str:
    """The unit that follows a place of a text; "" where none of the table's does."""
    match = _unit_pattern().match(text, end)
    if match is None:
        return ""
    return next(name for name, found in zip(table()["units"], match.groups()) if found is not None)


def meanings(words: str) -> set[float]:
    """All that a run of number words can mean, whole or in part, as it is spoken."""
    parts = [part for part in re.findall(r"[a-z]+", words.casefold()) if part != "and"]
    found: set[float] = set()
    for start in range(0, len(parts), _LONGEST_RUN):
        run = parts[start : start + _LONGEST_RUN]
        for begin in range(len(run)):
            for digits in _spoken(tuple(run[begin:])):
                found.add(float(digits))
    return found


class Held:
    """The numbers of a source.

    Args:
        source: the text that they stand in.
    """

    def __init__(self, source: str):
        self.numbers = numbers_of(source)
        counted = numbers_of(_without_ordinals(source))
        self._values = {value for number in (*self.numbers, *counted) for value in number.values}
        # every run of digits counts, though it be part of a name or have a comma for its point
        for match in re.finditer(r"\d+(?:[.,·]\d+)*", source):
            pieces = re.split(r"[.,·]", match[0])
            self._values |= {float(piece) for piece in pieces}
            self._values.add(float("".join(pieces)))
            if len(pieces) == 2:
                self._values.add(float(".".join(pieces)))
        self._values |= {float("0." + m[1]) for m in re.finditer(r"(?<!\d)[.·](\d+)", source)}
        for word in re.findall(r"[a-z]+", source.casefold()):
            self._values |= set(table()["other numbers"].get(word, ()))
        if re.search(r"\bone\b", source, re.IGNORECASE):
            self._values.add(1)
        self._days = {
            value * table()["days of"][number.unit]
            for number in self.numbers
            if number.unit in table()["days of"]
            for value in number.values
        }
        for match in re.finditer(
            r"\b(?:a|an|one|per|every|each|last|this|next|past) (day|week|month|year|hour)\b",
            source,
        ):
            self._days.add(table()["days of"][match[1]])

    def holds(self, number: Number) -> bool:
        """Whether one of a number's meanings is held, or follows from what is."""
        return any(self._holds(value, number) for value in number.values)

    def holds_date(self, date: str) -> bool:
        """Whether day, month and year of a date are held, the year with or without its century."""
        parts = re.split("[/-]", date)
        parts = [*parts[1:], parts[0]] if len(parts[0]) == 4 else parts
        *days, year = map(float, parts)
        years = {year, year + 1900, year + 2000} if year < 100 else {year}
        return self._values.issuperset(days) and not self._values.isdisjoint(years)

    def _holds(self, value: float, number: Number) -> bool:
        if value in self._values:
            return True
        if any(abs(round(other, number.decimals) - value) < 1e-9 for other in self._values):
            return True
        if number.unit in table()["days of"] and self._is_time(
            value * table()["days of"][number.unit]
        ):
            return True
        if not number.unit and 1910 <= value < 2000 and value % 100 in self._values:
            return True  # a year is spoken without its century: "back in eighty two"
        return number.unit == "%" and self._is_share(value, number.decimals)

    def _is_time(self, days: float) -> bool:
        return any(abs(days - other) <= 0.06 * max(days, other) for other in self._days)

    def _is_share(self, percent: float, decimals: int) -> bool:
        """Whether two counts make this share, or another is what is left of 100%."""
        if any(abs(round(100 - other, decimals) - percent) < 1e-9 for other in self._values):
            return True
        counts = sorted(value for value in self._values if value == int(value) and value > 0)
        counts = counts[:_LOOKED_AT]
        return any(
            abs(round(100 * part / whole, decimals) - percent) < 1e-9
            for whole in counts
            for part in counts
            if part <= whole
        )


def _without_ordinals(text: str) -> str:
    """A text with "thirty first" as "thirty one"."""
    ordinals = table()["ordinals"]
    pattern = rf"\b(?:{'|'.join(ordinals)})\b"
    return re.sub(pattern, lambda match: ordinals[match[0].casefold()], text, flags=re.IGNORECASE)


def _list_marks(text: str) -> list[tuple[int, int]]:
    """Where a list's marks stand in running text: "2." after "1.", "3." after that."""
    marks = []
    last = 0
    for match in _MARK.finditer(text):
        if int(match[1]) == last + 1:
            last += 1
            marks.append(match.span())
    return marks if last > 1 else []


def _figures(text: str, match: re.Match[str]) -> Number:
    plain = match[0].replace(",", "").replace("·", ".")
    decimals = len(plain.partition(".")[2])
    unit = unit_after(text, match.end())
    return Number(match.start(), match.end(), match[0], frozenset({float(plain)}), decimals, unit)


def _counts(text: str, match: re.Match[str]) -> bool:
    """Whether figures are a number and not part of a name, or of a list's mark."""
    before, after = text[: match.start()], text[match.end() :]
    if re.search(r"[^\W\d]-?$|[^\W\d]['’]$", before):
        return False
    if re.match(r"[^\W\d_]", after):
        return bool(unit_after(text, match.end())) or bool(
            re.match(r"(?:st|nd|rd|th|s|x)\b", after)
        )
    line = before.rpartition("\n")[2]
    return bool(line.strip(" \t#*-")) or not re.match(r"[.)](?:\s|$)", after)


@cache
def _run_pattern() -> re.Pattern[str]:
    words = [*table()["number words"], "hundred", "thousand", "million"]
    word = f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"
    first = f"(?:{'|'.join(sorted(table()['number words'], key=len, reverse=True))})"
    joint = r"(?:[\s-]+(?:and\s+|point\s+|oh\s+|o\s+)?)"
    return re.compile(rf"\b{first}(?:{joint}{word})*\b", re.IGNORECASE)


@cache
def _unit_pattern() -> re.Pattern[str]:
    groups = "|".join(f"({'|'.join(forms)})" for forms in table()["units"].values())
    return re.compile(rf"[\s-]{{0,2}}(?:{groups})(?![^\W\d_])", re.IGNORECASE)


def _spoken(words: tuple[str, ...]) -> Iterator[str]:
    """The digits that number words from the first on can stand for, each way and each length."""
    for length, value in _sums(words):
        digits = str(value)
        yield digits
        rest = words[length:]
        zeros = ""
        while rest and rest[0] in ("oh", "o"):
            zeros, rest = zeros + "0", rest[1:]
        if rest and rest[0] == "point":
            after = rest[1:]
            for more in _spoken(tuple(after)):
                if "." not in more:
                    yield f"{digits}.{more}"
        elif rest:
            for more in _spoken(tuple(rest)):
                yield digits + zeros + more


def _sums(words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """How many first words make a number the way it is written out, and which."""
    small = table()["number words"]
    if not words or words[0] not in small:
        return
    value = small[words[0]]
    length = 1
    yield length, value
    if value >= 20 and len(words) > 1 and 0 < small.get(words[1], 0) < 10:
        value += small[words[1]]
        length = 2
        yield length, value
    for name, factor in (("hundred", 100), ("thousand", 1000), ("million", 1_000_000)):
        if len(words) > length and words[length] == name:
            value, length = value * factor, length + 1
            yield length, value
            for more, rest in _sums(words[length:]):
                if rest < factor:
                    yield length + more, value + rest
            return
