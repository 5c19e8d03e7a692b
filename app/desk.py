"""What all desks share.

A desk holds the callbacks of one area; each returns {component: new value}. One that streams an
answer or a measurement reads a job of the worker (`app.following`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import gradio as gr
from gradio.components import Component

from app.answering import Given, answer, given
from app.cases import Case
from app.following import Update, sentence
from app.job import Job, Kind, Turn
from app.markup import asked, message, notice
from app.serving import Serving, came
from app.session import Progress, Question, Session
from atmoe import RoutingPlan, Steering
from atmoe.explanation.coherence import SAMPLING, Cohort

P = ParamSpec("P")
DeskT = TypeVar("DeskT", bound="Desk")

WAITING = "…"
"""In the place of an answer that has not begun."""


@dataclass(frozen=True)
class AnswerPlace:
    """Where an answer stands on the page.

    Attributes:
        text: the answer, or the page's own words in its place.
        facts: the small print below it.
        asked: the question it answers and what it was given under; the third answer has none.
    """

    text: gr.HTML
    facts: gr.HTML
    asked: gr.HTML | None = None

    @property
    def words(self) -> list[Component]:
        """What an answer fills as it grows."""
        return [self.text, self.facts]

    @property
    def told(self) -> list[Component]:
        """What `tell` changes."""
        return [] if self.asked is None else [self.asked]

    @property
    def parts(self) -> list[Component]:
        """All of them."""
        return [*self.words, *self.told]

    def tell(
        self,
        text: str,
        under: str,
        question: Question | None = None,
        of: str | None = None,
        whole: str = "",
    ) -> Update:
        """What it answers, and what it was given under, in words.

        Args:
            text: the question's; empty = none.
            under: whose weights.
            question: the session's own; None where the answer is another model's.
            of: which answer it is (`app.whose`).
            whole: whose weights, where `under` is short for it.
        """
        if self.asked is None:
            return {}
        sampling, caution = (question.sampling, question.caution) if question else (None, "")
        return {self.asked: asked(text, under, sampling, caution, of, whole)}

    def say(self, text: str, of: str | None = None) -> Update:
        """The page's own words in the answer's place.

        Args:
            text: the words.
            of: which answer they are said of (`app.whose`); None = any.
        """
        return {self.text: notice(text, of)}


class Shared:
    """One model, one worker and one batch for everybody, and what any desk may change.

    Attributes:
        serving: the model at work.
        message: where a sentence stands that must not be missed.
        cohort: what was measured of the model's answers at several strengths, where it was.
        cases: what was checked of an answer, by its question.
        desks: whoever else must hear of a change, and has a part in the download.
    """

    def __init__(
        self,
        serving: Serving,
        message: gr.HTML,
        cohort: Cohort | None = None,
        cases: Sequence[Case] = (),
    ):
        self.serving, self.cohort = serving, cohort
        self.cases = {case.question.strip(): case for case in cases}
        self.model, self.worker = serving.model, serving.worker
        self.message, self.batching = message, serving.batching
        self.desks: list[Desk] = []

    def job(
        self,
        session: Session,
        steering: Steering,
        plan_of: Callable[[RoutingPlan], RoutingPlan] | None = None,
    ) -> Job[Progress]:
        """An answer to be made to a session's question, and measured as the cohort was.

        Args:
            session: has a question.
            steering: of the answer.
            plan_of: the plan to answer under, made of the router's; default: the steering's.
        """
        assert session.question is not None
        question, opening = session.question, self._opening
        steps = answer(self.batching, question, steering, session.known, plan_of, opening)
        return self.in_line(steps, question.key(steering))

    def given(self, session: Session, steering: Steering, outside: Given) -> Job[Progress]:
        """An answer to a session's question that came from outside, to be measured as ours are."""
        assert session.question is not None
        question = session.question
        steps = given(self.batching, question, steering, outside, self._opening)
        return self.in_line(steps, question.key(steering))

    @staticmethod
    def in_line(
        steps: Generator[Progress | Turn, None, None], of: str | None = None
    ) -> Job[Progress]:
        """The steps of an answer as a job that waits from when its request came.

        Args:
            steps: are made.
            of: which answer they make (`app.whose`).
        """
        return Job(steps, Kind.ANSWER, came(), of)

    @property
    def _opening(self) -> int:
        """How many first tokens are held against the cohort's answers."""
        return (self.cohort.sampling if self.cohort else SAMPLING).max_new_tokens

    @property
    def cleared(self) -> list[Component]:
        """What the other desks may change as the question or the steering changes."""
        return list(dict.fromkeys(part for desk in self.desks for part in desk.cleared))

    def question_changed(self, session: Session) -> Update:
        """Tell all desks."""
        update: Update = {}
        for desk in self.desks:
            update |= desk.question_changed(session)
        return update

    def steering_changed(self, session: Session) -> Update:
        """Tell all desks."""
        update: Update = {}
        for desk in self.desks:
            update |= desk.steering_changed(session)
        return update

    def pressable(self) -> list[Component]:
        """The buttons that `buttons` changes."""
        return [button for desk in self.desks for button in desk.now(Session())]

    def buttons(self, session: Session) -> Update:
        """Only what can do something can be pressed."""
        update: Update = {}
        for desk in self.desks:
            update |= desk.now(session)
        return update

    def first_ended(self, session: Session) -> None:
        """Tell all desks."""
        for desk in self.desks:
            desk.first_ended(session)


class Desk:
    """The callbacks of one area.

    Everything of a person is in the `Session` that each call is given.

    What happens in one area can concern another: what a desk has to say then, it says in the last
    seven methods here. Most have nothing to say.
    """

    def __init__(self, shared: Shared):
        self.shared, self.model, self.worker = shared, shared.model, shared.worker

    @property
    def cleared(self) -> list[Component]:
        """What `question_changed` and `steering_changed` may change."""
        return []

    def question_changed(self, session: Session) -> Update:
        """Another question is about to take the place of the session's."""
        return {}

    def steering_changed(self, session: Session) -> Update:
        """The steered answer is gone, and all that was said of it with it."""
        return {}

    def first_ended(self, session: Session) -> None:
        """The router's answer has ended."""

    def possible(self, session: Session) -> dict[gr.Button, bool]:
        """Its buttons, and whether pressing each would do anything now."""
        return {}

    def now(self, session: Session) -> Update:
        """The same, as the page is told."""
        return {b: gr.update(interactive=can) for b, can in self.possible(session).items()}

    def saved(self, session: Session) -> dict[str, Any]:
        """What the download holds of this area."""
        return {}


def guarded(
    callback: Callable[Concatenate[DeskT, P], Update],
) -> Callable[Concatenate[DeskT, P], Update]:
    """Show a sentence for whatever a callback raises; never a traceback."""

    @functools.wraps(callback)
    def safe(desk: DeskT, *values: P.args, **named: P.kwargs) -> Update:
        place = desk.shared.message
        try:
            return {place: message("")} | callback(desk, *values, **named)
        except Exception as error:
            return {place: message(sentence(error))}

    return safe


def number_of(sent: object) -> int:
    """The browser's own number of what it sent; 0 where it has none."""
    at = sent.get("at", 0) if isinstance(sent, dict) else 0
    return at if isinstance(at, int) else 0
