"""An answer in its place on the page, while it grows and at its end."""

from __future__ import annotations

from collections.abc import Callable, Generator

from app.ask import words
from app.desk import AnswerPlace, Shared
from app.following import Update, stream
from app.job import Job
from app.markup import passage, small_print
from app.session import Progress, Session, Slot
from app.whose import record_key, tagged
from atmoe.report.words import flags

STOPPED = "Stopped before the first word."


def streamed(
    shared: Shared,
    session: Session,
    slot: Slot,
    job: Job[Progress] | None,
    place: AnswerPlace,
    note: Callable[[], str] = str,
    ended: Callable[[], None] = lambda: None,
) -> Generator[Update, None, bool]:
    """What the page shows of an answer, to its end or to where it was stopped.

    Args:
        shared: the model, and what is measured of it.
        session: whose.
        slot: the answer.
        job: makes it.
        place: where it stands.
        note: what else is to be known of it, as of now.
        ended: is called at its end.

    Returns:
        As `stream` does.
    """

    def show(progress: Progress) -> Update:
        slot.grow(progress.record)
        slot.shown = progress
        return grown(progress, place, shared.model.info.language, shared, note())

    def say(text: str) -> Update:
        return place.say(text, None if job is None else job.of)

    def end(progress: Progress | None) -> Update:
        ended()
        if progress is None:
            return say(STOPPED)
        if not progress.ended:  # it was stopped, and nobody has looked through it
            slot.grow(shared.model.flagged(progress.record))
            assert slot.record is not None
            slot.shown = Progress(slot.record, ended=True)
            return grown(slot.shown, place, shared.model.info.language, shared, note())
        return {}

    return (yield from stream(shared.worker, slot, job, say, show, end))


def once_more(shared: Shared, slot: Slot, place: AnswerPlace) -> Update:
    """All that the page was told of an answer that has ended.

    A busy browser may apply what an event said at its beginning after what its end said.
    """
    if slot.shown is None or slot.going or not slot.ended:
        return {}
    return grown(slot.shown, place, shared.model.info.language, shared)


def grown(
    progress: Progress,
    place: AnswerPlace,
    language: str,
    shared: Shared | None = None,
    note: str = "",
) -> Update:
    """An answer so far, what was measured of it, and what is to be said against it.

    Args:
        progress: of the answer.
        place: where it stands.
        language: what its model learned from.
        shared: what is known of other answers, and of this question; None = nothing.
        note: what else is to be known of it.
    """
    record = progress.record
    facts, rest = words.facts(progress, language), words.rest(progress)
    warning, cut = "", progress.ended and record.finish == "length"
    if shared is not None:
        against, borne_out = words.checked(progress, shared.cases.get(record.prompt))
        warning = " ".join(filter(None, (against, words.warning(progress, shared.cohort))))
        rest = " · ".join(filter(None, (rest, borne_out)))
    of, small = record_key(record), small_print(facts, note, warning, rest, flags(record), cut)
    return {
        place.text: passage(record.answer, record.flags, of),
        place.facts: tagged(of, small),
    }
