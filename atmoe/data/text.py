"""Tidying and shortening text without breaking a sentence or a turn of speech."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r'(?<=[.!?])["\')\]]*\s+(?=[A-Z0-9"\'(\[-])')
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Drs|St|vs|No|Fig|approx|etc|e\.g|i\.e|[A-Z])|\.[A-Z])\.$"
)
BULLET = "- "
_MARK = r"[-–•*·]"
ITEM = re.compile(rf"^[ \t]*(?:{_MARK}|\d{{1,2}}[.)])[ \t]+(?=\S)", re.MULTILINE)
"""The mark of a list's item, at the beginning of its line: "- ", "* ", "1. ", "2) "."""
_CLAUSE_END = re.compile(r"[;,:]$|^[-–]$")

# The first item of a list that follows its announcement after one space only.
_FIRST_ITEM = re.compile(
    rf"([:.]|\b(?:includes?|including|following|are|to|if|you|as|by|can|may|of),?) {_MARK} "
    rf"(?=[^\n]{{1,240}}? {{2,}}{_MARK} )"
)
_HEADING_ASKED = re.compile(
    r"(?:what|how|is|are|do|does|can|could|will|should|who|whom|why|when|which|where)\b[^.!?]*\?"
    r"[\s?]*$",
    re.IGNORECASE,
)
_HEADING_WORDS = 10


def tidy(text: str | None) -> str:
    """Whitespace normalised to single spaces."""
    return " ".join((text or "").split())


def tidy_lines(text: str | None) -> str:
    """The lines that a page's text was written in: paragraphs, and lists with one item a line.

    Pages come flattened in several ways ("may include  - fever  - cough", items a line apart,
    a list followed by the same list without its marks). Headings are left out: nobody asked them.

    Returns:
        Items begin with "- " and stand on a line each; paragraphs stand a blank line apart.
    """
    text = (text or "").replace("\t", " ")
    text = re.sub(r"^\s*Summary\s*:\s*", "", text)
    text = _FIRST_ITEM.sub(r"\1  - ", text)
    text = re.sub(rf"(?:^|\n|(?<=\S) {{2,}})\s*{_MARK}\s+(?=\S)", f"\n{BULLET}", text)
    text = re.sub(r"(?<=\S) {3,}(?=[A-Z])", "\n", text)
    lines = [line for line in map(tidy, text.splitlines()) if line and line != BULLET.strip()]
    return _set(_said_once(_without_headings(_with_items(lines))))


def without_questions(text: str) -> str:
    """A text without the questions it puts to itself, as headings do ("How might it be treated?").

    Args:
        text: as `tidy_lines` gives it.
    """
    lines = []
    for line in text.splitlines():
        said = [part for part in sentences(line) if not _HEADING_ASKED.match(part)]
        lines.append(" ".join(said))
    return _set([line for line in lines if line])


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
    """Whole sentences and list items up to `words` words; line breaks are kept.

    Where the next one is so long that hardly anything would be left ("Yes."), it ends at a clause.
    A line that announces a list is left out where none of its items fits.
    """
    lines = [line for line in map(tidy, text.splitlines()) if line]
    if sum(map(count_words, lines)) <= words:
        return _set(lines)
    whole: list[str] = []
    room = words
    for line in lines:
        # an item stands or falls as a whole
        pieces = [line] if line.startswith(BULLET) else sentences(line)
        fitting = []
        for piece in pieces:
            room -= count_words(piece)
            if room < 0:
                break
            fitting.append(piece)
        if fitting:
            whole.append(" ".join(fitting))
        if room < 0:
            break
    while whole and whole[-1].endswith(":"):
        whole.pop()
    short = _set(whole)
    return short if count_words(short) >= words // 5 else _cut_at_clause(tidy(text), words)


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


def _with_items(lines: list[str]) -> list[str]:
    """Lines with a mark before those that a line with a colon announces as items."""
    marked: list[str] = []
    listing = False
    for line in lines:
        unfinished = line[-1] not in ".!?:"
        if listing and unfinished and not line.startswith(BULLET):
            line = BULLET + line
        listing = line.endswith(":") or (listing and unfinished)
        marked.append(line)
    return marked


def _without_headings(lines: list[str]) -> list[str]:
    """Lines without those that are short and end in no punctuation, unless there is no other.

    One before a list announces it.
    """
    text = []
    for line, following in zip(lines, [*lines[1:], ""]):
        if line.startswith(BULLET) or line[-1] in '.!?:;,)"' or count_words(line) > _HEADING_WORDS:
            text.append(line)
        elif following.startswith(BULLET) and line.split()[-1].islower():
            text.append(line + ":")
    return text or lines


def _said_once(lines: list[str]) -> list[str]:
    """Lines in which a list is not followed by the same list, or an item of it, without marks."""
    kept: list[str] = []
    items: list[str] = []
    for line in lines:
        if not line.startswith(BULLET):
            items = []
            if BULLET + line not in kept:
                kept.append(line)
            continue
        items.append(line.removeprefix(BULLET))
        again = " ".join(items[:-1])
        own, found, rest = items[-1].partition(f" {again}") if again else (items[-1], "", "")
        if not found:
            kept.append(line)
            continue
        rest = rest.strip()
        if rest.startswith(own.rstrip(".")):
            rest = rest[len(own.rstrip(".")) :].lstrip(" .")
        kept.append(BULLET + own)
        kept += [rest] if rest else []
        items = []
    return kept


def _set(lines: list[str]) -> str:
    """Lines as one text: a list close to what announces it, paragraphs a blank line apart."""
    text = ""
    for line in lines:
        if text:
            text += "\n" if line.startswith(BULLET) else "\n\n"
        text += line
    return text
