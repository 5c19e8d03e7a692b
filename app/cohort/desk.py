"""The tab "Many questions": in batches, in turn with everybody else's work."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from app import uploads
from app.ask.area import Settings
from app.cohort import words
from app.cohort.area import ANSWER, MOST, ROUTE, CohortArea
from app.cohort.figure import atlas_figure
from app.desk import Desk, Shared, guarded
from app.events import LAST_WINS, UNQUEUED, streaming
from app.following import Update, stream
from app.job import LATER, Job, Kind, Turn
from app.markup import line
from app.session import Making, Session
from app.view import sampling_of
from atmoe import AtMoeError, Record, Sampling, Steering
from atmoe.many.atlas import weights
from atmoe.many.brief import columns, flat
from atmoe.many.commands import steps_of
from atmoe.many.out import CSV_ENCODING, table_csv
from atmoe.many.rows import Row, line_rows, read_rows
from atmoe.many.run import Done
from atmoe.many.survey import Survey
from atmoe.model import Routed
from atmoe.report.cohort import LIKE_TRAINING, cohort_report
from atmoe.sources.value import place_of
from atmoe.wording import count

AT_ONCE = 4
"""Rows of a batch: others get a turn of the model after each of its steps."""
SHOWN_SECONDS = 1.0
"""The table is drawn anew no more often."""
NONE = "There is no question; write some, one a line, or open a file."
STOPPED = "Stopped."
TWO = "Tick two rows of the table to compare them."


@dataclass(frozen=True)
class Some:
    """The rows so far.

    Attributes:
        done: in the order of the questions.
        seconds: since the first began.
    """

    done: tuple[Done[Any], ...]
    seconds: float


@dataclass
class CohortState(Making[Some]):
    """What the tab knows of a session.

    Attributes:
        read: the rows of the file that was opened last.
        text: what the text field was filled with from it.
        rows: that are asked.
        command: route, answer or explain.
        steering: they are asked under.
        sampling: of their answers.
        under: both, in words.
        some: the rows that are done.
        folder: holds the downloads.
    """

    read: tuple[Row, ...] = ()
    text: str = ""
    rows: tuple[Row, ...] = ()
    command: str = "route"
    steering: Steering = Steering()
    sampling: Sampling = Sampling()
    under: str = ""
    some: Some | None = None
    of_its_own = True
    folder: TemporaryDirectory | None = field(default=None, repr=False)


class CohortDesk(Desk):
    """The callbacks of the tab."""

    def __init__(self, shared: Shared, area: CohortArea, settings: Settings):
        super().__init__(shared)
        self.area, self.settings = area, settings

    def wire(self, session: gr.State) -> None:
        """Have the tab's parts call this desk."""
        area, shared = self.area, self.shared
        area.file.upload(
            self.open, [session, area.file], [shared.message, area.text, area.progress], **UNQUEUED
        )
        outputs = [*area.results, area.stop]
        begun = area.start.click(
            self.ask,
            [session, area.text, area.depth, *self.settings.parts],
            [shared.message, *outputs],
            **UNQUEUED,
        )
        begun.success(self.run, [session], outputs, **streaming("cohort"))
        area.stop.click(self.cancel, [session], **UNQUEUED)
        area.picks.pick(
            self.compare, [session, area.picks], [shared.message, area.pair], **LAST_WINS
        )

    @guarded
    def open(self, session: Session, path: str) -> Update:
        """Take a file's rows, and write their questions into the text field."""
        state, file = session.tab(CohortState), Path(path)
        try:
            state.read = _few(read_rows(file))
        finally:
            uploads.delete_later(file, uploads.KEPT_SECONDS)
        state.text = "\n".join(" ".join(row.question.split()) for row in state.read)
        broken = sum(bool(row.error) for row in state.read)
        empty = sum(not (row.error or row.question.strip()) for row in state.read)
        said = count(len(state.read), "row")
        said += f", {broken} of them broken" if broken else ""
        said += f", {empty} without a question" if empty else ""
        twice = Survey.of(state.read).repeated
        said += f", {count(twice, 'id')} of more than one row" if twice else ""
        return {self.area.text: state.text, self.area.progress: line(said)}

    @guarded
    def ask(
        self,
        session: Session,
        text: str,
        depth: str,
        max_tokens: float,
        temperature: float,
        seed: float | None,
    ) -> Update:
        """Make the job that `run` will read."""
        state, sampling = session.tab(CohortState), sampling_of(max_tokens, temperature, seed)
        rows = state.read if state.read and text == state.text else _lines(text)
        if not rows:
            raise AtMoeError(NONE)
        state.cancel()
        state.rows, state.some, state.steering = rows, None, session.steering
        state.command = "route" if depth == ROUTE else "answer" if depth == ANSWER else "explain"
        state.sampling = sampling
        state.job = Job(self._steps(state), Kind.MANY)
        state.under = words.under(state.steering, rows, sampling if depth != ROUTE else None)
        if state.read and rows is not state.read:
            state.under += "; as the text has them, without what else the file held"
        return self._blank(f"{self._begun(state)} …")

    def _steps(self, state: CohortState) -> Generator[Some | Turn, None, None]:
        """The rows as they are done, seldom enough to be drawn."""
        steps = steps_of(
            state.command, self.model, state.rows, state.steering, state.sampling, AT_ONCE
        )
        done: list[Done[Any]] = []
        told, began = 0, time.monotonic()
        shown = began
        for step in steps:
            if step is not None:
                done.append(step)
                state.some = Some(tuple(done), time.monotonic() - began)
                continue  # the rest of a batch is there already
            now = time.monotonic()
            if len(done) > told and now - shown >= SHOWN_SECONDS:
                shown, told = now, len(done)
                yield Some(tuple(done), now - began)
            else:
                yield LATER
        yield Some(tuple(done), time.monotonic() - began)

    def run(self, session: Session) -> Iterator[Update]:
        """The table as it grows, then the atlas and the downloads."""
        area, state = self.area, session.tab(CohortState)
        job = state.job
        yield {area.progress: gr.skip()}

        def say(text: str) -> Update:
            some = state.some
            told = self._progress(state, some, False) if some else self._begun(state)
            return {area.progress: line(" · ".join(filter(None, (text, told))))}

        def show(some: Some) -> Update:
            told = line(self._progress(state, some, False))
            return {area.progress: told, area.table: self._table(some)}

        def end(some: Some | None) -> Update:
            some = state.some or some  # what was done before a stop, too
            update = {area.stop: gr.update(interactive=False)}
            if some is None:
                return {area.progress: line(STOPPED)} | update
            whole = len(some.done) == len(state.rows)
            told = self._progress(state, some, whole)
            told = line(told if whole else f"{STOPPED} {told}")
            shown = {area.progress: told, area.table: self._table(some)}
            return shown | self._files(state, some) | update

        yield from stream(self.worker, state, job, say, show, end, "list")

    def cancel(self, session: Session) -> None:
        """Stop at the next step; the rows that are done stay."""
        session.tab(CohortState).cancel()

    @guarded
    def compare(self, session: Session, picked: Any) -> Update:
        """Two rows beside each other."""
        some = session.tab(CohortState).some
        numbers = picked.get("rows", []) if isinstance(picked, dict) else []
        rows = [row for row in self._rows(some) if row["number"] in numbers and row["brief"]]
        if len(rows) != 2:
            return {self.area.pair: line(TWO if numbers else "")}
        return {self.area.pair: words.pair(rows[0], rows[1], self.model.info.words)}

    def _blank(self, note: str) -> Update:
        area = self.area
        off: dict[str, Any] = {"value": None, "interactive": False}
        return {
            area.progress: line(note),
            area.table: line(""),
            area.pair: line(""),
            area.atlas: gr.update(value=None, visible=False),
            area.csv: gr.update(**off),
            area.page: gr.update(**off),
            area.stop: gr.update(interactive=True),
        }

    @staticmethod
    def _begun(state: CohortState) -> str:
        return f"{count(len(state.rows), 'question')}, {state.under}"

    def _progress(self, state: CohortState, some: Some, ended: bool) -> str:
        errors = sum(bool(done.error) for done in some.done)
        progress = words.progress(len(some.done), len(state.rows), errors, some.seconds, ended)
        return f"{progress} · {state.under}"

    def _rows(self, some: Some | None) -> list[dict[str, Any]]:
        """The rows as the table takes them."""
        return [_row(done, self.model.info.language) for done in some.done] if some else []

    def _table(self, some: Some) -> str:
        layout, info = self.model.layout, self.model.info
        return words.table(self._rows(some), layout.group_names, info.words)

    def _files(self, state: CohortState, some: Some) -> Update:
        """The atlas, and both downloads."""
        area, layout = self.area, self.model.layout
        ready = [
            (done.row.question, done.value.plan)
            for done in some.done
            if done.value and not done.error
        ]
        language = self.model.info.language
        rows = []
        for done in some.done:
            named, value = done.written(False, language)
            rows.append(named | flat(value) | {LIKE_TRAINING: _like(done) or None})
        names = columns(state.command, layout)
        if state.folder is None:
            state.folder = TemporaryDirectory(prefix="atmoe-")
        csv, page = (Path(state.folder.name, f"atmoe-cohort.{end}") for end in ("csv", "html"))
        csv.write_text(table_csv(rows, names), CSV_ENCODING, newline="")
        atlas: Update = {}
        shares: list[list[float]] = []
        if ready:
            questions, plans = zip(*ready)
            shares = weights(plans)
            figure = atlas_figure(layout, questions, shares)
            atlas = {area.atlas: gr.update(value=figure, visible=True)}
        info = self.model.info
        told = cohort_report(info.name, layout, rows, names, state.under, shares, info.page.warning)
        page.write_text(told, "utf-8")
        return atlas | {
            area.csv: gr.update(value=str(csv), interactive=True),
            area.page: gr.update(value=str(page), interactive=True),
        }


