"""The tab "Why this answer": what it measures when an answer has ended, or when someone asks.

The explanation is a job of the same worker, one layer a step, so that an answer that streams
meanwhile keeps streaming. One that nobody asked for is made only while nobody asks for anything:

    an answer has ended ─► unasked ─► the sentence and the chart ─► idle ─► the rest
    "Explain"           ─► other work, which goes on from what is there
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, Update, guarded, stream
from app.events import UNQUEUED, streaming
from app.markup import line, marked
from app.session import Making, Session, Slot
from app.why import words as why_words
from app.why.area import FIRST, SECOND, WhyArea
from app.why.chart import chart
from app.why.figure import shapley_figure
from app.why.grid import grid
from app.why.sentence import headline
from app.worker import LATER, Job, Kind, Later
from atmoe import AtMoe, Record
from atmoe.explanation.measure import completing, opening
from atmoe.explanation.smallest_change import searching
from atmoe.explanation.sweep import telling
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import verdict

T = TypeVar("T")

NOTHING = "There is no such answer, or it has not ended yet."
MOVED = "The answer has changed since; the new one is measured once it has ended."
CANCELLED = "Cancelled. Press Explain to go on."
DONE = "Measured."
UNPICKED = "Nothing is measured yet; then the words that depended on it are marked here."
PHASES = (
    "reading the answer without each part",
    "thirds of the layers, Shapley values, noise floor",
    "looking for the smallest change",
)


@dataclass(frozen=True)
class WhyProgress:
    """How far an explanation is.

    Attributes:
        fraction: done, 0 to 1.
        phase: which of `PHASES` it is in.
        explanation: as far as it is there.
    """

    fraction: float
    phase: int
    explanation: Explanation | None = None

    @property
    def said(self) -> str:
        """The phase, and the fraction."""
        return f"{self.phase + 1} of {len(PHASES)}: {PHASES[self.phase]} · {self.fraction:.0%}"


@dataclass
class WhyState(Making[WhyProgress]):
    """What the tab knows of a session.

    Attributes:
        explained: the answer's record, with what is known of it.
        which: which answer that is.
        asked: whether a person waits for it.
        over: whether nothing more comes of the job.
    """

    explained: Record | None = None
    which: str = FIRST
    asked: bool = False
    over: bool = True

    def begin(self, job: Job[WhyProgress], record: Record, which: str) -> None:
        """Measure an answer, and nothing else any more."""
        self.forget()
        self.asked, self.over = job.kind is Kind.OTHER, False
        self.job, self.explained, self.which = job, record, which

    def pause(self) -> None:
        """Stop measuring; it goes on from there when the answer is due again."""
        self.cancel()
        self.job, self.asked, self.over = None, False, True

    def forget(self) -> None:
        """Stop measuring; a finished explanation stays with its answer's record."""
        self.pause()
        self.explained = None

    def keep(self, record: Record, explanation: Explanation) -> None:
        """Add what was measured to the record, where it is still this one."""
        if self.is_about(record):
            self.explained = replace(record, explanation=explanation)

    def is_about(self, record: Record) -> bool:
        """Whether the answer explained is that one."""
        return self.explained is not None and self.explained.plan is record.plan


def why(model: AtMoe, record: Record) -> Generator[WhyProgress | Later, None, None]:
    """Explain a record, then look for the smallest change; what it holds already is not repeated.

    To be iterated on the worker's thread only.
    """
    # 1. what is read first
    explanation = record.explanation
    if explanation is None:
        explanation = yield from _as_progress(opening(model, record), 0.0, 0.3, 0)
    yield WhyProgress(0.3, 1, explanation)
    yield LATER
    # 2. the rest of it
    if not explanation.complete:
        rest = completing(model, record, explanation)
        explanation = yield from _as_progress(rest, 0.3, 0.65, 1)
        yield WhyProgress(0.65, 2, explanation)
    # 3. the smallest change
    if explanation.changes is None:
        changes = yield from _as_progress(searching(model, record), 0.65, 1.0, 2)
        explanation = replace(explanation, changes=changes)
    yield WhyProgress(1.0, 2, explanation)


def _as_progress(
    steps: Generator[float, None, T], begin: float, end: float, phase: int
) -> Generator[WhyProgress, None, T]:
    """Fractions of one part of the work, as progress of the whole."""
    return telling(steps, lambda fraction: WhyProgress(begin + (end - begin) * fraction, phase))


class WhyDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: WhyArea):
        super().__init__(shared)
        self.area = area

    def wire(
        self, session: gr.State, changes: Sequence[Dependency], answered: Sequence[Dependency]
    ) -> None:
        """Have the tab's buttons call this desk, and each answer's end.

        Args:
            session: whose.
            changes: events after which the answer explained may be gone.
            answered: events at which an answer has ended.
        """
        area, shared = self.area, self.shared
        told = [*area.results, area.start, area.stop]
        outputs = [*told, area.which, area.unit, shared.button]
        for event in changes:
            event.success(self.forget, [session], told, **UNQUEUED)
        for event in answered:
            event.success(self.answered, [session], outputs, **streaming("why"))
        begun = area.start.click(
            self.ask, [session, area.which], [shared.message, *told], **UNQUEUED
        )
        begun.success(self.run, [session], outputs, **streaming("why"))
        area.stop.click(self.cancel, [session], **UNQUEUED)
        area.unit.input(self.pick, [session, area.unit], [shared.message, area.words], **UNQUEUED)

    @guarded
    def ask(self, session: Session, which: str) -> Update:
        """Make the job that `run` will read."""
        slot = session.second if which == SECOND else session.first
        record = slot.record
        # What was stopped can be explained as far as it got; what still grows cannot.
        if record is None or not slot.ended:
            return {self.area.progress: line(NOTHING)}
        job = Job(why(self.model, record))
        session.tab(WhyState).begin(job, record, which)
        return self._blank(f"Measuring: {which} …") | self._buttons(session)

    def answered(self, session: Session) -> Iterator[Update]:
        """An answer has ended: say why unasked, as soon as nobody asks for anything else."""
        yield self._buttons(session)
        due = self._due(session)
        if due is None:
            return
        record, which = due
        job = Job(why(self.model, record), Kind.UNASKED)
        session.tab(WhyState).begin(job, record, which)
        blank = self._blank(f"Measuring: {which} …")
        yield blank | self._buttons(session) | {self.area.which: which}
        yield from self.run(session)

    def _due(self, session: Session) -> tuple[Record, str] | None:
        """The answer to explain unasked, and which it is: the steered one if there is one."""
        steered = session.second.job is not None or session.second.record is not None
        slot, which = (session.second, SECOND) if steered else (session.first, FIRST)
        record, state = slot.record, session.tab(WhyState)
        if record is None or not _whole(slot):
            return None
        waited_for = state.asked and not state.over
        known = state.is_about(record) and state.job is not None
        return None if waited_for or known else (record, which)

    def run(self, session: Session) -> Iterator[Update]:
        """Show progress, then the explanation as it grows."""
        place, state = self.area.progress, session.tab(WhyState)
        job, record, which = state.job, state.explained, state.which
        yield {place: gr.skip()}

        def say(text: str) -> Update:
            return {place: line(text)}

        def show(progress: WhyProgress) -> Update:
            update = say(progress.said)
            if progress.explanation is not None and record is not None:
                session.keep(record, explanation=progress.explanation)
                state.keep(record, progress.explanation)
                update |= self._show(session, progress.explanation, which)
            return update

        def end(progress: WhyProgress | None) -> Update:
            return say(CANCELLED if progress is None or progress.fraction < 1 else DONE)

        handled = yield from stream(self.worker, state, job, say, show, end, "measurement")
        if handled and state.job is job:
            state.asked, state.over = False, True
            yield self._buttons(session)

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

    def steering_changed(self, session: Session) -> Update:
        """What nobody asked for has no place beside the answer that comes."""
        state = session.tab(WhyState)
        if not (state.asked or state.over):
            state.pause()
        return {}

    def forget(self, session: Session) -> Update:
        """After a question or a steering.

        What is shown may belong to an answer that is no longer there.
        """
        state = session.tab(WhyState)
        if state.explained is not None and not session.still_there(state.explained):
            state.forget()
            return self._blank(MOVED) | self._buttons(session)
        # What was paused has no end that could say so.
        paused = {self.area.progress: line("")} if state.job is None else {}
        return paused | self._buttons(session)

    def _buttons(self, session: Session) -> Update:
        """Only what can do something can be pressed."""
        ended = session.first.ended or session.second.ended
        return {
            self.area.start: gr.Button(interactive=ended),
            self.area.stop: gr.Button(interactive=not session.tab(WhyState).over),
        }

    def _blank(self, note: str) -> Update:
        """The tab without an explanation."""
        area = self.area
        update: Update = {part: line("") for part in area.results}
        update[area.sentence] = line(note)
        update[area.shapley] = gr.Plot(value=None, visible=False)
        return update

    def _show(self, session: Session, explanation: Explanation, which: str) -> Update:
        """An explanation, as far as it is there."""
        area = self.area
        top = max(explanation.of("expert"), key=lambda u: u.effect).name
        update: Update = {
            area.sentence: headline(explanation, which),
            area.verdict: why_words.sign(verdict(explanation)),
            area.chart: chart(explanation),
            area.paragraph: marked(why_words.paragraph(explanation)),
            area.grid: grid(explanation),
            area.sentences: why_words.sentence_list(explanation),
            area.unit: top,
            area.words: why_words.words(explanation, top),
        }
        update |= self.shared.download(session)
        if explanation.of("band"):
            update[area.bands] = grid(explanation, bands=True)
        if explanation.shapley is not None:
            update[area.shapley] = gr.Plot(value=shapley_figure(explanation), visible=True)
            update[area.sum] = line(why_words.shapley(explanation))
        if explanation.changes is not None:
            texts = why_words.changes(explanation.changes)
            update[area.changes] = f"<ul>{''.join(f'<li>{line(text)}</li>' for text in texts)}</ul>"
        return update


def _whole(slot: Slot) -> bool:
    """Whether an answer came to its own end, and holds anything. Who stopped it wants no more."""
    record = slot.record
    return record is not None and record.finish != "cancelled" and bool(record.answer_tokens)
