"""The tab "Why this answer": what it measures when an answer has ended, or when someone asks.

The explanation is a job of the same worker, one layer a step, so that an answer that streams
meanwhile keeps streaming. One that nobody asked for is made only while nobody asks for anything:

    an answer has ended ─► unasked ─► the sentence and the chart ─► idle ─► the rest
    "Explain"           ─► other work, which goes on from what is there
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, guarded
from app.events import UNQUEUED, streaming
from app.following import Update, stream
from app.job import Job, Kind
from app.markup import line, marked
from app.session import Session, Slot
from app.sources import faces
from app.whose import record_key, tagged
from app.why import words as why_words
from app.why.area import WhyArea
from app.why.chart import chart
from app.why.figure import shapley_figure
from app.why.grid import grid
from app.why.sentence import headline
from app.why.state import WhyProgress, WhyState, why
from app.wording import FIRST, SECOND
from atmoe import Record
from atmoe.explanation.value import Explanation
from atmoe.sources.value import NOT_MEASURED

FACES = 2
"""Training examples of each expert."""
TOLD_SECONDS = 0.5
"""How far the measuring is, is told so often: each time costs the browser work, too."""
NOTHING = "There is no such answer, or it has not ended yet."
MOVED = "The answer has changed since; the new one is measured once it has ended."
CANCELLED = "Cancelled. Press Explain to go on."
DONE = "Measured."
UNPICKED = "Nothing is measured yet; then the words that depended on it are marked here."


class WhyDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: WhyArea):
        super().__init__(shared)
        self.area = area

    def wire(
        self, session: gr.State, changes: Sequence[Dependency], answered: Sequence[Dependency]
    ) -> list[Dependency]:
        """Have the tab's buttons call this desk, and each answer's end.

        Args:
            session: whose.
            changes: events after which the answer explained may be gone.
            answered: events at which an answer has ended.

        Returns:
            Events at which something has been measured.
        """
        area, shared = self.area, self.shared
        told = [*area.results, area.start, area.stop]
        outputs = [*told, area.which, area.unit]
        for event in changes:
            event.success(self.forget, [session], told, **UNQUEUED)
        measured = []
        for event in answered:
            # Who presses the button must find a place, however many wait for an idle time.
            measured.append(
                event.success(self.answered, [session], outputs, **streaming("why unasked"))
            )
        for asked in (area.start.click, area.which.input):
            begun = asked(self.ask, [session, area.which], [shared.message, *told], **UNQUEUED)
            measured.append(begun.success(self.run, [session], outputs, **streaming("why")))
        area.stop.click(self.cancel, [session], **UNQUEUED)
        area.unit.input(self.pick, [session, area.unit], [shared.message, area.words], **UNQUEUED)
        return measured

    @guarded
    def ask(self, session: Session, which: str) -> Update:
        """Make the job that `run` will read."""
        slot = session.chosen(which)
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
        if record is None or slot.going or not _whole(slot):
            return None
        waited_for = state.asked and not state.over
        known = state.is_about(record) and state.job is not None
        return None if waited_for or known else (record, which)

    def run(self, session: Session) -> Iterator[Update]:
        """Show progress, then the explanation as it grows."""
        place, state = self.area.progress, session.tab(WhyState)
        job, record, which = state.job, state.explained, state.which
        told = 0.0
        yield {place: gr.skip()}

        def say(text: str) -> Update:
            return {place: line(text)}

        def show(progress: WhyProgress) -> Update:
            nonlocal told
            if progress.explanation is None and time.monotonic() - told < TOLD_SECONDS:
                return {}
            told = time.monotonic()
            # The buttons each time: what was said before its start may come after it.
            update = say(progress.said) | self._buttons(session)
            if progress.explanation is not None and record is not None:
                if progress.phase == 1:  # the first that there is of it
                    update |= self._faces(record)
                session.keep(record, explanation=progress.explanation)
                state.keep(record, progress.explanation)
                update |= self._show(session, record, progress.explanation, which)
            return update

        def end(progress: WhyProgress | None) -> Update:
            state.asked, state.over = False, True
            done = progress is not None and progress.fraction == 1
            return say(DONE if done else CANCELLED) | self._buttons(session) | self._words(state)

        blank = self._blank("")
        yield from stream(self.worker, state, job, say, show, end, "measurement", blank)

    def cancel(self, session: Session) -> None:
        """Stop measuring after the layer under way; what is there stays."""
        session.tab(WhyState).cancel()

    @guarded
    def pick(self, session: Session, unit: str) -> Update:
        """Mark the words that depended on a unit."""
        state = session.tab(WhyState)
        state.unit, explained = unit, state.explained
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
        ended, state = session.first.ended or session.second.ended, session.tab(WhyState)
        return {
            self.area.start: gr.update(interactive=ended and state.over and not state.measured),
            self.area.stop: gr.update(interactive=not state.over),
        }

    def _blank(self, note: str) -> Update:
        """The tab without an explanation."""
        area = self.area
        update: Update = {part: line("") for part in area.results}
        update[area.sentence] = line(note)
        update[area.shapley] = gr.update(value=None, visible=False)
        return update

    def _faces(self, record: Record) -> Update:
        """What lies nearest to the question among what each expert of the team learned from."""
        nearest = {}
        for expert in record.plan.team:
            sources = self.model.nearest_for(expert, record.prompt, record.router_plan)
            if sources is None:
                return {self.area.faces: line(f"{NOT_MEASURED.capitalize()}.")}
            nearest[expert] = sources[:FACES]
        return {self.area.faces: faces(nearest)}

    def _show(
        self, session: Session, record: Record, explanation: Explanation, which: str
    ) -> Update:
        """An explanation, as far as it is there."""
        area = self.area
        update: Update = {
            area.sentence: tagged(record_key(record), headline(explanation, which)),
            area.verdict: why_words.sign(explanation),
            area.chart: chart(explanation),
            area.paragraph: marked(why_words.paragraph(explanation)),
            area.grid: grid(explanation),
            area.sentences: why_words.sentence_list(explanation),
            **self._words(session.tab(WhyState)),
        }
        if explanation.of("band"):
            update[area.bands] = grid(explanation, bands=True)
        if explanation.shapley is not None:
            update[area.shapley] = gr.update(value=shapley_figure(explanation), visible=True)
            update[area.sum] = line(why_words.shapley(explanation))
        if explanation.changes is not None:
            texts = why_words.changes(explanation.changes, record.drawn)
            update[area.changes] = f"<ul>{''.join(f'<li>{line(text)}</li>' for text in texts)}</ul>"
        return update

    def _words(self, state: WhyState) -> Update:
        """The words that depended on the part that was picked, or else on the most costly one."""
        explanation = state.explained and state.explained.explanation
        if not explanation:
            return {}
        unit = state.unit or max(explanation.of("expert"), key=lambda u: u.effect).name
        return {self.area.unit: unit, self.area.words: why_words.words(explanation, unit)}


def _whole(slot: Slot) -> bool:
    """Whether an answer came to its own end, and holds anything. Who stopped it wants no more."""
    record = slot.record
    return record is not None and record.finish != "cancelled" and bool(record.answer_tokens)
