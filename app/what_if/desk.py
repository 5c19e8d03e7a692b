"""The tab "What if": one part at five shares, answered as one batch; a slider plays the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, guarded
from app.events import LAST_WINS, UNQUEUED, streaming
from app.following import Update, stream
from app.job import Job
from app.markup import line, notice, passage
from app.session import Making, Question, Session
from app.what_if.area import UNASKED, WhatIfArea
from app.what_if.figure import PERCENTS, dose_figure, dose_table
from atmoe import AtMoeError, Record, RoutingPlan, Steering
from atmoe.explanation.doses import called_in, dosing
from atmoe.explanation.response import Response
from atmoe.report.words import all_percents
from atmoe.study.reading import length_of

NOTHING = (
    "There is no finished answer of the router yet; ask a question first, or wait until it has "
    "ended."
)
CANCELLED = "Cancelled. Press the button to begin again."
DONE = "Measured. Move the slider to read each answer."
RESTORED = "From the opened record, not measured again. Move the slider to read each answer."
CALLED_IN = (
    " By the router {} takes no part; any share above 0 calls it in, at one and the same group "
    "share: the step from 0 to 25% is mostly that."
)


@dataclass
class WhatIfState(Making[Response]):
    """What the tab knows of a session.

    Attributes:
        response: what came out so far.
        shown: which of the five answers is on show.
        opened: the opened record that holds the response, where it was not measured here.
        question: whose answer it is about.
    """

    response: Response | None = None
    shown: int = 0
    opened: Record | None = None
    question: Question | None = None

    def forget(self) -> None:
        """Stop answering at five shares, and take away what came out."""
        self.cancel()
        self.job = self.response = self.opened = self.question = None

    def reopen(self, record: Record, question: Question | None) -> None:
        """Take what an opened record holds, if anything, in place of what is there."""
        self.forget()
        if record.response is not None:
            self.opened, self.response, self.question = record, record.response, question


class WhatIfDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: WhatIfArea):
        super().__init__(shared)
        self.area = area

    def wire(
        self, session: gr.State, asked: Dependency, opened: Dependency
    ) -> tuple[Dependency, ...]:
        """Have the tab's buttons call this desk.

        Args:
            session: whose.
            asked: the event of a new question.
            opened: the event of an opened record.

        Returns:
            The events at which it begins, ends and is cancelled.
        """
        area, shared = self.area, self.shared
        asked.success(self.forget, [session], area.results, **UNQUEUED)
        opened.success(self.restore, [session], [*area.results, area.part], **UNQUEUED)
        begun = area.start.click(
            self.ask, [session, area.part], [shared.message, *area.results], **UNQUEUED
        )
        ended = begun.success(self.run, [session], area.results, **streaming("dose"))
        area.share.input(
            self.pick, [session, area.share], [shared.message, area.answer], **LAST_WINS
        )
        return begun, ended, area.stop.click(self.cancel, [session], **UNQUEUED)

    @guarded
    def ask(self, session: Session, target: str) -> Update:
        """Make the job that `run` will read."""
        record, state = session.first.record, session.tab(WhatIfState)
        if record is None or not session.first.ended:
            raise AtMoeError(NOTHING)
        state.forget()
        state.job, state.question = Job(dosing(self.model, record, target)), session.question
        return self._blank("Answering at five shares …")

    def run(self, session: Session) -> Iterator[Update]:
        """The answer at the share that the slider shows, then the chart."""
        area, state = self.area, session.tab(WhatIfState)
        job = state.job
        yield {area.progress: gr.skip()}

        def say(text: str) -> Update:
            return {area.progress: line(text)}

        def show(response: Response) -> Update:
            state.response = response
            answer = response.answers[state.shown]
            progress = f"Answering at {len(PERCENTS)} shares: {length_of(answer)}"
            return say(progress) | {area.answer: self._passage(state, answer)}

        def end(_: Response | None) -> Update:
            response, record = state.response, session.first.record
            if response is None or not response.ended or record is None:
                return say(CANCELLED)
            session.keep(record, response=response)
            return self._measured(response, record.router_plan, DONE)

        yield from stream(self.worker, state, job, say, show, end, "measurement")

    @guarded
    def pick(self, session: Session, percent: float) -> Update:
        """Show the answer at another share."""
        state = session.tab(WhatIfState)
        state.shown = min(range(len(PERCENTS)), key=lambda i: abs(PERCENTS[i] - percent))
        if state.response is None:
            return {}
        return {self.area.answer: self._passage(state, state.response.answers[state.shown])}

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """Answering at five shares, once there is an answer; cancelling, while it goes on."""
        state = session.tab(WhatIfState)
        return {self.area.start: session.first.ended, self.area.stop: state.going}

    def cancel(self, session: Session) -> None:
        """Stop answering at the next token; what is there stays."""
        session.tab(WhatIfState).cancel()

    def forget(self, session: Session) -> Update:
        """After a question: where it was refused, what is there is still about the one before."""
        state = session.tab(WhatIfState)
        if state.question is session.question:
            return {self.area.progress: gr.skip()}
        state.forget()
        return self._blank("")

    def restore(self, session: Session) -> Update:
        """After a record was opened: what it holds, as it was measured.

        Where it holds nothing of the kind, was refused, or is another model's, as after a question.
        """
        state = session.tab(WhatIfState)
        response, opened = state.response, state.opened
        if opened is None or response is None or state.question is not session.question:
            return self.forget(session)
        return self._measured(response, opened.router_plan, RESTORED) | {
            self.area.answer: self._passage(state, response.answers[state.shown]),
            self.area.part: response.target,
        }

    def first_ended(self, session: Session) -> None:
        """What an opened record's doses say is true of this answer where it came out the same."""
        opened, slot = session.tab(WhatIfState).opened, session.first
        if opened is None or slot.record is None:
            return
        if slot.record.answer_tokens == opened.answer_tokens:
            slot.record = replace(slot.record, response=opened.response)

    @staticmethod
    def _passage(state: WhatIfState, answer: str) -> str:
        """One of the five answers, and whose question they answer."""
        question = state.question
        if question is None:
            return passage(answer)
        of = question.key(Steering())
        return passage(answer, of=of)

    def _measured(self, response: Response, router_plan: RoutingPlan, note: str) -> Update:
        area, own = self.area, all_percents(router_plan)[response.target]
        if called_in(router_plan, response.target):
            note += CALLED_IN.format(response.target.partition("/")[0])
        return {
            area.progress: line(note),
            area.table: dose_table(response, self.model.info.language),
            area.plot: gr.update(
                value=dose_figure(response, own, self.model.info.language), visible=True
            ),
        }

    def _blank(self, note: str) -> Update:
        area = self.area
        return {
            area.progress: line(note),
            area.answer: notice(UNASKED),
            area.table: line(""),
            area.plot: gr.update(value=None, visible=False),
        }
