"""The tab "What if": one part at five shares, answered as one batch; a slider plays the answers."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from app import text
from app.bench import all_percents
from app.desk import Desk, Update, sentence, guarded
from app.dose_figure import PERCENTS, dose_figure, dose_table
from app.markup import line, passage, told
from app.session import Session
from app.worker import Job, Waiting
from atmoe import AtMoeError
from atmoe.doses import dosing

UNASKED = "Once there is an answer, this answers its question again with one group or expert at 0, 25, 50, 75 and 100%."
NOTHING = "There is no finished answer of the router yet; ask a question first, or wait until it has ended."
CANCELLED = "Cancelled. Press the button to begin again."
DONE = "Measured. Move the slider to read each answer."


class DoseDesk:
    """Callbacks of the tab. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.model, self.worker, self.ui = desk.model, desk.worker, desk.ui

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
        try:
            for response in self.worker.run(job, waiting=True):
                if session.dose is not job:
                    return
                if isinstance(response, Waiting):
                    yield {ui.dose_progress: line(text.waiting(response.before, "measurement"))}
                    continue
                session.response = response
                yield {ui.dose_progress: line(f"Answering at {len(PERCENTS)} shares: {len(response.answers[0].split())} words"),
                       ui.dose_answer: passage(response.answers[session.dose_shown])}
        except Exception as error:
            yield {ui.dose_progress: line(sentence(error))}
            return
        if session.dose is not job:
            return
        if session.response is None or not session.response.ended:
            yield {ui.dose_progress: line(CANCELLED)}
            return
        plan, target = session.routed.router_plan, session.response.target
        own = all_percents(plan)[target]
        yield {ui.dose_progress: line(DONE), ui.dose_table: dose_table(session.response),
               ui.dose_plot: gr.Plot(value=dose_figure(session.response, own), visible=True)}

    @guarded
    def pick(self, session: Session, percent: float) -> Update:
        """Show the answer at another share."""
        session.dose_shown = min(range(len(PERCENTS)), key=lambda i: abs(PERCENTS[i] - percent))
        return {} if session.response is None else {self.ui.dose_answer: passage(session.response.answers[session.dose_shown])}

    def cancel(self, session: Session) -> None:
        """Stop answering at the next token; what is there stays."""
        if session.dose is not None:
            session.dose.cancel()

    def forget(self, session: Session) -> Update:
        """After a new question."""
        session.forget_doses()
        return self._blank("")

    def _blank(self, note: str) -> Update:
        ui = self.ui
        return {ui.dose_progress: line(note), ui.dose_answer: told(UNASKED), ui.dose_table: line(""),
                ui.dose_plot: gr.Plot(value=None, visible=False)}
