"""Tidying and shortening text without breaking a sentence or a turn of speech."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r'(?<=[.!?])["\')\]]*\s+(?=[A-Z0-9"\'(\[-])')
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Drs|St|vs|No|Fig|approx|etc|e\.g|i\.e|[A-Z])|\.[A-Z])\.$"
)
_CLAUSE_END = re.compile(r"[;,:]$|^[-–]$")


def tidy(text: str | None) -> str:
    """Whitespace normalised to single spaces."""
    return " ".join((text or "").split())


def tidy_question(text: str | None) -> str:
    """The corpus' wording without the space it leaves before a question mark, or a doubled mark."""
    return re.sub(r"\s*\?(?:\s*\?)*\s*$", "?", tidy(text))


def count_words(text: str) -> int:
    """How many pieces white space makes of it."""
    return len(text.split())


def sentences(text: str) -> list[str]:
    """The sentences of a tidied text; an abbreviation ("Dr. X") does not end one."""
    parts: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] += " " + piece
        elif piece:
            parts.append(piece)
    return parts


def cut_at_sentence(text: str, words: int) -> str:
    """Whole sentences up to `words` words.

    Where the next one is so long that hardly anything would be left ("Yes."), it ends at a clause.
    """
    text = tidy(text)
    if count_words(text) <= words:
        return text
    whole: list[str] = []
    room = words
    for sentence in sentences(text):
        room -= count_words(sentence)
        if room < 0:
            break
        whole.append(sentence)
    short = " ".join(whole)
    return short if count_words(short) >= words // 5 else _cut_at_clause(text, words)


def cut_at_turn(dialogue: str, words: int) -> str:
    """Whole turns of a dialogue (one a line) up to `words` words, never fewer than one turn."""
    turns = [tidy(line) for line in dialogue.splitlines() if line.strip()]
    whole = turns[:1]
    room = words - sum(map(count_words, whole))
    for turn in turns[1:]:
        room -= count_words(turn)
        if room < 0:
            break
        whole.append(turn)
    return "\n".join(whole)


def _cut_at_clause(text: str, words: int) -> str:
    pieces = text.split()[:words]
    for end in range(len(pieces), words // 2, -1):
        if _CLAUSE_END.search(pieces[end - 1]):
            pieces = pieces[:end]
            break
    return " ".join(pieces).rstrip(" ,;:-–") + "."
