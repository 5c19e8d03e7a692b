"""The numbers of a text, in figures and in words, and their units.

"one ninety seven" ─► 1, 97, 197, …      "P = 0.024" ─► 0.024      "two point five" ─► 2, 2.5
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FIGURES = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.·]\d+)?|(?<![\d.])\.\d+")
DATE = re.compile(r"\b(?:\d{1,2}/\d{1,2}/(?:\d{4}|\d{2})|\d{4}[/-]\d{1,2}[/-]\d{1,2})\b")
_MARK = re.compile(r"(?<![\d.])(\d{1,2})[.)](?=\s|$)")
_POINT = re.compile(r"\bpoint\s+$", re.IGNORECASE)
"""Before a run of number words: "point five" is 0.5, and "at this point five" is 5."""
_LONGEST_RUN = 8
"""Number words in a row that are read together."""


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
            values = meanings(match[0])
            if _POINT.search(text[: match.start()][-10:]):
                values |= meanings(f"zero point {match[0]}") - {0}
            unit = unit_after(text, match.end())
            numbers.append(Number(match.start(), match.end(), match[0], frozenset(values), 0, unit))
    return sorted(numbers, key=lambda number: number.start)


def unit_after(text: str, end: int) -> str:
    """The unit that follows a place of a text; "" where none of the table's does."""
    match = unit_pattern().match(text, end)
    if match is None:
        return ""
    return next(name for name, found in zip(table()["units"], match.groups()) if found is not None)


def dose_kind(unit: str) -> Mapping[str, float]:
    """The units that doses of this one convert to, and what each is worth; {} of any other."""
    return next((kind for kind in table()["dose units"] if unit in kind), {})


def meanings(words: str) -> set[float]:
    """All that a run of number words can mean, whole or in part, as it is spoken."""
    parts = [part for part in re.findall(r"[a-z]+", words.casefold()) if part != "and"]
    found: set[float] = set()
    for start in range(0, len(parts), _LONGEST_RUN):
        run = parts[start : start + _LONGEST_RUN]
        for begin in range(len(run)):
            if begin and run[begin - 1] == "point":
                continue  # what follows a point is no number of its own
            for digits in _spoken(tuple(run[begin:])):
                found.add(float(digits))
    return found


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
def unit_pattern() -> re.Pattern[str]:
    """A unit after a number, and what parts them; one group for each of the table's units."""
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
