"""The third answer: the base model's, the uniform plan's or a random steer's, beside the other two.

It is given on demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.ask.desk import AskDesk
from app.ask.growing import streamed
from app.compare.area import CompareArea
from app.compare.state import CompareState, forget_third
from app.compare.words import beside_note
from app.desk import Desk, Shared, guarded
from app.events import UNQUEUED, streaming
from app.following import Update
from app.markup import line, passage, small_print
from app.session import Session
from app.whose import record_key
from atmoe import AtMoeError, Steering
from atmoe.steering.reference import Beside, plan_beside

UNASKED = "There is no question yet; ask one first, then its third answer."
READING = "Reading the question …"
UNSTEERED = (
    "Nothing is steered, so a random steer of the same size would be the router's own plan. Change "
    "a share first, or choose another third answer."
)
MEASURING_AGAIN = "The third answer is on its way; the comparison follows it."
MOVED_ON = "Your steering has changed, and so would a random steer of its size; ask for it again."


class ThirdDesk(Desk):
    """The callbacks of the third answer."""

    def __init__(self, shared: Shared, area: CompareArea, ask_desk: AskDesk):
        super().__init__(shared)
        self.area, self.ask_desk = area, ask_desk

    def wire(self, session: gr.State) -> tuple[Dependency, ...]:
        """Have the area's buttons call this desk.

        Returns:
            The events at which the third answer has ended, begins and is stopped.
        """
        area, first = self.area, self.ask_desk.area.first
        begun = area.start.click(
            self.ask,
            [session, area.kind],
            [self.shared.message, first.text, *area.third.parts, *area.compared],
            **UNQUEUED,
        )
        stopped = area.stop.click(self.cancel, [session], **UNQUEUED)
        ended = begun.success(self.run, [session], area.third.parts, **streaming("third"))
        return ended, begun, stopped

    @guarded
    def ask(self, session: Session, kind: str) -> Update:
        """Make the job that `run` will read."""
        state, beside = session.tab(CompareState), Beside(kind)
        question, steering = session.question, session.steering
        if question is None:
            raise AtMoeError(UNASKED)
        if beside is Beside.RANDOM and steering.untouched:
            raise AtMoeError(UNSTEERED)
        seed = question.sampling.seed
        place, first = self.area.third, self.ask_desk.area.first
        update = place.say(READING) | {place.facts: line("")}
        if session.third.record is not None:  # it goes out of the table as well
            state.forget()
            if session.first.record is not None and session.second.record is None:
                update |= self.area.uncompared()
                shown = session.first.record
                update[first.text] = passage(shown.answer, shown.flags, record_key(shown))
            update[self.area.comparison] = line(MEASURING_AGAIN)
        forget_third(session)
        state.kind = beside
        session.third.job = self.shared.job(
            session,
            Steering(),
            lambda router_plan: plan_beside(beside, router_plan, steering, seed),
        )
        return update

    def run(self, session: Session) -> Iterator[Update]:
        """Stream the third answer."""
        place, slot = self.area.third, session.third
        job = slot.job
        yield {place.text: gr.skip()}

        yield from streamed(
            self.shared, session, slot, job, place, note=lambda: self._note(session)
        )

    def cancel(self, session: Session) -> None:
        """Stop the third answer at the next token; what is there stays."""
        session.third.cancel()

    def restored(self, session: Session) -> Update:
        """The third answer of an opened record, as it is there."""
        place, record = self.area.third, session.third.record
        assert record is not None
        note = "From the opened record; not answered again."
        return {
            place.text: passage(record.answer, record.flags, record_key(record)),
            place.facts: small_print(note, self._note(session)),
        }

    @property
    def cleared(self) -> list[Component]:
        """The third answer."""
        return self.area.third.parts

    def question_changed(self, session: Session) -> Update:
        """Take the third answer away."""
        forget_third(session)
        place = self.area.third
        return {place.text: line(""), place.facts: line("")}

    def steering_changed(self, session: Session) -> Update:
        """Take a random steer's answer away: it is of the size of a steering that is no more."""
        if session.tab(CompareState).kind is not Beside.RANDOM:
            return {}
        forget_third(session)
        place = self.area.third
        return place.say(MOVED_ON) | {place.facts: line("")}

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """A third answer, once there is a question; stopping it, while it goes on."""
        return {
            self.area.start: session.question is not None,
            self.area.stop: session.third.going,
        }

    def saved(self, session: Session) -> dict[str, Any]:
        """The third answer, and what it is under."""
        kind, record = session.tab(CompareState).kind, session.third.record
        return {"beside": record and {"kind": kind, "record": record.to_dict()}}

    def _note(self, session: Session) -> str:
        kind, record = session.tab(CompareState).kind, session.third.record
        assert kind is not None and record is not None
        return beside_note(kind, record)
