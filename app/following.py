"""What the page shows of a job of the worker, from its place in the queue to its last words.

claim ─► follow: where it waits, what came out so far ─► stale? ─► the last words
└─► an error becomes a sentence
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from app.job import Behind, Job, Kind, Waiting
from app.session import Making
from app.worker import Worker
from atmoe import AtMoeError

log = logging.getLogger(__name__)
Update = dict[Any, Any]
"""Component → its new value."""
T = TypeVar("T")

OUR_FAULT = (
    "Something went wrong on our side, and it was logged. Nothing of yours is lost; please try "
    "again."
)


def sentence(error: Exception) -> str:
    """What to tell a person about an error: its own sentence if it has one for them."""
    if isinstance(error, AtMoeError):
        return str(error)
    log.error("in a callback of the page", exc_info=error)
    return OUR_FAULT


def waiting(before: int, what: str = "answer", seconds: float | None = None) -> str:
    """Where someone stands who waits for a place, and for about how long.

    Args:
        before: how many begin before it.
        what: is waited for.
        seconds: as measured of those before; None = it cannot be told yet.
    """
    verb = "s are" if before > 1 else " is"
    place = f"{before} {what}{verb} before yours" if before else "yours is next"
    return f"Waiting for a free place: {place}{_about(seconds)}."


def _about(seconds: float | None) -> str:
    """A time as one tells it, with what goes before it."""
    if seconds is None:
        return ""
    if seconds < 10:
        return ", in a few seconds"
    if seconds < 90:
        return f", in about {round(seconds, -1):.0f} seconds"
    return f", in about {seconds / 60:.0f} minutes"


FIRST = {
    Kind.CALL: "something short is being looked up",
    Kind.ANSWER: "answers are being written",
    Kind.OTHER: "what somebody asked for is being measured",
    Kind.UNASKED: "why an answer came out so is being measured",
    Kind.IDLE: "why an answer came out so is being measured",
    Kind.MANY: "other questions are being asked",
}
"""What is made before something else, as one says it."""


def behind(what: Kind | None) -> str:
    """What someone waits for who has a place; "" = for nothing any more."""
    return "" if what is None else f"Waiting while {FIRST[what]}; that goes first."


def stream(
    worker: Worker,
    making: Making[T],
    job: Job[T] | None,
    say: Callable[[str], Update],
    show: Callable[[T], Update],
    end: Callable[[T | None], Update],
    what: str = "answer",
    blank: Update | None = None,
) -> Generator[Update, None, bool]:
    """What the page shows of a job, from its place in the queue to its last words.

    Whoever calls this yields a `gr.skip()` first: a generator that ends without a word would empty
    its outputs. And yields nothing after it: of updates that reach a busy browser together Gradio
    may show the last one only, so that one says again all that was said before.

    Args:
        worker: makes the steps.
        making: holds the job as long as that counts.
        job: what it held when the event began.
        say: the page's own words: where the job stands while it waits, or what went wrong.
        show: what is shown of a step; {} = nothing.
        end: the last words, made of the last step (None where there was none, or one failed).
        what: is waited for.
        blank: what was said before the job was read; default: nothing.

    Returns:
        False where there was no such job, somebody else reads it, or it no longer counts.
    """
    if job is None or not job.claim():
        return False
    said = dict(blank or {})

    def remembered(update: Update) -> Update:
        # Gradio takes the value out of each `gr.update` that it is given.
        said.update(
            {part: dict(new) if isinstance(new, dict) else new for part, new in update.items()}
        )
        return update

    try:
        last = yield from follow(
            worker,
            job,
            lambda: making.job is job,
            lambda text: remembered(say(text)),
            lambda step: remembered(show(step)),
            what,
        )
    except Exception as error:
        words = sentence(error)
        if making.job is not job:
            return False
        yield said | end(None) | say(words)
        return True
    if making.job is not job:
        return False
    yield said | end(last)
    return True


def follow(
    worker: Worker,
    job: Job[T],
    current: Callable[[], bool],
    say: Callable[[str], Update],
    show: Callable[[T], Update],
    what: str = "answer",
) -> Generator[Update, None, T | None]:
    """What the page shows while a job runs.

    Args:
        worker: makes the steps.
        job: whose.
        current: whether it is still the job that counts; it ends where it is not.
        say: shows where it stands while it waits.
        show: makes of each step what is shown; {} = nothing.
        what: is waited for.

    Returns:
        The last step; None where there was none.

    Raises:
        Exception: whatever making a step raised.
    """
    last = None
    for step in worker.run(job, waiting=True):
        if not current():
            break
        if isinstance(step, Waiting):
            yield say(waiting(step.before, what, step.seconds))
        elif isinstance(step, Behind):
            yield say(behind(step.what))
        else:
            last = step
            if update := show(step):
                yield update
    return last
