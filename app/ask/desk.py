"""What the page does when someone asks, steers, stops or resets. Each callback returns {component: new value}.

The router's answer and the steered one are two jobs of the worker. Each is read by an event of its own, so that
moving a slider restarts the steered answer and leaves the other alone.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar

import gradio as gr

from app.markup import badge, facts, line, lines, message, passage, told
from app.session import Progress, Question, Session, answer
from app.steer import area as panel
from app.steer import figure as figures
from app.steer import words as text
from app.steer.controls import Controls
from app.steer.view import View, sampling_of
from app.worker import Job, Kind, Waiting, Worker
from atmoe import AtMoe, AtMoeError, RoutingPlan, Sampling, Steering
from atmoe.answer.batching import Batching
from atmoe.explanation.coherence import SAMPLING, Cohort
from atmoe.steering.reference import Beside

log = logging.getLogger(__name__)
Update = dict[Any, Any]
T = TypeVar("T")

ROUTING_SECONDS = 0.25
"""After a question the steered answer waits this long: the router's answer then has the plan for both."""
OUR_FAULT = "Something went wrong on our side, and it was logged. Nothing of yours is lost; please try again."
UNASKED = "The router's own answer will appear here."
UNTOUCHED = "Untouched: the same weights as the router's answer. Change a group to see a second answer here."
UNCOMPARED = "Once both answers have ended, this says where they part, and how likely each is under either plan."
MEASURING_AGAIN = "The third answer is on its way; the comparison follows it."
MOVED_ON = "Your steering has changed, and so would a random steer of its size; ask for it again."
WAITING = "…"
STOPPED = "Stopped before the first word."


def guarded(callback: Callable[..., Update]) -> Callable[..., Update]:
    """Show a sentence for whatever a callback raises; never a traceback."""

    @functools.wraps(callback)
    def safe(desk: Desk, *values) -> Update:
        try:
            return {desk.ui.message: message("")} | callback(desk, *values)
        except Exception as error:
            return {desk.ui.message: message(sentence(error))}

    return safe


def follow(
    worker: Worker,
    job: Job[T],
    current: Callable[[], bool],
    tell: Callable[[str], Update],
    show: Callable[[T], Update],
    what: str = "answer",
) -> Generator[Update, None, T | None]:
    """What the page shows while a job runs: `tell` says where it stands while it waits, `show` makes of each step what is shown.

    current: whether it is still the job that counts; it ends where it is not.  what: is waited for.
    → the last step; None where there was none

    Raises: whatever making a step raised.
    """
    last = None
    for now in worker.run(job, waiting=True):
        if not current():
            break
        if isinstance(now, Waiting):
            yield tell(text.waiting(now.before, what))
        else:
            last = now
            yield show(now)
    return last


