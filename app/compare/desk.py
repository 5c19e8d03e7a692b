"""The comparison of the answers: measured once those under way have ended, and taken away when one of them changes."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from app.ask.desk import UNCOMPARED, Desk, Update, sentence
from app.compare.difference import differences
from app.compare.words import BESIDE, ROUTER, YOURS, compared
from app.markup import differing, line, passage
from app.session import Session
from atmoe.explanation.compare import compare

MEASURING = "Measuring how likely each answer is under every plan …"


class CompareDesk:
    """Callbacks over a desk's model and worker. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.model, self.worker, self.ui = desk, desk.model, desk.worker, desk.ui

    def compare(self, session: Session) -> Iterator[Update]:
        """Whichever answer ends last brings the comparison; the third one's end brings it again, with one row more."""
        ui = self.ui
        yield {ui.comparison: gr.skip()}
        if not session.ended("first") or (
            session.second is not None and not session.ended("second")
        ):
            return
        shown = [(ROUTER, session.routed, ui.first)]
        if session.second is not None:
            shown.append((YOURS, session.steered, ui.second))
        if session.ended("third"):
            shown.append((BESIDE[session.kind], session.beside, ui.third))
        voices, records, places = zip(*shown)
        plans = tuple(record.plan for record in records)
        if len(shown) < 2 or list(map(id, plans)) == list(
            map(id, session.compared)
        ):  # a plan is made anew for each answer
            return
        session.compared = plans
        yield {ui.comparison: line(MEASURING)}
        try:
            comparison = self.worker.call(lambda: compare(self.model, *records))
        except Exception as error:
            yield {ui.comparison: line(sentence(error))}
            return
        if session.compared is plans and all(map(session.still_there, records)):
            session.comparison = comparison
            update = {
                ui.comparison: compared(comparison, voices, records),
                ui.download: self.desk.download(session),
            }
            update |= {
                place: passage(record.answer) for place, record in zip(places[2:], records[2:])
            }
            update |= {
                place: differing(spans)
                for place, spans in zip(places, differences(records[0].answer, records[1].answer))
            }
            yield update
        if not all(
            map(session.still_there, records)
        ):  # changed while the words above were on their way
            yield {ui.comparison: line(UNCOMPARED)}
