"""The tab "Drafts": five samples of one question as the rows of one batch, on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, guarded
from app.drafts import words
from app.drafts.area import UNASKED, DraftsArea
from app.events import UNQUEUED, streaming
from app.following import Update, stream
from app.job import Job
from app.markup import line, notice
from app.session import Making, Session
from app.whose import record_key, tagged
from app.wording import SECOND
from atmoe import AtMoeError, Record
from atmoe.explanation.drafts import COUNT, Drafts, drafting
from atmoe.report.words import agreement

NOTHING = "There is no such answer, or it has not ended yet; ask first, then draft it."
BEGUN = f"Drafting {COUNT} times …"
CANCELLED = "Stopped. Press the button to begin again."
DONE = "Drafted."
MOVED = "The answer has changed since; its drafts are gone with it."


@dataclass
class DraftsState(Making[Drafts]):
    """What the tab knows of a session.

    Attributes:
        record: of the answer whose question is sampled.
        which: which answer that is.
        drafts: once all are there.
    """

    record: Record | None = None
    which: str = ""
    drafts: Drafts | None = None

    def forget(self) -> None:
        """Stop drafting, and take away what came out."""
        self.cancel()
        self.job = self.record = self.drafts = None


class DraftsDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: DraftsArea):
        super().__init__(shared)
        self.area = area

    def wire(self, session: gr.State, changes: Sequence[Dependency]) -> tuple[Dependency, ...]:
        """Have the tab's buttons call this desk.

        Args:
            session: whose.
            changes: events after which the answer drafted may be gone.

        Returns:
            The events at which it begins, ends and is stopped.
        """
        area, shared = self.area, self.shared
        for event in changes:
            event.success(self.forget, [session], area.results, **UNQUEUED)
        begun = area.start.click(
            self.ask, [session, area.which], [shared.message, *area.results], **UNQUEUED
        )
        ended = begun.success(self.run, [session], area.results, **streaming("drafts"))
        return begun, ended, area.stop.click(self.cancel, [session], **UNQUEUED)

    @guarded
    def ask(self, session: Session, which: str) -> Update:
        """Make the job that `run` will read."""
        slot = session.chosen(which)
        if slot.record is None or not slot.ended:
            raise AtMoeError(NOTHING)
        state = session.tab(DraftsState)
        state.forget()
        state.job = Job(drafting(self.model, slot.record))
        state.record, state.which = slot.record, which
        return self._blank(BEGUN)

    def run(self, session: Session) -> Iterator[Update]:
        """The drafts as they are written, then what they do not share."""
        area, state = self.area, session.tab(DraftsState)
        job, of = state.job, record_key(state.record) if state.record else ""
        yield {area.progress: gr.skip()}

        def say(text: str) -> Update:
            return {area.progress: line(text)}

        def show(drafts: Drafts) -> Update:
            return say(words.progress(drafts)) | {area.drafts: tagged(of, words.texts(drafts))}

        def end(drafts: Drafts | None) -> Update:
            if drafts is None or not drafts.ended:
                return say(CANCELLED)
            state.drafts = drafts
            said = say(DONE) | {area.agreement: agreement(drafts)}
            return said | {area.answer: tagged(of, words.answer(drafts))}

        yield from stream(self.worker, state, job, say, show, end, "measurement")

    def cancel(self, session: Session) -> None:
        """Stop drafting at the next token; what is there stays."""
        session.tab(DraftsState).cancel()

    def forget(self, session: Session) -> Update:
        """After a question or a steering: the answer drafted may be there no longer."""
        state = session.tab(DraftsState)
        if state.record is None or session.still_there(state.record):
            return {self.area.progress: gr.skip()}
        state.forget()
        return self._blank(MOVED)

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """Drafting, once there is an answer; stopping, while it goes on."""
        ended = session.first.ended or session.second.ended
        return {self.area.start: ended, self.area.stop: session.tab(DraftsState).going}

    def saved(self, session: Session) -> dict[str, Any]:
        """The drafts, and whose they are."""
        state = session.tab(DraftsState)
        if state.drafts is None:
            return {"drafts": None}
        of = "steered" if state.which == SECOND else "router"
        return {"drafts": {"of": of, **state.drafts.to_dict()}}

    def _blank(self, note: str) -> Update:
        area = self.area
        return {
            area.progress: line(note),
            area.agreement: line(""),
            area.answer: notice(UNASKED),
            area.drafts: line(""),
        }
