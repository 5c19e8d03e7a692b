"""Small pieces of the page's sentences: counts, lists and signs, as people write them."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """A number of things: "1 word", "3 words"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def listed(parts: Sequence[str]) -> str:
    """Things in a row: "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def minus(number: str) -> str:
    """A formatted number with a minus sign in place of the hyphen."""
    return number.replace("-", "−")
