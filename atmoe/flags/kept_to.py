"""Does an answer keep to what it was given? What it says that its source does not hold.

    prompt ─ source_of ─► dialogue or abstract ─┐
    answer ─ numbers, P-values, names, denials ─┴─► findings, each with where the source differs

number     a number in figures or words that the source does not hold, nor implies
unit       a number that the source holds with another unit only
P-value    "P<0.05" where the source has it the other way round; "no significant difference" beside
           P=0.02; "significant" where the source finds nothing to be so
name       a drug, disease or symptom that the source does not name, in any of its forms
negation   "denies chest pain" where the source affirms it, and the other way round

Few findings that hold are worth more than many that do not: whatever can be read in two ways is
passed over. The tables are in `kept_to.json`. A finding says what stands in the two texts, never
that the answer is wrong; an answer without findings may be wrong as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from atmoe.flags.finding import KINDS, Finding, Source, plain, source_of
from atmoe.flags.held import Held
from atmoe.flags.names import names
from atmoe.flags.negations import negations
from atmoe.flags.numbers import DATE, Number, numbers_of, table, unit_pattern
from atmoe.flags.significance import P_VALUE, p_values

_MERE_COUNTS = ("two", "three")
"""So many things may stand in a source one by one ("a brother and a sister")."""


def findings(prompt: str, answer: str) -> tuple[Finding, ...]:
    """What an answer says that its prompt's source does not hold, by place in the answer.

    Args:
        prompt: what a person typed, the source in it.
        answer: to be held against it.

    Returns:
        () also where the prompt holds no source.
    """
    source = source_of(plain(prompt))
    if source is None:
        return ()
    read = plain(answer)
    found = [
        *_numbers(source, read),
        *p_values(source, read),
        *names(source, read),
        *negations(source, read),
    ]
    found = [replace(one, says=answer[one.start : one.end]) for one in found]
    return tuple(sorted(found, key=_place))


def _place(finding: Finding) -> tuple[int, int, int]:
    return finding.start, finding.end, KINDS.index(finding.kind)


def _numbers(source: Source, answer: str) -> Iterator[Finding]:
    held = Held(source.text)
    in_p_values = [match.span() for match in P_VALUE.finditer(answer)]
    for date in DATE.finditer(answer):
        if not held.holds_date(date[0]):
            sentence = f"The answer says {date[0]}; the source does not hold this date."
            yield Finding(*date.span(), "number", date[0], None, sentence)
    for number in numbers_of(answer):
        if number.text.casefold() in _MERE_COUNTS and not number.unit:
            continue
        in_p = any(start <= number.start < end for start, end in in_p_values)
        if not held.holds(number):
            if not (in_p and number.values <= {0.05, 0.01, 0.001}):
                yield _number(source, answer, number, held, in_p)
        elif number.unit:
            yield from _unit(source, answer, number, held)


def _number(source: Source, answer: str, number: Number, held: Held, in_p: bool) -> Finding:
    """What is said of a number that the source does not hold."""
    where = None
    if in_p:
        others = list(P_VALUE.finditer(source.text))
        where = others[0].span() if len(others) == 1 else None
    elif number.unit:
        same = [n for n in held.numbers if n.unit == number.unit]
        places = {(n.text.casefold(), n.start, n.end) for n in same}
        if len({text for text, _, _ in places}) == 1:
            where = (same[0].start, same[0].end)
    said = _with_unit(answer, number.start, number.end, number.unit)
    if where is None:
        sentence = f"The answer says {said}; the source does not hold this number."
    else:
        unit = "" if in_p else number.unit
        sentence = (
            f"The answer says {said}; the source has {_with_unit(source.text, *where, unit)}."
        )
    return Finding(number.start, number.end, "number", number.text, where, sentence)


def _unit(source: Source, answer: str, number: Number, held: Held) -> Iterator[Finding]:
    """A number of the source with another unit than any that it has there."""
    said_values = frozenset().union(*number.ways)
    same = [n for n in held.numbers if n.values & said_values]
    units = {n.unit for n in same}
    days = table()["days of"]
    if (
        not same
        or "" in units
        or number.unit in units
        or (any(number.unit in days and unit in days for unit in units) and len(same) > 1)
        or held.converts(number)
    ):
        return
    where = (same[0].start, same[0].end)
    said = _with_unit(answer, number.start, number.end, number.unit)
    other = _with_unit(source.text, *where, same[0].unit)
    sentence = f"The answer says {said}; the source has {other}."
    yield Finding(number.start, number.end, "unit", number.text, where, sentence)


def _with_unit(text: str, start: int, end: int, unit: str) -> str:
    """What stands at a place, and the unit that follows, as it is written there."""
    if not unit:
        return text[start:end]
    after = unit_pattern().match(text, end)
    old = re.compile(r"-old\b").match(text, after.end()) if after else None
    return text[start : (old or after).end()] if after else text[start:end]
