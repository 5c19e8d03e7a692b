"""Two answers → what a reader would say of the second one first: shorter, easier, to whom.

Measured numbers only, and nothing below a threshold.
"""

from __future__ import annotations

from app.ask.words import rounded
from atmoe import Record
from atmoe.data.text import ITEM
from atmoe.study.reading import ENGLISH, grade_of, items_of, second_person, word_count

LENGTH, LENGTH_WORDS = 0.2, 5
"""Longer or shorter: by a fifth of the router's words, and by five at least."""
YEARS, GRADED_WORDS = 2, 10
"""Easier or harder: by two school years, of grades as they are printed, so that nobody reads 8 → 10
once with the word and once without. In fewer words a grade is chance."""
PERSON = 2
"""Speaks to you: in two more words of a hundred, as they are printed."""
ITEMS = 2
"""So many items are a list."""
THRESHOLDS = (
    f"Shorter and longer are said from {LENGTH:.0%} and {LENGTH_WORDS} words on, easier and harder "
    f"from {YEARS} whole school grades (and {GRADED_WORDS} words), “speaks to you” from {PERSON} "
    "words like “you” more in a hundred, as rounded here."
)


def summary(first: Record, second: Record, language: str = ENGLISH) -> str:
    """How the second answer differs from the first, in a line; *stressed* between stars."""
    if first.answer.split() == second.answer.split():
        return "The same, word by word"
    as_list = _as_list(first.answer, second.answer)
    if _bare(first.answer) == _bare(second.answer):
        return f"The same words{', ' * bool(as_list)}{as_list}"
    length, years = _length(first, second), _years(first.answer, second.answer, language)
    parts = [length, years, _person(first.answer, second.answer), as_list]
    said = ", ".join(part for part in parts if part)
    if said:
        return said[0].upper() + said[1:]
    measured = [("length", length), ("reading grade", years)]
    alike = " and ".join(name for name, part in measured if part is not None)
    return f"About the same in {alike}; the words differ" if alike else "Other words"


def _length(first: Record, second: Record) -> str | None:
    """Empty where it is about the same; None where it cannot be told, for the shorter was cut.

    Nor can it where no spaces part the words.
    """
    before, after = word_count(first.answer), word_count(second.answer)
    if before is None or after is None:
        return None
    cut = [answer.finish != "stop" for answer in (first, second)]
    if (cut[before > after] and before != after) or all(cut):
        return None
    if abs(after - before) < max(LENGTH_WORDS, LENGTH * before):
        return None if any(cut) else ""
    counts = [f"{n}{'+' * was_cut}" for n, was_cut in zip((before, after), cut)]
    return f"{'longer' if after > before else 'shorter'} ({counts[0]} → {counts[1]} words)"


def _years(first: str, second: str, language: str) -> str | None:
    """Empty where they are about as hard to read; None where that cannot be told."""
    before, after = (grade_of(text, language) for text in (first, second))
    if (
        before is None
        or after is None
        or min(word_count(first) or 0, word_count(second) or 0) < GRADED_WORDS
    ):
        return None
    years = int(rounded(after)) - int(rounded(before))
    if abs(years) < YEARS:
        return ""
    return f"{'harder' if years > 0 else 'easier'} (grade {rounded(before)} → {rounded(after)})"


def _person(first: str, second: str) -> str:
    before, after = of_hundred(first), of_hundred(second)
    if abs(after - before) < PERSON:
        return ""
    if after > before:
        return f"speaks {'more ' * (before >= PERSON)}to *you*"
    return "speaks less to *you*" if second_person(second) else "no longer speaks to *you*"


def of_hundred(text: str) -> int:
    """How many of a hundred words are "you" and its like."""
    return round(100 * second_person(text))


def _as_list(first: str, second: str) -> str:
    before, after = items_of(first), items_of(second)
    if not before and after >= ITEMS:
        return "as a list"
    return "not as a list" if not after and before >= ITEMS else ""


def _bare(text: str) -> list[str]:
    return ITEM.sub("", text).split()
