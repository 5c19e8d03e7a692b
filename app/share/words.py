"""What sharing and keeping say, in HTML in which every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

FROM_LINK = (
    "Both answers are shown as the link holds them, not answered here. Anybody can write into a "
    "link: only answering again shows whether this model says so."
)
ONE_FROM_LINK = (
    "The router's answer is shown as the link holds it, not answered here. Anybody can write into "
    "a link: only answering again shows whether this model says so."
)
AGAIN = "Answering again …"


def said(sentences: Sequence[str] = (), again: bool = False, trouble: bool = False) -> str:
    """Sentences in their place.

    Args:
        sentences: none = nothing is said.
        again: whether the button that answers again has something to do.
        trouble: something did not work.
    """
    lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    role = 'role="alert" class="message"' if trouble else 'role="status"'
    return f"<div {role}{' data-again' * again}>{lines}</div>"


def holds(question: bool, answers: int, streaming: bool) -> tuple[str, str]:
    """What a link would hold.

    Args:
        question: whether there is one.
        answers: how many have ended.
        streaming: whether one is under way.

    Returns:
        What the checkbox offers, and a sentence for whoever shares.
    """
    later = " An answer is still being written: share again once it has ended." if streaming else ""
    if answers:
        both = "both answers" if answers > 1 else "the answer"
        return f"With my question and {both}", (
            f"Whoever opens it sees your question and {both} at once; where the model is another, "
            f"the question is answered anew.{later}"
        )
    if question:
        return "With my question", f"Whoever opens it sees your question answered there.{later}"
    return "With my question", "It holds the settings; there is no question yet."
