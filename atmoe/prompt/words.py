"""What a person typed, in one spelling, or refused in a sentence that says why."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from atmoe.errors import PromptError

_LINE_BREAKS = str.maketrans({"\f": "\n", "\v": "\n", "\x85": "\n"})
"""Form feed, vertical tab and next line, as hospital systems write them."""
_NAMED_AT_ONCE = 8
"""Control characters that one message lists."""


def check_text(text: str, what: str = "question", max_characters: int = 100_000) -> str:
    """The text in one spelling: stripped, in Unicode NFC, every line break a line feed.

    Whatever enters the program enters it here, so that the same words are the same everywhere.

    Args:
        text: what a person typed.
        what: how a message calls it.
        max_characters: it may have no more, before it is stripped.

    Raises:
        PromptError: not text, empty, too long, or control characters; the sentence says where.
    """
    if not isinstance(text, str):
        raise PromptError(f"The {what} must be text, not {type(text).__name__}.")
    if len(text) > max_characters:
        raise PromptError(
            f"The {what} has {len(text):,} characters; shorten it to fewer than {max_characters:,}."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINE_BREAKS)
    _refuse_control_characters(text, what)
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise PromptError(
            f"The {what} is empty; write one"
            + (", for example: How is asthma treated?" if what == "question" else ".")
        )
    return text


def _refuse_control_characters(text: str, what: str) -> None:
    """Raises: PromptError, naming control characters and lone surrogates, and where they stand."""
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        for column, ch in enumerate(line, 1):
            if ch != "\t" and unicodedata.category(ch) in ("Cc", "Cs"):
                places.append((f"U+{ord(ch):04X}", f"line {number}, character {column}"))
    if not places:
        return
    if len(places) == 1:
        [(code, place)] = places
        raise PromptError(
            f"The {what} holds the control character {code}; remove it and try again (it stands in "
            f"{place})."
        )
    listed = ", ".join(f"{code} in {place}" for code, place in places[:_NAMED_AT_ONCE])
    more = len(places) - _NAMED_AT_ONCE
    listed += f" and {more} more" if more > 0 else ""
    raise PromptError(f"The {what} holds control characters: {listed}; remove them and try again.")


def check_words(text: str, scripts: Sequence[str] = ()) -> None:
    """Refuse a question that the experts cannot have learned to read.

    Args:
        text: a question that `check_text` has passed.
        scripts: Unicode script names ("LATIN") that most letters must belong to; empty = any.

    Raises:
        PromptError: no letter at all, or mostly letters of another script.
    """
    letters = [ch for ch in text if ch.isalpha()]
    if not letters:
        raise PromptError(
            "The question holds no words; write it in words, for example: How is asthma treated?"
        )
    if scripts:
        known = sum(unicodedata.name(ch, "").startswith(tuple(scripts)) for ch in letters)
        if known < 0.5 * len(letters):
            wanted = " or ".join(s.capitalize() for s in scripts)
            raise PromptError(
                f"These experts were trained on English; write the question in English, in "
                f"{wanted} letters."
            )
