"""The tab "Why this answer": what it does when someone asks why, cancels, or picks a unit.

The explanation is a job of the same worker, one layer a step, so that an answer that streams
meanwhile keeps streaming.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, Update, guarded, stream
from app.events import UNQUEUED, streaming
from app.markup import line, marked, notice, ruling
from app.session import Making, Session
from app.why import words as why_words
from app.why.area import SECOND, WhyArea
from app.why.figure import shapley_figure
from app.worker import Job
from atmoe import AtMoe, Record
from atmoe.explanation.measure import explaining
from atmoe.explanation.smallest_change import searching
from atmoe.explanation.sweep import telling
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import verdict

T = TypeVar("T")

NOTHING = "There is no finished answer there yet; ask a question first, or wait until it has ended."
MOVED = "The answer has changed since; press Explain to measure the new one."
CANCELLED = "Cancelled. Press Explain to begin again."
DONE = "Measured."
UNPICKED = "Press Explain first; then the words that depended on it are marked here."


@dataclass(frozen=True)
class WhyProgress:
    """How far an explanation is.

    Attributes:
        fraction: done, 0 to 1.
        what: is being done.
        explanation: as far as it is there.
    """

    fraction: float
    what: str
    explanation: Explanation | None = None


@dataclass
class WhyState(Making[WhyProgress]):
    """What the tab knows of a session.

    Attributes:
        explained: the answer's record, with what is known of it.
    """

    explained: Record | None = None

    def forget(self) -> None:
        """Stop measuring; a finished explanation stays with its answer's record."""
        self.cancel()
        self.job = self.explained = None

    def keep(self, record: Record, explanation: Explanation) -> None:
        """Add what was measured to the record, where it is still this one."""
        if self.explained is not None and self.explained.plan is record.plan:
            self.explained = replace(self.explained, explanation=explanation)


def why(model: AtMoe, record: Record) -> Generator[WhyProgress, None, None]:
    """Explain a record, then look for the smallest change.

    To be iterated on the worker's thread only.
    """
    explanation = yield from _as_progress(
        explaining(model, record), 0.0, 0.65, "reading the answer without each part"
    )
    yield WhyProgress(0.65, "looking for the smallest change", explanation)
    changes = yield from _as_progress(
        searching(model, record), 0.65, 1.0, "looking for the smallest change"
    )
    yield WhyProgress(1.0, "", replace(explanation, changes=changes))


def _as_progress(
    steps: Generator[float, None, T], begin: float, end: float, what: str
) -> Generator[WhyProgress, None, T]:
    """Fractions of one part of the work, as progress of the whole."""
    return telling(steps, lambda fraction: WhyProgress(begin + (end - begin) * fraction, what))


class WhyDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: WhyArea):
        super().__init__(shared)
        self.area = area

    def wire(self, session: gr.State, changes: Sequence[Dependency]) -> None:
        """Have the tab's buttons call this desk.

        Args:
            session: whose.
            changes: events after which the answer explained may be gone.
        """
        area, shared = self.area, self.shared
        for event in changes:
            event.success(self.forget, [session], area.results, **UNQUEUED)
        begun = area.start.click(
            self.ask, [session, area.which], [shared.message, *area.results], **UNQUEUED
        )
        outputs = [*area.results, area.unit, shared.button]
        begun.success(self.run, [session], outputs, **streaming("why"))
        area.stop.click(self.cancel, [session], **UNQUEUED)
        area.unit.input(self.pick, [session, area.unit], [shared.message, area.words], **UNQUEUED)

    @guarded
    def ask(self, session: Session, which: str) -> Update:
        """Make the job that `run` will read."""
        slot = session.second if which == SECOND else session.first
        record, state = slot.record, session.tab(WhyState)
        state.forget()
        # What was stopped can be explained as far as it got; what still grows cannot.
        if record is None or not slot.ended:
            return self._blank(NOTHING)
        state.job, state.explained = Job(why(self.model, record)), record
        return self._blank(f"Measuring: {which} …")

    def run(self, session: Session) -> Iterator[Update]:
        """Show progress, then the explanation, then the smallest change."""
        place, state = self.area.progress, session.tab(WhyState)
        job, record = state.job, state.explained
        yield {place: gr.skip()}

        def say(text: str) -> Update:
            return {place: line(text)}

        def show(progress: WhyProgress) -> Update:
            update = say(f"{progress.fraction:.0%} · {progress.what}")
            if progress.explanation is not None and record is not None:
                session.keep(record, explanation=progress.explanation)
                state.keep(record, progress.explanation)
                update |= self._show(session, progress.explanation)
            return update

        def end(progress: WhyProgress | None) -> Update:
            return say(CANCELLED if progress is None or progress.fraction < 1 else DONE)

        yield from stream(self.worker, state, job, say, show, end, "measurement")

    def cancel(self, session: Session) -> None:
        """Stop measuring after the layer under way; what is there stays."""
        session.tab(WhyState).cancel()

    @guarded
    def pick(self, session: Session, unit: str) -> Update:
        """Mark the words that depended on a unit."""
        explained = session.tab(WhyState).explained
        if explained is None or explained.explanation is None:
            return {self.area.words: line(UNPICKED)}
        return {self.area.words: why_words.words(explained.explanation, unit)}

    def forget(self, session: Session) -> Update:
        """After a question or a steering.

        What is shown may belong to an answer that is no longer there.
        """
        state = session.tab(WhyState)
        if state.explained is None or session.still_there(state.explained):
            return {self.area.progress: gr.skip()}
        state.forget()
        return self._blank(MOVED)

    def _blank(self, note: str) -> Update:
        """The tab without an explanation."""
        area = self.area
        update: Update = {part: line("") for part in area.results}
        update[area.paragraph] = notice(note)
        update[area.shapley] = gr.Plot(value=None, visible=False)
        return update

    def _show(self, session: Session, explanation: Explanation) -> Update:
        """An explanation, as far as it is there."""
        area, ruled = self.area, verdict(explanation)
        top = max(explanation.of("expert"), key=lambda u: u.effect).name
        update: Update = {
            area.paragraph: marked(why_words.paragraph(explanation)),
            area.verdict: ruling(str(ruled.level), ruled.sentence),
            area.grid: why_words.grid(explanation),
            area.bands: why_words.grid(explanation, bands=True),
            area.sentences: why_words.sentence_list(explanation),
            area.unit: top,
            area.words: why_words.words(explanation, top),
        }
        update |= self.shared.download(session)
        if explanation.shapley is not None:
            update[area.shapley] = gr.Plot(value=shapley_figure(explanation), visible=True)
            update[area.sum] = line(why_words.shapley(explanation))
        if explanation.changes is not None:
            items = "".join(f"<li>{line(why_words.change(c))}</li>" for c in explanation.changes)
            update[area.changes] = f"<ul>{items}</ul>"
        return update
