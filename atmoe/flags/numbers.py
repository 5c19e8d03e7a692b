"""The numbers of a text, in figures and in words, and their units.

"one ninety seven" ─► 1, 97, 197, …      "P = 0.024" ─► 0.024      "two point five" ─► 2, 2.5
"two and a half" ─► 2, 2.5               "a hundred and ten" ─► 1, 10, 100, 110, …
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
_PART = re.compile(
    r"\s?(?P<sign>[½¼¾])|(?<=\d)[\s-](?:and\s)?(?P<half>1/2)(?![\d/])"
    r"|[\s-]+and[\s-]+(?:(?:a|one)[\s-]+(?P<one>half|quarter)|(?P<three>three[\s-]+quarters))\b",
    re.IGNORECASE,
)
"""What stands after a number and is added to it: "two and a half", "2½"."""
_PARTS = {"½": 0.5, "1/2": 0.5, "half": 0.5, "¼": 0.25, "1/4": 0.25, "quarter": 0.25, "¾": 0.75}
_ALONE = re.compile(r"(?<![\w./])(?<!\d[\s-])(?<!\d\sand\s)(?:[½¼¾]|1/[24](?![\w./]))")
"""A part before a unit: "1/2 mg"."""


@cache
def table() -> dict[str, Any]:
    """What stands in `kept_to.json`."""
    return json.loads((Path(__file__).parent / "kept_to.json").read_text("utf-8"))


def spaced(form: str) -> str:
    """A form of the table that holds as well where two spaces or the end of a line part words."""
    form = re.sub(r"\[[^]]*\]", lambda match: match[0].replace(" ", r"\s"), form)
    return form.replace(" ?", r"\s*").replace(" ", r"\s+")


@dataclass(frozen=True)
class Number:
    """A number where it stands.

    Attributes:
        start: of its first character.
        end: after its last.
        text: what stands there.
        values: all that it can mean, whole or in part; in figures it is one.
        ways: how it can be written; of one, every value is meant: "ten and twenty" is 10 and 20.
        decimals: digits after its point.
        unit: a name of the table's units that follows it, or "".
    """

    start: int
    end: int
    text: str
    values: frozenset[float]
    ways: tuple[frozenset[float], ...]
    decimals: int
    unit: str


def numbers_of(text: str) -> list[Number]:
    """The numbers of a text in figures and in words, by place.

    Left out are dates, the marks of a list, figures that are part of a name ("T4", "COVID-19"),
    and "one" but before the unit of a dose: it is mostly a pronoun.
    """
    elsewhere = [match.span() for match in DATE.finditer(text)]
    elsewhere += _list_marks(text)
    numbers = [_part(text, match) for match in _ALONE.finditer(text)]
    numbers = [number for number in numbers if number.unit]
    elsewhere += [(number.start, number.end) for number in numbers]
    elsewhere += [match.span("half") for match in _PART.finditer(text) if match["half"]]
    numbers += [
        _figures(text, match)
        for match in FIGURES.finditer(text)
        if _counts(text, match)
        and not any(start <= match.start() < end for start, end in elsewhere)
    ]
    numbers += filter(None, (_in_words(text, match) for match in _run_pattern().finditer(text)))
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
    parts = _parts_of(words)
    found: set[float] = set()
    for start in range(0, len(parts), _LONGEST_RUN):
        run = parts[start : start + _LONGEST_RUN]
        for begin in range(len(run)):
            if begin and run[begin - 1] == "point":
                continue  # what follows a point is no number of its own
            for digits in _spoken(run[begin:]):
                found.add(float(digits))
    return found


def _ways(words: str) -> tuple[frozenset[float], ...]:
    """How a run of number words can be written: as one number, or as those that stand in a row."""
    parts = _parts_of(words)
    if len(parts) > _LONGEST_RUN:
        return tuple(frozenset({value}) for value in meanings(words))
    wholes = {float(digits) for digits in _spoken(parts, whole=True)}
    row = _row(parts)
    return (*(frozenset({value}) for value in wholes), *([frozenset(row)] if row else ()))


def _parts_of(words: str) -> tuple[str, ...]:
    parts = [part for part in re.findall(r"[a-z]+", words.casefold()) if part != "and"]
    return tuple("one" if part == "a" else part for part in parts)


def _row(words: tuple[str, ...]) -> list[float] | None:
    """The numbers that stand in a row, each as long as may be; None where words are left."""
    if not words:
        return []
    for length, value in sorted(_sums(words), reverse=True):
        row = _row(words[length:])
        if row is not None:
            return [value, *row]
    return None


def _list_marks(text: str) -> list[tuple[int, int]]:
    """Where a list's marks stand in running text: "2." after "1.", "3." after that."""
    lists: list[list[tuple[int, int]]] = [[]]
    for match in _MARK.finditer(text):
        if int(match[1]) == len(lists[-1]) + 1:
            lists[-1].append(match.span())
        elif int(match[1]) == 1 and len(lists[-1]) > 1:
            lists.append([match.span()])
    return [mark for marks in lists if len(marks) > 1 for mark in marks]


