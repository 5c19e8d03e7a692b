"""All that is flagged in an answer: what its source does not hold, and words that nobody taught."""

from __future__ import annotations

from atmoe.flags.finding import Finding
from atmoe.flags.kept_to import findings
from atmoe.flags.untaught import Words, untaught

WORD = "word"
"""The kind of a word that nobody taught, beside those of `finding.KINDS`."""
UNTAUGHT = "“{}”: not a word the experts ever saw in training; it may be a real one."


def flagged(
    prompt: str, answer: str, words: Words | None = None, cut_off: bool = False
) -> tuple[Finding, ...]:
    """What is flagged in an answer, by place.

    Args:
        prompt: what a person typed, with the source in it where there is one.
        answer: to be looked through.
        words: those that the experts saw; None = words are not looked for.
        cut_off: whether the answer ended in the middle; then its last word may be half of one.
    """
    found = list(findings(prompt, answer))
    if words is not None:
        found += [
            Finding(piece.start, piece.end, WORD, piece.text, None, UNTAUGHT.format(piece.text))
            for piece in untaught(words, prompt, answer, cut_off)
        ]
    return tuple(sorted(found, key=lambda finding: (finding.start, finding.end)))
