"""The tab "Why this answer": what it does when someone asks why, cancels, or picks a unit.

The explanation is a job of the same worker, one layer a step, so that an answer that streams meanwhile keeps streaming.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import gradio as gr

from app.ask.desk import Desk, Update, follow, guarded, sentence
from app.markup import line, marked, ruling, told
from app.session import Session
from app.steer import figure as figures
from app.why import words as why_text
from app.worker import Job
from atmoe import AtMoe, Record
from atmoe.explanation.measure import explaining
from atmoe.explanation.smallest_change import searching
from atmoe.explanation.sweep import telling
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import verdict

FIRST, SECOND = "Router's answer", "Your steering"
UNASKED = (
    "Once there is an answer, this measures what it depended on: each part is removed in turn, and the answer that was "
    "given is read again without it. Nothing is measured until you press Explain."
)
NOTHING = "There is no finished answer there yet; ask a question first, or wait until it has ended."
MOVED = "The answer has changed since; press Explain to measure the new one."
CANCELLED = "Cancelled. Press Explain to begin again."
DONE = "Measured."
UNPICKED = "Press Explain first; then the words that depended on it are marked here."
NO_TABLE = line("")


@dataclass(frozen=True)
class WhyProgress:
    """fraction: done, 0 to 1.  what: is being done.  explanation: as far as it is there."""

    fraction: float
    what: str
    explanation: Explanation | None = None


def why(model: AtMoe, record: Record) -> Generator[WhyProgress, None, None]:
    """Explain a record, then look for the smallest change. To be iterated on the worker's thread only."""
    explanation = yield from _told(
        explaining(model, record), 0.0, 0.65, "reading the answer without each part"
    )
    yield WhyProgress(0.65, "looking for the smallest change", explanation)
    changes = yield from _told(
        searching(model, record), 0.65, 1.0, "looking for the smallest change"
    )
    yield WhyProgress(1.0, "", replace(explanation, changes=changes))


def _told(steps: Generator, begin: float, end: float, what: str) -> Generator:
    return telling(steps, lambda fraction: WhyProgress(begin + (end - begin) * fraction, what))


class WhyDesk:
    """Callbacks of the tab. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.model, self.worker, self.ui = desk, desk.model, desk.worker, desk.ui

    @guarded
    def ask(self, session: Session, which: str) -> Update:
        """Make the job that `run` will read."""
        record = session.steered if which == SECOND else session.routed
        session.forget_explanation()
        # What was stopped can be explained as far as it got; what still grows cannot.
        if not session.ended("second" if which == SECOND else "first"):
            return self.blank(NOTHING)
        session.why, session.explained = Job(why(self.model, record)), record
        return self.blank(f"Measuring: {which} …")

    def run(self, session: Session) -> Iterator[Update]:
        """Show progress, then the explanation, then the smallest change."""
        ui, job, record = self.ui, session.why, session.explained
        yield {ui.why_progress: gr.skip()}
        if job is None or not job.claim():
            return

        def show(progress: WhyProgress) -> Update:
            update = {ui.why_progress: line(f"{progress.fraction:.0%} · {progress.what}")}
            if progress.explanation is not None:
                session.keep(record, explanation=progress.explanation)
                update |= self._show(session, progress.explanation)
            return update

        try:
            progress = yield from follow(
                self.worker,
                job,
                lambda: session.why is job,
                lambda said: {ui.why_progress: line(said)},
                show,
                "measurement",
            )
        except Exception as error:
            yield {ui.why_progress: line(sentence(error))}
            return
        if session.why is job:
            yield {
                ui.why_progress: line(
                    CANCELLED if progress is None or progress.fraction < 1 else DONE
                )
            }

    def cancel(self, session: Session) -> None:
        """Stop measuring after the layer under way; what is there stays."""
        if session.why is not None:
            session.why.cancel()

    @guarded
    def pick(self, session: Session, unit: str) -> Update:
        """Mark the words that depended on a unit."""
        explanation = session.explained and session.explained.explanation
        return {
            self.ui.why_words: why_text.words(explanation, unit) if explanation else line(UNPICKED)
        }

    def forget(self, session: Session) -> Update:
        """After a question or a steering: what is shown may belong to an answer that is no longer there."""
        if session.explained is None or session.still_there(session.explained):
            return {self.ui.why_progress: gr.skip()}
        session.forget_explanation()
        return self.blank(MOVED)

    def blank(self, note: str) -> Update:
        ui = self.ui
        return {
            ui.why_progress: line(""),
            ui.why_paragraph: told(note),
            ui.why_verdict: line(""),
            ui.why_grid: NO_TABLE,
            ui.why_bands: NO_TABLE,
            ui.why_sentences: NO_TABLE,
            ui.why_words: NO_TABLE,
            ui.why_changes: NO_TABLE,
            ui.why_shapley: gr.Plot(value=None, visible=False),
            ui.why_sum: NO_TABLE,
        }

    def _show(self, session: Session, explanation: Explanation) -> Update:
        ui, ruled = self.ui, verdict(explanation)
        top = max(explanation.of("expert"), key=lambda u: u.effect).name
        update = {
            ui.why_paragraph: marked(why_text.paragraph(explanation)),
            ui.why_verdict: ruling(str(ruled.level), ruled.sentence),
            ui.why_grid: why_text.grid(explanation),
            ui.why_bands: why_text.grid(explanation, bands=True),
            ui.why_sentences: why_text.told_sentences(explanation),
            ui.download: self.desk.download(session),
            ui.why_unit: top,
            ui.why_words: why_text.words(explanation, top),
        }
        if explanation.shapley is not None:
            update |= {
                ui.why_shapley: gr.Plot(value=figures.shapley_figure(explanation), visible=True),
                ui.why_sum: line(why_text.shapley(explanation)),
            }
        if explanation.changes is not None:
            update[ui.why_changes] = (
                "<ul>"
                + "".join(f"<li>{line(why_text.change(c))}</li>" for c in explanation.changes)
                + "</ul>"
            )
        return update
