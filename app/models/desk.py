"""The tab "Models": each other model's own answer to the question, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.answering import answer
from app.ask.growing import STOPPED, grown
from app.desk import Desk, Shared, guarded
from app.events import UNQUEUED, streaming
from app.following import Update, stream
from app.markup import line
from app.models.area import UNASKED, ModelsArea
from app.models.neighbour import Neighbour
from app.session import Progress, Question, Session, Slot
from app.steer.words import routing_line
from app.view import View
from atmoe import AtMoeError, Steering

NOTHING = "There is no question yet; ask one first, then the other models."
BEGUN = "Its turn comes …"


@dataclass
class ModelsState:
    """What the tab knows of a session: each other model's answer."""

    slots: list[Slot] = field(default_factory=list)

    def cancel(self) -> None:
        """Stop all of them."""
        for slot in self.slots:
            slot.cancel()


class ModelsDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: ModelsArea, neighbours: Sequence[Neighbour]):
        super().__init__(shared)
        self.area, self.neighbours = area, neighbours

    def wire(self, session: gr.State) -> tuple[Dependency, ...]:
        """Have the tab's buttons call this desk.

        Returns:
            The events at which they begin, end and are stopped.
        """
        area, shared = self.area, self.shared
        begun = area.start.click(self.ask, [session], [shared.message, *area.results], **UNQUEUED)
        ended = begun.success(self.run, [session], area.results, **streaming("models"))
        return begun, ended, area.stop.click(self.cancel, [session], **UNQUEUED)

    @guarded
    def ask(self, session: Session) -> Update:
        """Make the jobs that `run` will read."""
        asked = session.question
        if asked is None:
            raise AtMoeError(NOTHING)
        state = session.tab(ModelsState)
        state.cancel()
        state.slots = []
        for neighbour in self.neighbours:
            # Its own plan, and nothing that this page's model knows of the question.
            question = Question(asked.prompt, asked.sampling)
            steps = answer(neighbour.serving.batching, question, Steering())
            state.slots.append(Slot(job=self.shared.in_line(steps)))
        return self._blank([BEGUN] * len(self.neighbours))

    def run(self, session: Session) -> Iterator[Update]:
        """Stream the answers, one model after the other."""
        yield {self.area.lines[0]: gr.skip()}
        for number, slot in enumerate(session.tab(ModelsState).slots):
            yield from self._one(session, number, slot)

    def _one(self, session: Session, number: int, slot: Slot) -> Iterator[Update]:
        place, neighbour = self.area.places[number], self.neighbours[number]
        model = neighbour.serving.model

        def show(progress: Progress) -> Update:
            slot.grow(progress.record)
            plan = progress.record.router_plan
            read = routing_line(View(plan, plan, Steering()), model.info.words, controls=False)
            return grown(progress, place, model.info.language) | {self.area.lines[number]: read}

        def end(progress: Progress | None) -> Update:
            if progress is None:
                return place.say(STOPPED)
            if not progress.ended:  # it was stopped, and nobody has looked through it
                record = model.flagged(progress.record)
                slot.grow(record)
                return grown(Progress(record, ended=True), place, model.info.language)
            return {}

        yield from stream(neighbour.serving.worker, slot, slot.job, place.say, show, end)

    def cancel(self, session: Session) -> None:
        """Stop at the next token; what is there stays."""
        session.tab(ModelsState).cancel()

    @property
    def cleared(self) -> list[Component]:
        """All that they said."""
        return self.area.results

    def question_changed(self, session: Session) -> Update:
        """Take their answers away."""
        state = session.tab(ModelsState)
        state.cancel()
        state.slots = []
        return self._blank([UNASKED.format(neighbour.name) for neighbour in self.neighbours])

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """Asking, once there is a question; stopping, while one goes on."""
        going = any(slot.going for slot in session.tab(ModelsState).slots)
        return {self.area.start: session.question is not None, self.area.stop: going}

    def saved(self, session: Session) -> dict[str, Any]:
        """What each has answered."""
        records = [slot.record for slot in session.tab(ModelsState).slots]
        return {"models": [record.to_dict() for record in records if record is not None]}

    def _blank(self, says: Sequence[str]) -> Update:
        update: Update = dict.fromkeys(self.area.lines, "")
        for place, said in zip(self.area.places, says):
            update |= place.say(said) | {place.facts: line("")}
        return update
