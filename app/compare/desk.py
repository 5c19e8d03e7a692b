"""The comparison of the answers.

Measured once those under way have ended, and taken away when one of them changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.ask.area import AskArea
from app.compare.area import CompareArea
from app.compare.difference import differences
from app.compare.state import CompareState
from app.compare.words import BESIDE, ROUTER, YOURS, Voice, by_sentence, compared, first_words
from app.desk import AnswerPlace, Desk, Shared
from app.events import streaming
from app.following import Update, sentence
from app.markup import differing, line, passage
from app.session import Session
from app.whose import record_key, tagged
from atmoe import Record
from atmoe.explanation.compare import compare

MEASURING = "Measuring how likely each answer is under every plan …"


class CompareDesk(Desk):
    """The callback of the comparison."""

    def __init__(self, shared: Shared, area: CompareArea, ask_area: AskArea):
        super().__init__(shared)
        self.area, self.ask_area = area, ask_area

    def wire(self, session: gr.State, answered: Sequence[Dependency]) -> None:
        """Have each answer's end call this desk.

        Args:
            session: whose.
            answered: events at which an answer has ended.
        """
        first, second, third = self.ask_area.first, self.ask_area.second, self.area.third
        texts = [first.text, second.text, third.text]
        outputs = [*texts, *self.area.compared]
        for event in answered:
            event.success(self.compare, [session], outputs, **streaming("compare"))

    def compare(self, session: Session) -> Iterator[Update]:
        """Whichever answer ends last brings the comparison.

        The third one's end brings it again, with one row more.
        """
        state, place = session.tab(CompareState), self.area.comparison
        yield {place: gr.skip()}

        # 1. which answers are there, and whether they were compared already
        if not session.first.ended or (session.second.job is not None and not session.second.ended):
            return
        voices, records, places = self._shown(session)
        plans = tuple(record.plan for record in records)
        # A plan is made anew for each answer.
        if len(records) < 2:
            return
        if list(map(id, plans)) == list(map(id, state.compared)):
            if state.comparison is not None:  # both were said once more meanwhile, without marks
                yield _marks(records, places)
            return

        # 2. say at once what needs no measuring, and measure
        state.compared = plans
        words = self._first_words(session, records, voices)
        yield words | {place: line(MEASURING)}
        try:
            comparison = self.worker.call(lambda: compare(self.model, *records))
        except Exception as error:
            yield words | {place: line(sentence(error))}
            return

        # 3. show it where they are still there
        if state.compared is plans and all(map(session.still_there, records)):
            state.comparison = comparison
            said = compared(comparison, voices, records, self.model.info.language)
            yield words | {place: tagged(_of(records), said)} | _marks(records, places)
        # They may have changed while the words above were on their way.
        if not all(map(session.still_there, records)):
            yield self.area.uncompared()

    @property
    def cleared(self) -> list[Component]:
        """The comparison, and the marks in the router's answer."""
        return [*self.area.compared, self.ask_area.first.text]

    def steering_changed(self, session: Session) -> Update:
        """Take the comparison away, and the marks of what differs with it."""
        session.tab(CompareState).forget()
        update = self.area.uncompared()
        first = session.first.record
        if first is not None:
            update[self.ask_area.first.text] = passage(first.answer, first.flags, record_key(first))
        return update

    def saved(self, session: Session) -> dict[str, Any]:
        """The comparison."""
        comparison = session.tab(CompareState).comparison
        return {"comparison": comparison and asdict(comparison)}

    def _first_words(
        self, session: Session, records: Sequence[Record], voices: Sequence[Voice]
    ) -> Update:
        """The difference of the first two, in a line where they are a person's, and by sentence."""
        first, second = records[:2]
        steered, of = session.second.record is second, _of(records)
        said = first_words(first, second, self.model.info.language)
        return {
            self.area.difference: tagged(of, said) if steered else line(""),
            self.area.sentences: tagged(of, by_sentence(first.answer, second.answer, voices)),
        }

    def _shown(self, session: Session) -> tuple[list[Voice], list[Record], list[AnswerPlace]]:
        """The answers that can be compared, the router's first."""
        kind = session.tab(CompareState).kind
        first, second, third = session.first, session.second, session.third
        shown = [(ROUTER, first.record, self.ask_area.first)]
        if second.job is not None:
            shown.append((YOURS, second.record, self.ask_area.second))
        if third.ended and kind is not None:
            shown.append((BESIDE[kind], third.record, self.area.third))
        voices, records, places = [], [], []
        for voice, record, place in shown:
            if record is not None:
                voices.append(voice)
                records.append(record)
                places.append(place)
        return voices, records, places


def _of(records: Sequence[Record]) -> str:
    """Which answers a comparison is of."""
    return " ".join(map(record_key, records))


def _marks(records: Sequence[Record], places: Sequence[AnswerPlace]) -> Update:
    """The answers, with marks at what differs between the first two."""
    update: Update = {}
    for place, record in zip(places[2:], records[2:]):
        update[place.text] = passage(record.answer, record.flags, record_key(record))
    spans = differences(records[0].answer, records[1].answer)
    for place, record, own_spans in zip(places, records, spans):
        update[place.text] = differing(own_spans, record.flags, record_key(record))
    return update
