"""Whether a source holds a number, or one follows from what it holds.

A source is read generously: what is spoken can be meant in several ways ("one ninety seven" is a
weight of 197), and each of them counts as held. So is what a source's number rounds to, a share
that two of its counts make, and one length of time in another unit. A dose is held as it stands, or
converted: 500 mg are 0.5 g, and neither 500 g nor, of 0.4 mg, about 0; "twenty five milligrams" are
not 5 mg. An answer is read as it is written: its "twenty-five" is 25, and neither 20 nor 5.
"""

from __future__ import annotations

import math
import re

from atmoe.flags.numbers import Number, dose_kind, numbers_of, table, unit_after

_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_ARTICLE = re.compile(r"\s+(?:of\s+)?an?\b")
"""Between a word and its unit: "half a gram"."""
_LOOKED_AT = 40
"""Counts of a source that are tried for the share that two of them make."""


class Held:
    """The numbers of a source.

    Args:
        source: the text that they stand in.
    """

    def __init__(self, source: str):
        self.numbers = numbers_of(source)
        counted = numbers_of(_without_ordinals(source))
        self._values = {value for number in (*self.numbers, *counted) for value in number.values}
        # every run of digits counts, though it be part of a name
        figures = {float("0." + m[1]) for m in re.finditer(r"(?<!\d)[.·](\d+)", source)}
        for match in re.finditer(r"(?<!\w)[.·]\d+|\d+(?:[.,·]\d+)*", source):
            figures |= _readings(match[0])
        self._values |= figures
        # by figures and number words as they are written, or by "a" before a unit
        written = (way for number in (*self.numbers, *counted) for way in number.ways)
        self._given = figures.union(*written)
        if re.search(r"\b(?:an?|one)\s+\w+\s+and\s+a\s+half\b", source, re.IGNORECASE):
            self._given.add(1.5)  # "a pack and a half"
            self._values.add(1.5)
        spaced = re.findall(r"(?<![\d.,])[1-9]\d{0,2}(?:\s\d{3})+(?![\d.,]\d)", source)
        self._values |= {float("".join(run.split())) for run in spaced}  # "10 000 patients"
        self._parts: set[float] = set()  # by "half", "all"
        for match in re.finditer(r"[a-z]+", source, re.IGNORECASE):
            word = match[0].casefold()
            values = {1} if word == "one" else table()["other numbers"].get(word, ())
            self._values.update(values)
            if word in table()["share words"]:
                self._parts.update(values)
            article = _ARTICLE.match(source, match.end())
            in_run = any(n.start <= match.start() < n.end for n in self.numbers)
            if (
                values
                and not in_run
                and unit_after(source, article.end() if article else match.end())
            ):
                self._given.update(values)
        self._days = {
            value * table()["days of"][number.unit]
            for number in self.numbers
            if number.unit in table()["days of"]
            for value in number.values
        }
        for match in re.finditer(
            r"\b(?:a|an|one|per|every|each|last|this|next|past)\s+(day|week|month|year|hour)"
            r"(\s+and\s+a\s+half)?\b",
            source,
        ):
            self._days.add(table()["days of"][match[1]] * (1.5 if match[2] else 1))

    def holds(self, number: Number) -> bool:
        """Whether a number is held in one of the ways that it can be written, or follows."""
        return any(all(self._holds(value, number) for value in way) for way in number.ways)

    def holds_date(self, date: str) -> bool:
        """Whether day, month and year of a date are held, the year with or without its century."""
        parts = re.split("[/-]", date)
        parts = [*parts[1:], parts[0]] if len(parts[0]) == 4 else parts
        *days, year = map(float, parts)
        years = {year, year + 1900, year + 2000} if year < 100 else {year}
        return self._values.issuperset(days) and not self._values.isdisjoint(years)

    def converts(self, number: Number) -> bool:
        """Whether a dose is one of the source's in another unit: 0.5 g is its 500 mg."""
        return any(all(self._converts(value, number.unit) for value in way) for way in number.ways)

    def _converts(self, value: float, unit: str) -> bool:
        worth = dose_kind(unit)
        return any(
            math.isclose(value * worth[unit], other * worth[given.unit])
            for given in self.numbers
            if given.unit in worth
            for way in given.ways
            for other in way
        )

    def _holds(self, value: float, number: Number) -> bool:
        against = self._against(number.unit)
        if value in against or self._converts(value, number.unit):
            return True
        # neither are 0.4 mg about 0, nor is a dose rounded
        roundable = value and not dose_kind(number.unit)
        if roundable and any(_rounds_to(other, value, number.decimals) for other in against):
            return True
        if number.unit in table()["days of"] and self._is_time(
            value * table()["days of"][number.unit]
        ):
            return True
        if not number.unit and 1910 <= value < 2000 and value % 100 in self._values:
            return True  # a year is spoken without its century: "back in eighty two"
        return number.unit == "%" and self._is_share(value, number.decimals)

    def _against(self, unit: str) -> set[float]:
        """What a number may be held by: before most units neither "I" nor "may" is one."""
        if not unit or unit in table()["days of"]:
            return self._values
        return self._given | self._parts if unit == "%" else self._given

    def _is_time(self, days: float) -> bool:
        return any(abs(days - other) <= 0.06 * max(days, other) for other in self._days)

    def _is_share(self, percent: float, decimals: int) -> bool:
        """Whether two counts or a fraction make this share, or another is what is left of 100%."""
        if not percent:
            return 100 in self._against("%")
        rest = (100 - other for other in self._against("%"))
        if any(_rounds_to(other, percent, decimals) for other in rest):
            return True
        fractions = (value for n in self.numbers if not n.unit for value in n.values if value < 1)
        if any(_rounds_to(100 * part, percent, decimals) for part in fractions):
            return True
        counts = sorted(value for value in self._values if value == int(value) and value > 0)
        counts = counts[:_LOOKED_AT]
        return any(
            _rounds_to(100 * part / whole, percent, decimals)
            for whole in counts
            for part in counts
            if part <= whole
        )


def _rounds_to(exact: float, rounded: float, decimals: int) -> bool:
    """Whether a number is another to so many decimals; a half may go either way."""
    of_so_many = abs(rounded - round(rounded, decimals)) < 1e-9
    return of_so_many and abs(exact - rounded) <= 0.5 * 10**-decimals + 1e-9


def _readings(run: str) -> set[float]:
    """What a run of digits can mean: 2.5 is nothing else, 2,5 is that or a 2 and a 5."""
    pieces = re.split(r"[.,·]", run)
    if re.fullmatch(r"\d*[.·]\d+", run):
        return {float(f"{pieces[0]}.{pieces[1]}")}
    if _THOUSANDS.fullmatch(run):
        return {float(run.replace(",", ""))}
    readings = {float(piece) for piece in pieces}
    if len(pieces) == 2:
        readings.add(float(".".join(pieces)))
    return readings


def _without_ordinals(text: str) -> str:
    """A text with "thirty first" as "thirty one"."""
    ordinals = table()["ordinals"]
    pattern = rf"\b(?:{'|'.join(ordinals)})\b"
    return re.sub(pattern, lambda match: ordinals[match[0].casefold()], text, flags=re.IGNORECASE)