def _few(rows: Iterator[Row]) -> tuple[Row, ...]:
    """The rows of a file.

    Raises:
        AtMoeError: there are too many.
    """
    few: list[Row] = []
    for row in rows:
        few.append(row)
        if len(few) > MOST:
            raise AtMoeError(
                f"The file holds more than {MOST} questions; use atmoe route --prompts for it, or "
                "open a shorter one."
            )
    return tuple(few)


def _lines(text: str) -> tuple[Row, ...]:
    """A text's questions, one a line.

    Raises:
        AtMoeError: there are too many.
    """
    rows = tuple(line_rows(StringIO(text or "", newline=None)))  # lines end as those of a file do
    if len(rows) > MOST:
        raise AtMoeError(
            f"These are {len(rows)} questions, and {MOST} at once are possible; leave some out."
        )
    return rows


def _row(done: Done[Any], language: str) -> dict[str, Any]:
    """One row as the table takes it."""
    return {
        "number": done.row.number,
        "id": done.row.id,
        "question": done.row.question,
        "error": done.error,
        "like": _like(done),
        "brief": done.brief(language),
    }


def _like(done: Done[Any]) -> str:
    """How like those in training a question is, in a word; empty where that was not measured."""
    value: Routed | Record | None = done.value
    found = value.found if isinstance(value, Routed) else value
    if found is None:
        return ""
    place = place_of(found.familiarity, found.nearest or ())
    return "" if place is None else words.LIKE[place]
