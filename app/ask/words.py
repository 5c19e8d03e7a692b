"""Answers → the small print below them. Plain text; measured numbers only."""

from __future__ import annotations

from app.session import FROM_LINK, Progress
from app.wording import count, minus
from atmoe import Record
from atmoe.explanation.coherence import INNER, Cohort

FINISHES = {"stop": "ended by itself", "length": "stopped at the {}-token limit"}


def facts(progress: Progress) -> str:
    """What was measured about an answer."""
    record = progress.record
    words, tokens = len(record.answer.split()), len(record.answer_tokens)
    parts = [count(words, "word"), count(tokens, "token")]
    if not progress.ended:
        return " · ".join([*parts, _origin(record)] if given_by_link(record) else parts)
    finish = FINISHES.get(record.finish, "stopped before its end")
    parts.append(finish.format(record.sampling["max_new_tokens"]))
    if progress.whole is not None:
        parts += [
            f"mean log-probability {minus(f'{progress.whole.logp:.2f}')} per token",
            f"repeated trigrams {progress.whole.repeated:.0%}",
        ]
    parts.append(_origin(record))
    return " · ".join(parts)


def given_by_link(record: Record) -> bool:
    """Whether an answer came with a link."""
    return record.versions.get("engine", "").endswith(FROM_LINK)


def _origin(record: Record) -> str:
    """Where an answer came from, or how fast."""
    if given_by_link(record):
        return "from the link, not answered here"
    speed = record.timings.get("decode_tokens_per_s")
    return "given before, not decoded again" if speed is None else f"{speed:.0f} tokens per second"


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
    logp, least = minus(f"{opening.logp:.2f}"), minus(f"{cohort.range['logp'][0]:.2f}")
    sentences = {
        "repeated": f"{opening.repeated:.0%} of its trigrams (three words in a row) stood in it "
        f"before{where}; {INNER[1]:.0%} of them had at most {cohort.range['repeated'][1]:.0%}",
        "logp": f"its mean log-probability{where} is {logp} per token; "
        f"{INNER[1]:.0%} of them had at least {least}",
    }
    parts = [sentences[measure] for measure in cohort.outside(opening)]
    if not parts:
        return ""
    answers = count(cohort.prompts, "answer")
    return f"Beyond the {answers} measured at strength 1: {'; '.join(parts)}."
