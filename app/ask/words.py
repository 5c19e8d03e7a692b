"""Answers → the small print below them. Plain text; measured numbers only."""

from __future__ import annotations

import math

from app.cases import Case
from app.session import Progress
from atmoe.explanation.coherence import INNER, Cohort
from atmoe.flags.finding import NOT_HELD, source_of
from atmoe.report.words import given_by_link
from atmoe.study.reading import ENGLISH, grade_of, length_of
from atmoe.wording import apart, count, minus

BY_LINK, BEFORE = "From the link, not answered here", "given before, not decoded again"
UNFLAGGED = "nothing flagged, which says nothing about whether it is right"
FINISHES = {"stop": "ended by itself", "length": "stopped at the {}-token limit"}


def facts(progress: Progress, language: str = ENGLISH) -> str:
    """What is to be known of an answer at once, in a line.

    Args:
        progress: of the answer.
        language: what the model learned from.
    """
    record = progress.record
    parts = [length_of(record.answer)]
    if given_by_link(record):  # before all else, and never folded away
        parts.insert(0, BY_LINK)
    if not progress.ended:
        parts.insert(0, "Still being written")
        most = int(record.sampling["max_new_tokens"])
        parts.append(f"{len(record.answer_tokens)} of at most {count(most, 'token')}")
        return " · ".join(parts)
    reading = grade_of(record.answer, language)
    if reading is not None:
        parts.append(f"reads at school grade {rounded(reading)}")
    finish = FINISHES.get(record.finish, "stopped before its end")
    parts.append(finish.format(record.sampling["max_new_tokens"]))
    return " · ".join(parts)


def rest(progress: Progress) -> str:
    """What else was measured about an answer."""
    record = progress.record
    if not progress.ended:
        return ""
    parts = [count(len(record.answer_tokens), "token")]
    if progress.whole is not None:
        parts += [
            f"mean log-probability {minus(f'{progress.whole.logp:.2f}')} per token",
            f"repeated trigrams {progress.whole.repeated:.0%}",
        ]
    speed = record.timings.get("decode_tokens_per_s")
    if speed is not None:  # a first token alone takes no time after the prompt
        parts.append(f"{speed:.0f} tokens per second")
    if not record.timings and not given_by_link(record):
        parts.append(BEFORE)
    if record.flags == ():
        parts.append(UNFLAGGED)
    if record.flags is not None and source_of(record.prompt) is None:
        parts.append(NOT_HELD)
    return " · ".join(parts)


def checked(progress: Progress, case: Case | None) -> tuple[str, str]:
    """Whether what the menu says of a case holds of an answer to it.

    Args:
        progress: of the answer.
        case: what its question is one of; None = none.

    Returns:
        What stands against the answer, and what was borne out; of each, empty where there is none.
    """
    if case is None or not progress.ended or progress.record.finish == "cancelled":
        return "", ""
    if case.faults(progress.record.answer):
        return (
            f"The menu says of this case that its answer {case.holds}. That does not hold of this "
            "one: other weights or settings, or another processor, may answer in other words.",
            "",
        )
    if case.failure:
        return f"An honest failure, as the menu says: it {case.holds}.", ""
    return "", f"as the menu says of this case, it {case.holds}"


def reading_grade(text: str, language: str = ENGLISH) -> str:
    """The grade in figures; a dash for what has none."""
    found = grade_of(text, language)
    return "–" if found is None else minus(f"{found:.1f}")


def rounded(grade: float) -> str:
    """A grade as a school year. Below the first is no further year."""
    return str(max(0, math.floor(grade + 0.5)))


def warning(progress: Progress, cohort: Cohort | None) -> str:
    """Where an answer reads worse than those that were measured at strength 1.

    Returns:
        Empty where it does not, or nothing was measured.
    """
    opening = progress.opening
    if cohort is None or opening is None or not cohort.compares(progress.record):
        return ""
    whole = opening.tokens == len(progress.record.answer_tokens)
    where = "" if whole else f" in its first {opening.tokens} tokens"
    logp, least = map(minus, apart(opening.logp, cohort.range["logp"][0], ".2f"))
    repeated, most = apart(opening.repeated, cohort.range["repeated"][1], ".0%")
    sentences = {
        "repeated": f"{repeated} of its trigrams (three words in a row) stood in it before{where} "
        f"(theirs: at most {most})",
        "logp": f"its words{where} are less likely, mean log-probability {logp} per token "
        f"(theirs: at least {least})",
    }
    parts = [sentences[measure] for measure in cohort.outside(opening)]
    if not parts:
        return ""
    answers = count(cohort.prompts, "answer")
    return f"Unlike {INNER[1]:.0%} of the {answers} measured at strength 1: {'; '.join(parts)}."
