"""What a person typed, in one spelling, or refused in a sentence that says why."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from atmoe.errors import PromptError

_LINE_BREAKS = str.maketrans(dict.fromkeys("\f\v\x85\u2028\u2029", "\n"))
"""Form feed, vertical tab and next line, as hospital systems write them; and Unicode's two."""
_SHOWN = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))
)
"""Signs of category Cf that are seen: number signs and marks of Arabic, Syriac and Kaithi."""
_JOINERS = re.compile("[\u200c\u200d\u180e]+")
"""Zero width joiner and non-joiner, and Mongolian's vowel separator."""
_FLAG = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[\U000e0000-\U000e007f]")
"""The flag of a part of a country; or a tag that is of none."""
_JOINED = re.compile(
    "[\u0600-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\ua8ff\ua980-\uabff\ufb50-\ufdff"
    "\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f\ufe0f\U0001f3fb-\U0001f3ff]"
)
"""Letters whose form a joiner changes: of Arabic's kind, India's and its neighbours'; and what ends
an emoji."""
_APOSTROPHE = re.compile("(?<=[^\\W\\d_])[’‘‛ʼ′´`＇](?=[^\\W\\d_])")
"""Between two letters, as phones, word processors and other keyboards write it."""
_KEYBOARD = str.maketrans(
    {"\u2010": "-", "\u2011": "-"}
    | {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
    | {chr(0x2080 + digit): str(digit) for digit in range(10)}
)
"""Hyphens, ligatures (ﬁ, ﬂ, as PDFs hold them) and lowered digits (CO₂, B₁₂). A raised one may be
an exponent, and stays."""
_CAPITALS = 12
"""So many letters, all capitals, are a whole question so written, and no abbreviation."""
_NAMED_AT_ONCE = 8
"""Control characters that one message lists."""


def check_text(text: str, what: str = "question", max_characters: int = 100_000) -> str:
    """The text in one spelling: stripped, in Unicode NFC, every line break a line feed.

    Every space is the plain one, and what cannot be seen is gone: soft hyphens, marks of direction
    and of byte order, as word processors and PDFs leave them among the letters. Whatever enters
    the program enters it here, a question or an answer to be scored, so that the same words are the
    same everywhere. (A generated answer is its tokens, and does not enter.)

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
    text = unicodedata.normalize("NFC", _as_seen(text)).strip()
    if not text:
        raise PromptError(f"The {what} is empty; write one.")
    return text


def check_question(text: str, max_characters: int = 100_000) -> str:
    """A question as `check_text` has it, in the signs that a plain keyboard has for the same words.

    A phone writes “Crohn’s” of its own accord, a PDF “ﬁbrosis”, and many a hospital system all in
    capitals. To a tokenizer these are other words than those that were learned, and other experts
    would take part. (An answer to be scored stays as it is.)

    Args:
        text: what a person typed.
        max_characters: it may have no more, before it is stripped.

    Raises:
        PromptError: as `check_text`.
    """
    text = check_text(text, max_characters=max_characters)
    text = _APOSTROPHE.sub("'", text).translate(_KEYBOARD)
    if text.isupper() and sum(map(str.isupper, text)) >= _CAPITALS:
        text = unicodedata.normalize("NFC", text.capitalize())
    return text


def _as_seen(text: str) -> str:
    """The text with one kind of space, and without what cannot be seen."""
    if text.isascii():
        return text
    letters = []
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "Zs":
            letters.append(" ")
        elif kind != "Cf" or letter in _SHOWN or _JOINERS.match(letter) or _FLAG.match(letter):
            letters.append(letter)
    text = _FLAG.sub(lambda flag: flag[1] or "", "".join(letters))

    def joined(joiners: re.Match[str]) -> str:
        beside = (
            text[max(joiners.start() - 1, 0) : joiners.start()]
            + text[joiners.end() : joiners.end() + 1]
        )
        return joiners[0] if any(map(_is_joined, beside)) else ""

    return _JOINERS.sub(joined, text)


def _is_joined(letter: str) -> bool:
    """Whether a joiner beside it can be seen: in scripts that join letters, and in emoji."""
    return bool(_JOINED.match(letter)) or unicodedata.category(letter) == "So"


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
        raise PromptError("The question holds no words; write it in words.")
    if scripts:
        known = sum(unicodedata.name(ch, "").startswith(tuple(scripts)) for ch in letters)
        if known < 0.5 * len(letters):
            wanted = " or ".join(s.capitalize() for s in scripts)
            raise PromptError(
                f"These experts learned from texts in {wanted} letters; write the question in a "
                f"language that they learned from, in {wanted} letters."
            )
