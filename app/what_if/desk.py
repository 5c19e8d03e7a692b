"""The tab "What if": one part at five shares, answered as one batch; a slider plays the answers."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from app.ask.desk import Desk, Update, follow, guarded, sentence
from app.markup import line, passage, told
from app.session import Session
from app.steer.view import all_percents
from app.what_if.figure import PERCENTS, dose_figure, dose_table
from app.worker import Job
from atmoe import AtMoeError, RoutingPlan
from atmoe.explanation.doses import dosing
from atmoe.explanation.response import Response

UNASKED = "Once there is an answer, this answers its question again with one group or expert at 0, 25, 50, 75 and 100%."
NOTHING = "There is no finished answer of the router yet; ask a question first, or wait until it has ended."
CANCELLED = "Cancelled. Press the button to begin again."
DONE = "Measured. Move the slider to read each answer."
RESTORED = "From the opened record, not measured again. Move the slider to read each answer."


class DoseDesk:
    """Callbacks of the tab. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.model, self.worker, self.ui = desk, desk.model, desk.worker, desk.ui

    @guarded
    def ask(self, session: Session, target: str) -> Update:
        """Make the job that `run` will read."""
        if not session.ended("first"):
            raise AtMoeError(NOTHING)
        session.forget_doses()
        session.dose = Job(dosing(self.model, session.routed, target))
        return self._blank("Answering at five shares …")

    def run(self, session: Session) -> Iterator[Update]:
        """The answer at the share that the slider shows, then the chart."""
        ui, job = self.ui, session.dose
        yield {ui.dose_progress: gr.skip()}
        if job is None or not job.claim():
            return

        def show(response: Response) -> Update:
            session.response = response
            return {
                ui.dose_progress: line(
                    f"Answering at {len(PERCENTS)} shares: {len(response.answers[0].split())} words"
                ),
                ui.dose_answer: passage(response.answers[session.dose_shown]),
            }

        try:
            yield from follow(
                self.worker,
                job,
                lambda: session.dose is job,
                lambda said: {ui.dose_progress: line(said)},
                show,
                "measurement",
            )
        except Exception as error:
            yield {ui.dose_progress: line(sentence(error))}
            return
        if session.dose is not job:
            return
        if session.response is None or not session.response.ended:
            yield {ui.dose_progress: line(CANCELLED)}
            return
        session.keep(session.routed, response=session.response)
        yield self._measured(session.response, session.routed.router_plan, DONE) | {
            ui.download: self.desk.download(session)
        }

    @guarded
    def pick(self, session: Session, percent: float) -> Update:
        """Show the answer at another share."""
        session.dose_shown = min(range(len(PERCENTS)), key=lambda i: abs(PERCENTS[i] - percent))
        return (
            {}
            if session.response is None
            else {self.ui.dose_answer: passage(session.response.answers[session.dose_shown])}
        )

    def cancel(self, session: Session) -> None:
        """Stop answering at the next token; what is there stays."""
        if session.dose is not None:
            session.dose.cancel()

    def forget(self, session: Session) -> Update:
        """After a new question."""
        session.forget_doses()
        return self._blank("")

    def restore(self, session: Session) -> Update:
        """After a record was opened: what it holds, as it was measured."""
        if session.opened is None:
            return self.forget(session)
        response = session.response
        return self._measured(response, session.opened.router_plan, RESTORED) | {
            self.ui.dose_answer: passage(response.answers[session.dose_shown]),
            self.ui.dose_part: response.target,
        }

    def _measured(self, response: Response, router_plan: RoutingPlan, note: str) -> Update:
        ui, own = self.ui, all_percents(router_plan)[response.target]
        return {
            ui.dose_progress: line(note),
            ui.dose_table: dose_table(response),
            ui.dose_plot: gr.Plot(value=dose_figure(response, own), visible=True),
        }

    def _blank(self, note: str) -> Update:
        ui = self.ui
        return {
            ui.dose_progress: line(note),
            ui.dose_answer: told(UNASKED),
            ui.dose_table: line(""),
            ui.dose_plot: gr.Plot(value=None, visible=False),
        }
