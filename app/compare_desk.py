"""The comparison of the two answers: measured once both have ended, and taken away when one of them changes."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from app.compare_text import compared
from app.desk import UNCOMPARED, Desk, Update, sentence
from app.difference import differences
from app.markup import differing, line
from app.session import Session
from atmoe.compare import compare

MEASURING = "Measuring how likely each answer is under both plans …"


class CompareDesk:
    """Callbacks over a desk's model and worker. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.model, self.worker, self.ui = desk, desk.model, desk.worker, desk.ui

    def compare(self, session: Session) -> Iterator[Update]:
        """Whichever answer ends last brings the comparison."""
        ui, first, second = self.ui, session.routed, session.steered
        yield {ui.comparison: gr.skip()}
        if not session.ended("first") or not session.ended("second") or first is None or second is None:
            return
        if session.compared is second.plan:  # a plan is made anew for each answer
            return
        session.compared = second.plan
        yield {ui.comparison: line(MEASURING)}
        try:
            comparison = self.worker.call(lambda: compare(self.model, first, second))
        except Exception as error:
            yield {ui.comparison: line(sentence(error))}
            return
        if session.still_there(first) and session.still_there(second):
            session.comparison = comparison
            left, right = differences(first.answer, second.answer)
            yield {ui.first: differing(left), ui.second: differing(right), ui.comparison: compared(comparison, first, second),
                   ui.download: self.desk.download(session)}
        if not session.still_there(second):  # changed while the words above were on their way
            yield {ui.comparison: line(UNCOMPARED)}