class Desk:
    """Callbacks over one model, one worker and one batch. All state of a person is in the `Session` that each call is given."""

    def __init__(
        self, model: AtMoe, worker: Worker, ui: SimpleNamespace, cohort: Cohort | None = None
    ):
        """cohort: what was measured of the model's answers at several strengths, where it was."""
        self.model, self.worker, self.ui, self.cohort, self.batch = (
            model,
            worker,
            ui,
            cohort,
            Batching(model),
        )
        worker.give(Job(self.batch.warm() for _ in range(1)))

    # -- callbacks ----------------------------------------------------------------------------------------------

    @guarded
    def ask(
        self,
        session: Session,
        prompt: str,
        max_tokens: float,
        temperature: float,
        seed: float | None,
        controls: dict,
    ) -> Update:
        """Take a question: check it, and make the jobs that `first` and `second` will run."""
        return self.begin(
            session,
            prompt,
            sampling_of(max_tokens, temperature, seed),
            Controls.from_dict(controls, self.model.layout),
        )

    def first(self, session: Session) -> Iterator[Update]:
        """Stream the router's answer."""
        ui, job = self.ui, session.first
        yield {ui.first: gr.skip()}  # a generator that ends without a word would empty its outputs
        if job is None or not job.claim():
            return

        def show(progress: Progress) -> Update:
            update = {
                ui.first: passage(progress.record.answer),
                ui.first_facts: self.facts(progress),
            }
            if session.routed is None:
                update |= self.weights(session)
            session.routed = progress.record
            return update

        try:
            progress = yield from follow(
                self.worker,
                job,
                lambda: session.first is job,
                lambda said: {ui.first: told(said)},
                show,
            )
        except Exception as error:
            yield {ui.first: told(sentence(error))}
            return
        if session.first is job:
            session.take_over()
            yield self._end(session, progress, ui.first, ui.first_facts)

    def second(self, session: Session) -> Iterator[Update]:
        """Stream the steered answer."""
        ui, job = self.ui, session.second
        yield {ui.second: gr.skip()}

        def show(progress: Progress) -> Update:
            session.steered = progress.record
            return {
                ui.second: passage(progress.record.answer),
                ui.second_facts: self.facts(progress),
            }

        if job is not None and session.question.router_plan is None:
            time.sleep(ROUTING_SECONDS)
        if job is not None and job.claim():
            try:
                progress = yield from follow(
                    self.worker,
                    job,
                    lambda: session.second is job,
                    lambda said: {ui.second: told(said)},
                    show,
                )
            except Exception as error:
                if session.second is job:
                    yield {ui.second: told(sentence(error))}
                return
            if session.second is job:
                yield self._end(session, progress, ui.second, ui.second_facts)
                return
        if (
            session.second is None
        ):  # words of an abandoned answer may still have been on their way when the controls went back
            yield {ui.second: told(self._note(session)), ui.second_facts: line("")}

    @guarded
    def steer(self, session: Session, controls: dict) -> Update:
        """The controls moved: say what is in force at once, and make the job that `second` will run; `draw` follows, and `second`
        once they rest.
        """
        session.heard = controls.get("at", 0) if isinstance(controls, dict) else 0
        try:
            moved = Controls.from_dict(controls, self.model.layout)
        except AtMoeError as error:  # the controls go back to what was possible
            shown = panel.shown(self.model.layout, self._view(session), session.heard, str(error))
            return {
                self.ui.message: message(str(error)),
                self.ui.panel: gr.HTML(value=session.controls.to_dict(), shown=shown),
            }
        session.controls = moved
        return self._prepare_second(session) | self._said(session)

    def draw(self, session: Session) -> Update:
        """The pictures and tables of the plans. They take the page longer than all else that a movement changes, and the next
        answer must not wait for them. What `steer` had to say stays.
        """
        return {self.ui.group_plot: gr.skip()} | self._drawn(session)

    def stop(self, session: Session) -> None:
        """Abandon both answers; what is there stays."""
        session.stop()

    def begin(
        self,
        session: Session,
        prompt: str,
        sampling: Sampling,
        controls: Controls,
        anew: bool = False,
    ) -> Update:
        """A question, checked, and the jobs that answer it.  anew: decode it though the answer is known.

        Raises:
            PromptError: it cannot be answered.
        """
        self.worker.call(lambda: self.model.encode(prompt), short=True)
        session.stop()
        session.forget_beside()
        session.question, session.controls, session.routed = (
            Question(prompt, sampling, anew=anew),
            controls,
            None,
        )
        session.first = self.job(session, Steering())
        ui = self.ui
        return self._prepare_second(session) | {
            ui.first: told(WAITING),
            ui.first_facts: line(""),
            ui.third: line(""),
            ui.third_facts: line(""),
        }

    def put(self, session: Session, controls: Controls) -> Update:
        """Put the controls somewhere themselves, not a person's hand."""
        session.controls = controls
        return self._prepare_second(session) | self.weights(session, controls.to_dict())

    # -- what they are made of ----------------------------------------------------------------------------------

    def _prepare_second(self, session: Session) -> Update:
        """Replace the steered answer's job by one for the steering and question of now; say what will happen."""
        ui, steering = self.ui, session.steering
        if session.second is not None:
            session.second.cancel()
        session.second, session.steered = None, None
        if session.question is not None and not steering.untouched:
            session.second = self.job(session, steering)
        session.compared, session.comparison, session.replay = (), None, None
        others = {} if session.routed is None else {ui.first: passage(session.routed.answer)}
        if session.kind is Beside.RANDOM:  # of the size of a steering that is no more
            session.forget_beside()
            others |= {ui.third: told(MOVED_ON), ui.third_facts: line("")}
        return {
            ui.second: told(self._note(session)),
            ui.second_facts: line(""),
            ui.download: self.download(session),
            ui.comparison: line(UNCOMPARED),
            ui.link: "",
            ui.replayed: lines([]),
            ui.badge: badge(text.badge(steering), not steering.untouched),
        } | others

    def _note(self, session: Session) -> str:
        """What stands in the steered column before any answer does."""
        if not session.controls.on and not session.controls.kept.untouched:
            return f"Switched off, and kept: {text.changes(session.controls.kept)}. This is the router's answer alone."
        if session.steering.untouched:
            return UNTOUCHED
        return (
            WAITING
            if session.question
            else f"Set for your question: {text.changes(session.steering)}."
        )

    def weights(self, session: Session, controls: dict | None = None) -> Update:
        """Everything that shows the plans, as far as the router's plan is known.  controls: put there, where given"""
        return self._said(session, controls) | self._drawn(session)

    def _view(self, session: Session) -> View | None:
        """What there is to see, once the router's plan is known."""
        if session.question is None or (router_plan := session.question.router_plan) is None:
            return None
        try:
            return View.of(router_plan, session.steering)
        except (
            AtMoeError
        ):  # a contradiction: the steered column says so, the router's plan is still true
            return View.of(router_plan, Steering())

    def _said(self, session: Session, controls: dict | None = None) -> Update:
        """What the controls and the sentences show."""
        ui, layout, view = self.ui, self.model.layout, self._view(session)
        put = {} if controls is None else {"value": controls}
        update = {ui.panel: gr.HTML(shown=panel.shown(layout, view, session.heard), **put)}
        return update if view is None else update | {ui.reading: text.reading(view)}

    def _drawn(self, session: Session) -> Update:
        """What the pictures and tables show."""
        ui, layout, view = self.ui, self.model.layout, self._view(session)
        return (
            {}
            if view is None
            else {
                ui.group_plot: figures.group_figure(layout, view),
                ui.expert_plot: figures.expert_figure(layout, view),
                ui.group_table: figures.group_table(view),
                ui.expert_table: figures.expert_table(view),
            }
        )

    def job(
        self,
        session: Session,
        steering: Steering,
        plan_of: Callable[[RoutingPlan], RoutingPlan] | None = None,
    ) -> Job[Progress]:
        """An answer to be made to a session's question, and measured as the cohort was; see `app.session.answer`."""
        opening = (self.cohort.sampling if self.cohort else SAMPLING).max_new_tokens
        return Job(
            answer(self.batch, session.question, steering, session.known, plan_of, opening),
            Kind.ANSWER,
        )

    def facts(self, progress: Progress, note: str = "") -> str:
        """What was measured about an answer, and a warning where it reads worse than a cohort's."""
        return facts(text.facts(progress), note, text.warning(progress, self.cohort))

    def _end(
        self, session: Session, progress: Progress | None, place: gr.HTML, below: gr.HTML
    ) -> Update:
        """The last update of an answer, whether it ended or was stopped."""
        if progress is None:
            return {place: told(STOPPED)}
        return {
            below: self.facts(replace(progress, ended=True)),
            self.ui.download: self.download(session),
        }

    def download(self, session: Session) -> gr.DownloadButton:
        """The download button, with this session's records behind it."""
        if session.routed is None:
            return gr.DownloadButton(value=None, interactive=False)
        if session.folder is None:
            session.folder = TemporaryDirectory(prefix="atmoe-")
        path = Path(session.folder.name, "atmoe-record.json")
        records = {
            "router": session.routed.to_dict(),
            "steered": session.steered and session.steered.to_dict(),
            "controls": session.controls.to_dict(),
            "comparison": session.comparison and asdict(session.comparison),
            "beside": session.beside and {"kind": session.kind, "record": session.beside.to_dict()},
        }
        path.write_text(json.dumps(records, ensure_ascii=False, indent=1), "utf-8")
        return gr.DownloadButton(value=str(path), interactive=True)


def sentence(error: Exception) -> str:
    """What to tell a person about an error: its own sentence if it has one for them."""
    if isinstance(error, AtMoeError):
        return str(error)
    log.error("in a callback of the page", exc_info=error)
    return OUR_FAULT
