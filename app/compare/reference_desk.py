"""The third answer: the base model's, the uniform plan's or a random steer's, on demand, beside the other two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import gradio as gr

from app.ask.desk import MEASURING_AGAIN, STOPPED, WAITING, Desk, Update, follow, guarded, sentence
from app.compare.words import beside_note
from app.markup import facts, line, passage, told
from app.session import Progress, Session
from atmoe import AtMoeError, Steering
from atmoe.steering.reference import Beside, plan_beside

UNASKED = "There is no question yet; ask one first, then its third answer."
UNSTEERED = (
    "Nothing is steered, so a random steer of the same size would be the router's own plan. Change a share first, or choose "
    "another third answer."
)


class BesideDesk:
    """Callbacks over a desk. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.worker, self.ui = desk, desk.worker, desk.ui

    @guarded
    def ask(self, session: Session, kind: str) -> Update:
        """Make the job that `run` will read."""
        ui, kind, question, steering = self.ui, Beside(kind), session.question, session.steering
        if question is None:
            raise AtMoeError(UNASKED)
        if kind is Beside.RANDOM and steering.untouched:
            raise AtMoeError(UNSTEERED)
        update = {ui.third: told(WAITING), ui.third_facts: line("")}
        if session.beside is not None:  # it goes out of the table as well
            session.compared, session.comparison = (), None
            update[ui.comparison] = line(MEASURING_AGAIN)
            if session.routed is not None and session.steered is None:
                update[ui.first] = passage(session.routed.answer)
        session.forget_beside()
        session.kind = kind
        session.third = self.desk.job(
            session,
            Steering(),
            lambda router_plan: plan_beside(kind, router_plan, steering, question.sampling.seed),
        )
        return update

    def run(self, session: Session) -> Iterator[Update]:
        """Stream the third answer."""
        ui, job = self.ui, session.third
        yield {ui.third: gr.skip()}
        if job is None or not job.claim():
            return

        def show(progress: Progress) -> Update:
            session.beside = progress.record
            return {
                ui.third: passage(progress.record.answer),
                ui.third_facts: self.desk.facts(progress, self._note(session)),
            }

        try:
            progress = yield from follow(
                self.worker,
                job,
                lambda: session.third is job,
                lambda said: {ui.third: told(said)},
                show,
            )
        except Exception as error:
            if session.third is job:
                yield {ui.third: told(sentence(error))}
            return
        if session.third is job:
            yield (
                {ui.third: told(STOPPED)}
                if progress is None
                else {
                    ui.third_facts: self.desk.facts(
                        replace(progress, ended=True), self._note(session)
                    ),
                    ui.download: self.desk.download(session),
                }
            )

    def cancel(self, session: Session) -> None:
        """Stop the third answer at the next token; what is there stays."""
        if session.third is not None:
            session.third.cancel()

    def restored(self, session: Session) -> Update:
        """The third answer of an opened record, as it is there."""
        ui = self.ui
        return {
            ui.third: passage(session.beside.answer),
            ui.third_facts: facts(
                "From the opened record; not answered again.", self._note(session)
            ),
        }

    def _note(self, session: Session) -> str:
        return beside_note(session.kind, session.beside)
