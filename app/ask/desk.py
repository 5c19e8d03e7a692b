"""What the page does when someone asks or stops.

The router's answer and the steered one are two jobs of the worker. Each is read by an event of its
own, so that moving a slider restarts the steered answer and leaves the other alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app import language
from app.ask.area import AskArea
from app.ask.growing import once_more, streamed
from app.controls import Controls
from app.desk import WAITING, Desk, Shared, guarded, number_of
from app.events import LAST_WINS, UNQUEUED, streaming
from app.following import Update
from app.markup import line
from app.session import Question, Session
from app.sources import caution
from app.steer.desk import SteerDesk
from app.view import sampling_of
from atmoe import Sampling, Steering

ROUTING_SECONDS = 0.25
"""After a question the steered answer waits this long: the router's answer then has the plan for
both."""
LOOK_SECONDS, DRAW_SECONDS = 0.03, 0.25
"""While the router reads: how often one looks how far it is, and draws that."""
ROUTERS = "the router's own weights"


@dataclass(frozen=True)
class Begun:
    """Events that others follow.

    Attributes:
        begun: a question was taken.
        answered: an answer has ended, each.
        stopped: all answers were.
    """

    begun: Dependency
    answered: list[Dependency]
    stopped: tuple[Dependency, ...] = ()


class AskDesk(Desk):
    """The callbacks of the question box, and the two answers."""

    def __init__(self, shared: Shared, area: AskArea, steer_desk: SteerDesk):
        super().__init__(shared)
        self.area, self.steer_desk = area, steer_desk

    def wire(self, session: gr.State) -> Begun:
        """Have the question box call this desk, and the controls where they come to rest."""
        box, steer = self.area.box, self.steer_desk.area
        asked = gr.on(
            [box.answer.click, box.question.submit],
            self.ask,
            [session, box.question, *box.settings.parts, steer.panel],
            self.changing,
            **LAST_WINS,
        )
        answered = [
            self.stream_first(asked.success, session),
            self.stream_second(asked.success, session),
            # Only the browser knows that no further movement is on its way; it says so once the
            # last one was heard.
            self.stream_second(steer.panel.rest, session),
        ]
        steer.panel.rest(self.routed_late, [session], self._showing_routed, **streaming("routed"))
        stopped = box.stop.click(self.stop, [session], **UNQUEUED)
        return Begun(asked, answered, (stopped,))

    def stream_both(self, begun: Dependency, session: gr.State) -> Begun:
        """Have both answers follow an event at which a question was taken.

        Args:
            begun: the event.
            session: whose.
        """
        second = self.stream_second(begun.success, session)
        first = self.stream_first(begun.success, session)
        return Begun(begun, [second, first])

    def stream_first(self, listen: Callable[..., Dependency], session: gr.State) -> Dependency:
        """Have the router's answer follow an event.

        Args:
            listen: of the event.
            session: whose.
        """
        # The pictures by an event of their own: at each update of an event Gradio copies, in the
        # browser, all that its outputs hold.
        listen(self.routed, [session], self._showing_routed, **streaming("routed"))
        place = self.area.first
        outputs = [place.text, place.facts]
        return listen(self.first, [session], outputs, **streaming("first"))

    def stream_second(self, listen: Callable[..., Dependency], session: gr.State) -> Dependency:
        """Have the steered answer follow an event.

        Args:
            listen: of the event.
            session: whose.
        """
        place = self.area.second
        outputs = [place.text, place.facts]
        return listen(self.second, [session], outputs, **streaming("second"))

    def wire_once_more(self, session: gr.State, answered: Sequence[Dependency]) -> list[Dependency]:
        """Have both answers said again at the end of either.

        Args:
            session: whose.
            answered: events at which an answer has ended.

        Returns:
            The events after which they are, for whoever marks what they say.
        """
        outputs = [*self.area.first.parts, *self.area.second.parts]
        return [event.then(self.say_again, [session], outputs, **UNQUEUED) for event in answered]

    def say_again(self, session: Session) -> Update:
        """Both answers, where they have ended, and what they answer."""
        area, shared = self.area, self.shared
        update = {part: gr.skip() for part in (*area.first.parts, *area.second.parts)}
        update |= once_more(shared, session.first, area.first)
        update |= once_more(shared, session.second, area.second)
        question = session.question  # last, so that no answer is said below an older heading
        if question is not None:
            update |= self._head(question) | self.steer_desk.asked(session)
        return update

    @property
    def _showing_routed(self) -> list[Component]:
        """What `routed` changes."""
        return [*self.steer_desk.showing, *self.area.first.told]

    @property
    def changing(self) -> list[Component]:
        """What `begin` changes."""
        area, shared = self.area, self.shared
        answers = [*area.first.parts, *area.second.parts]
        parts = [shared.message, self.steer_desk.area.badge, *answers, *shared.cleared]
        return list(dict.fromkeys(parts))

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
        sent, sampling = number_of(controls), sampling_of(max_tokens, temperature, seed)
        wanted = Controls.from_dict(controls, self.model.layout)
        # A movement made after the question was sent may be heard before it.
        wanted = wanted if sent >= session.heard else session.controls
        return self.begin(session, prompt, sampling, wanted)

    def begin(
        self,
        session: Session,
        prompt: str,
        sampling: Sampling,
        controls: Controls,
        anew: bool = False,
    ) -> Update:
        """A question, checked, and the jobs that answer it.

        Args:
            session: whose.
            prompt: what was typed.
            sampling: how it is answered.
            controls: what the controls are set to.
            anew: decode it though the answer is known.

        Raises:
            PromptError: it cannot be answered.
        """
        # From here on the question has one spelling.
        prompt = self.worker.call(lambda: self.model.encode(prompt), short=True).text
        session.stop()
        cleared = self.shared.question_changed(session)
        note = language.note(prompt, self.model.info.language)
        question = Question(prompt, sampling, anew=anew, caution=note)
        session.question, session.controls = question, controls
        session.first.clear()
        session.first.job = job = self.shared.job(session, Steering())
        place = self.area.first
        waiting = place.say(WAITING, job.of) | {place.facts: line("")}
        waiting |= self._head(question)
        return self.steer_desk.prepare_second(session) | waiting | cleared

    def first(self, session: Session) -> Iterator[Update]:
        """Stream the router's answer."""
        place, slot = self.area.first, session.first
        job = slot.job
        yield {place.text: gr.skip()}

        yield from streamed(
            self.shared, session, slot, job, place, ended=lambda: self.shared.first_ended(session)
        )

    def routed(self, session: Session) -> Iterator[Update]:
        """Show the router's plan as soon as it is there; until then, the layers read so far."""
        desk, question = self.steer_desk, session.question
        yield {desk.area.line: gr.skip()}
        if question is None:
            return
        drawn, layers = time.monotonic(), 0
        while question.router_plan is None:
            time.sleep(LOOK_SECONDS)
            if session.question is not question:
                if session.question is None:  # layers drawn here may come over what took its place
                    yield desk.blank(session) | desk.whose(session)
                return
            going = session.first.going or session.second.going
            if not going and question.router_plan is None:  # what shows a plan is of one before
                yield desk.blank(session) | desk.whose(session)
                return
            read = len(question.kept.shares)
            if read > layers and time.monotonic() - drawn >= DRAW_SECONDS:
                yield desk.weights_so_far(question)
                drawn, layers = time.monotonic(), read
        # A movement made meanwhile has pictures of its own; the controls notice where these come
        # over them (`SteerDesk.again`). Whose the steered answer is stands here once more, for what
        # was said of it as the question was taken may have come after what that movement said.
        if session.question is question:
            question.shown = True
            yield self._warned(question) | desk.again(session)

    def routed_late(self, session: Session) -> Iterator[Update]:
        """The same where the question was stopped before it was routed.

        Then it is routed for the steered answer.
        """
        question = session.question
        yield {self.steer_desk.area.line: gr.skip()}
        if question is not None and not question.shown and not session.first.going:
            yield from self.routed(session)

    def _warned(self, question: Question) -> Update:
        """What is to be read before either answer, now that it is known where the question lies.

        The question keeps it; here the router's answer says it. Where there is nothing, what it
        answers is said all the same: the question before may have said its own last.
        """
        unlike = caution(question.found)
        question.caution = " ".join(filter(None, (question.caution, unlike)))
        return self._head(question)

    def _head(self, question: Question) -> Update:
        """What the router's answer answers."""
        of = question.key(Steering())
        return self.area.first.tell(question.prompt, ROUTERS, question, of)

    def second(self, session: Session) -> Iterator[Update]:
        """Stream the steered answer."""
        place, slot = self.area.second, session.second
        job = slot.job
        yield {place.text: gr.skip()}

        question = session.question
        if job is not None and question is not None and question.router_plan is None:
            time.sleep(ROUTING_SECONDS)
        handled = yield from streamed(self.shared, session, slot, job, place)
        if not handled and slot.job is None:
            # Words of an abandoned answer may still have been on their way when the controls went
            # back.
            yield self.steer_desk.noted(session)

    def stop(self, session: Session) -> None:
        """Abandon all answers; what is there stays."""
        session.stop()

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """Stop, while an answer is on its way."""
        slots = session.first, session.second, session.third
        return {self.area.box.stop: any(slot.going for slot in slots)}
