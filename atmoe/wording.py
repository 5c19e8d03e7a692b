"""Small pieces of sentences: counts, lists and signs, as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

NO_PRAISE = "This says nothing about whether the answer is right."
"""Beside whatever could be read as praise of an answer."""
ROUNDING = 1e-5
"""A share that is nearer to none or to all than this is it: what is left is rounding."""


def count(number: int, noun: str) -> str:
    """A number of things: "1 word", "3 words"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def listed(parts: Sequence[str]) -> str:
    """Things in a row: "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def fraction(share: float | None) -> str:
    """A share of things in percent; a dash where there was none to count."""
    return "–" if share is None else f"{share:.1%}"


def percent(share: float) -> str:
    """A share in percent, with as many digits as it was given: "60%", "12.5%"."""
    return f"{round(100 * share, 4):.7g}%"


def whole_percent(share: float) -> str:
    """A share in whole percent, but some is not told as none, nor nearly all as all."""
    text = f"{share:.0%}"
    if text == "0%" and share > ROUNDING:
        return "less than 1%"
    if text == "100%" and share < 1 - ROUNDING:
        return "more than 99%"
    return text


def minus(number: str) -> str:
    """A formatted number with a minus sign in place of the hyphen."""
    return number.replace("-", "−")


def apart(one: float, other: float, form: str) -> tuple[str, str]:
    """Two numbers that differ, with as many more digits as it takes to see that they do.

    Args:
        one: of them.
        other: of them.
        form: for `format`, with a digit for the precision after its dot: ".2f", ".0%".

    Returns:
        Both, alike where they are equal to nine digits.
    """
    start, kind = int(form[1]), form[2:]
    for digits in range(start, 10):
        texts = f"{one:.{digits}{kind}}", f"{other:.{digits}{kind}}"
        if texts[0] != texts[1]:
            return texts
    return f"{one:{form}}", f"{other:{form}}"


def likely(effect: float) -> str:
    """An effect in words; what rounds to 1.00 times is as likely as before."""
    if round(math.exp(abs(effect)), 2) == 1:
        return "as likely as before"
    return f"{times(abs(effect))} {'less' if effect > 0 else 'more'} likely"


def times(nats: float) -> str:
    """Nats as a factor, to three digits."""
    factor = math.exp(nats)
    if factor < 10:
        return f"{factor:.2f} times"
    return f"{factor:.0f} times" if factor < 1000 else "over 1,000 times"


def meant(name: str, known: Iterable[str]) -> str:
    """What somebody who wrote a name that there is not may have meant; "" where nothing is near."""
    like = get_close_matches(name, known, n=1)
    return f" (did you mean {like[0]}?)" if like else ""