def _figures(text: str, match: re.Match[str]) -> Number:
    plain = match[0].replace(",", "").replace("·", ".")
    decimals = len(plain.partition(".")[2])
    value, end = float(plain), match.end()
    part = _PART.match(text, end)
    if part is not None:
        value, end, decimals = value + _worth(part), part.end(), 2
    values = frozenset({value})
    said = text[match.start() : end]
    return Number(match.start(), end, said, values, (values,), decimals, unit_after(text, end))


def _part(text: str, match: re.Match[str]) -> Number:
    """A half or a quarter that stands alone."""
    values = frozenset({_PARTS[match[0]]})
    return Number(*match.span(), match[0], values, (values,), 2, unit_after(text, match.end()))


def _in_words(text: str, match: re.Match[str]) -> Number | None:
    """A run of number words; None of "one" and "zero" by themselves."""
    point = _POINT.search(text[: match.start()][-10:])
    part = _PART.match(text, match.end())
    unit = unit_after(text, part.end() if part else match.end())
    if match[0].casefold() in ("one", "zero") and not (point or part or dose_kind(unit)):
        return None
    values, ways = meanings(match[0]), _ways(match[0])
    if point:
        values |= meanings(f"zero point {match[0]}") - {0}
        ways += _ways(f"zero point {match[0]}")
    end = match.end()
    if part is not None:
        end, worth = part.end(), _worth(part)
        values |= {value + worth for value in values}
        ways = tuple(frozenset({value + worth}) for way in ways for value in way if len(way) == 1)
    said = text[match.start() : end]
    return Number(match.start(), end, said, frozenset(values), ways, 0, unit)


def _worth(part: re.Match[str]) -> float:
    return 0.75 if part["three"] else _PARTS[(part["sign"] or part["half"] or part["one"]).lower()]


def _counts(text: str, match: re.Match[str]) -> bool:
    """Whether figures are a number and not part of a name, or of a list's mark."""
    before, after = text[: match.start()], text[match.end() :]
    if re.search(r"[^\W\d]-?$|[^\W\d]['’]$", before):
        return False
    if re.match(r"[^\W\d_½¼¾]", after):
        return bool(unit_after(text, match.end())) or bool(
            re.match(r"(?:st|nd|rd|th|s|x)\b", after)
        )
    line = before.rpartition("\n")[2]
    return bool(line.strip(" \t#*-")) or not re.match(r"[.)](?:\s|$)", after)


@cache
def _run_pattern() -> re.Pattern[str]:
    words = [*table()["number words"], "hundred", "thousand", "million"]
    word = f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"
    first = "|".join(sorted(table()["number words"], key=len, reverse=True))
    part = r"(?:one\s+half|one\s+quarter|three[\s-]+quarters)\b"
    joint = rf"(?:[\s-]+(?:and\s+(?!{part})|point\s+|oh\s+|o\s+)?)"
    article = r"a(?=\s+(?:hundred|thousand|million)\b)"
    return re.compile(rf"\b(?:{first}|{article})(?:{joint}{word})*\b", re.IGNORECASE)


@cache
def unit_pattern() -> re.Pattern[str]:
    """A unit after a number, and what parts them; one group for each of the table's units."""
    groups = "|".join(f"({'|'.join(map(spaced, forms))})" for forms in table()["units"].values())
    return re.compile(rf"[\s-]{{0,2}}(?:{groups})(?![^\W\d_])", re.IGNORECASE)


def _spoken(words: tuple[str, ...], whole: bool = False) -> Iterator[str]:
    """The digits that number words from the first on can stand for, each way and each length.

    Args:
        words: of numbers.
        whole: only the ways that leave no word.
    """
    for length, value in _sums(words):
        digits = str(value)
        rest = words[length:]
        if not (whole and rest):
            yield digits
        zeros = ""
        while rest and rest[0] in ("oh", "o"):
            zeros, rest = zeros + "0", rest[1:]
        if rest and rest[0] == "point":
            for more in _spoken(rest[1:], whole):
                if "." not in more:
                    yield f"{digits}.{more}"
        elif rest:
            for more in _spoken(rest, whole):
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
