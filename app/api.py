"""The endpoints beside the page: the same model, worker and batch, asked by programs.

    question, steering ─► checked ─► a job of the worker, in line with the page's ─► record as JSON

A steering is the record's value, {"strength": 1, "overrides": [{"target": "audience/patient",
"state": "fixed", "share": 1, "layers": "all"}]}, or a link of the page. An error is a sentence, and
behind it a code in brackets: the kind of error, "[steering]", or "[fault]" for one of ours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Literal, TypeVar

import gradio as gr

from app.answering import answer
from app.desk import Shared
from app.events import AT_ONCE
from app.following import sentence
from app.job import Job
from app.session import Question
from app.view import MAX_TEMPERATURE, MAX_TOKENS, REPETITION_PENALTY, sampling_of
from app.why.state import why
from atmoe import AtMoeError, Record, Steering
from atmoe.errors import DataError
from atmoe.explanation.compare import compare
from atmoe.explanation.drafts import drafting
from atmoe.many.brief import brief_of
from atmoe.model import Routed
from atmoe.schema import published

T = TypeVar("T")
Sent = dict | str | None
"""A steering as it is sent."""

STREAMED_SECONDS = 0.25
"""A record so far is sent so often: it holds both plans, and a token adds little to it."""
LONGEST = 160
"""Tokens of an answer where nothing else is asked for."""


@contextmanager
def _told() -> Iterator[None]:
    """Show whatever an endpoint raises as a sentence with a code; never a traceback."""
    try:
        yield
    except Exception as error:
        code = "fault"
        if isinstance(error, AtMoeError):
            code = type(error).__name__.removesuffix("Error").lower()
        raise gr.Error(f"{sentence(error)} [{code}]", print_exception=False) from error


class Api:
    """The endpoints of one page.

    Args:
        shared: the model, and who computes.
        of_link: the steering that a link of the page sets.
        licence: the model's, as its card has it.
    """

    def __init__(self, shared: Shared, of_link: Callable[[str], Steering], licence: str = ""):
        self.shared, self.model, self.worker = shared, shared.model, shared.worker
        self.of_link, self.licence = of_link, licence

    def wire(self) -> None:
        """Name them. To be called while the page is built."""
        many: dict[str, Any] = {"concurrency_limit": AT_ONCE, "concurrency_id": "api"}
        asking = (self.route, self.answer, self.explain, self.drafts, self.score, self.compare)
        for endpoint in (self.models, self.schema, *asking):
            gr.api(endpoint, api_name=endpoint.__name__, **many)

    def models(self) -> dict:
        """The model that answers here: its name, base, layers, groups and experts, and limits.

        Returns:
            {"name", "sha256", "base": {"name", "sha256"}, "layers", "groups": group → experts,
                "language", "index": whether questions are held against training, "limits", and
                "licence", as its card has it; "" = it has none}.
        """
        info, layout = self.model.info, self.model.layout
        return {
            "name": info.name,
            "sha256": info.sha256,
            "base": {"name": info.base_name, "sha256": info.base_sha256},
            "precision": self.model.precision,
            "layers": layout.layers,
            "groups": {group: list(experts) for group, experts in layout.groups},
            "language": info.language,
            "index": self.model.index is not None,
            "licence": self.licence,
            "limits": {
                "prompt_tokens": info.max_prompt_tokens,
                "max_new_tokens": MAX_TOKENS,
                "temperature": MAX_TEMPERATURE,
                "repetition_penalty": REPETITION_PENALTY,
            },
        }

    @_told()
    def schema(self, of: Literal["steering", "plan", "record"] = "steering") -> dict:
        """The JSON schema of what comes in and goes out.

        Args:
            of: a steering, a plan or a record.

        Returns:
            The schema, as JSON Schema has it.
        """
        return published(of)

    @_told()
    def route(self, question: str, steering: Sent = None, brief: bool = False) -> dict:
        """The plan for a question: each expert's weight at each layer, and who takes part.

        Args:
            question: what is asked.
            steering: changes the router's plan, as a record or a link has it; default: the
                router's own.
            brief: True leaves out the tables by layer; shares are then means over the layers.

        Returns:
            The plan, with "familiarity" and "nearest" training examples where they are measured.
        """
        changed, short = self._steering(steering), _switch(brief)
        return self._sent(self.worker.call(lambda: self.model.routed(question, changed)), short)

    def answer(
        self,
        question: str,
        steering: Sent = None,
        max_new_tokens: int = LONGEST,
        seed: int = 0,
        temperature: float = 0.0,
        brief: bool = False,
    ) -> Iterator[dict]:
        """Answer a question; the answer streams, and the last value is the whole record.

        A small research model wrote it and is often wrong; nobody checked it: not for any care.

        Args:
            question: what is asked.
            steering: changes the router's plan, as a record or a link has it; default: the
                router's own.
            max_new_tokens: at most so many tokens.
            seed: of the sampling.
            temperature: 0 = always the most likely token, of which those that stand already
                count less: the repetition penalty is 1.1, as on the page.
            brief: True leaves out the tables by layer; shares are then means over the layers.

        Returns:
            The record so far; until the last one its "finish" is "cancelled".
        """
        with _told():
            sent, last, short = 0.0, None, _switch(brief)
            asked = self._asked(question, max_new_tokens, seed, temperature)
            for last in self._answered(asked, steering):
                if time.monotonic() - sent >= STREAMED_SECONDS and last.finish == "cancelled":
                    sent = time.monotonic()
                    yield self._sent(last, short)
            if last is not None:
                yield self._sent(last, short)

    @_told()
    def explain(
        self,
        question: str,
        steering: Sent = None,
        max_new_tokens: int = LONGEST,
        seed: int = 0,
        temperature: float = 0.0,
        brief: bool = False,
    ) -> dict:
        """Answer a question, and measure what the answer depended on.

        A small research model wrote it and is often wrong; nobody checked it: not for any care.

        Args:
            question: what is asked.
            steering: changes the router's plan, as a record or a link has it; default: the
                router's own.
            max_new_tokens: at most so many tokens.
            seed: of the sampling.
            temperature: 0 = always the most likely token, of which those that stand already
                count less: the repetition penalty is 1.1, as on the page.
            brief: True leaves out the tables by layer; shares are then means over the layers.

        Returns:
            The record, with its "explanation" and the "verdict" on it.
        """
        short = _switch(brief)
        asked = self._asked(question, max_new_tokens, seed, temperature)
        record = _last(self._answered(asked, steering))
        progress = _last(self.worker.run(Job(why(self.model, record))))
        return self._sent(replace(record, explanation=progress.explanation), short)

    @_told()
    def drafts(
        self,
        question: str,
        steering: Sent = None,
        max_new_tokens: int = LONGEST,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> dict:
        """Answer a question, and sample it five times more: what the drafts do not share.

        Args:
            question: what is asked.
            steering: changes the router's plan, as a record or a link has it; default: the
                router's own.
            max_new_tokens: at most so many tokens, each.
            seed: of the answer; the drafts have those after it.
            temperature: of the answer; 0 = always the most likely token, of which those that
                stand already count less: the repetition penalty is 1.1, as on the page.

        Returns:
            {"answer", "drafts", "seeds", "sampling", "statements": each with the share of drafts
                that say it, "agreement": the mean of these}.
        """
        asked = self._asked(question, max_new_tokens, seed, temperature)
        record = _last(self._answered(asked, steering))
        return _last(self.worker.run(Job(drafting(self.model, record)))).to_dict()

    @_told()
    def score(self, question: str, answer: str, steering: Sent = None) -> dict:
        """How likely an answer is to a question, in nats a token.

        Args:
            question: what is asked.
            answer: the text that is scored.
            steering: changes the router's plan, as a record or a link has it; default: the
                router's own.

        Returns:
            {"mean_logprob", "token_logprobs", "tokens", "steering"}.
        """
        changed = self._steering(steering)
        return self.worker.call(lambda: self.model.scored(question, answer, changed)).to_dict()

    @_told()
    def compare(
        self,
        question: str,
        steering: Sent,
        max_new_tokens: int = LONGEST,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> dict:
        """The router's answer and the steered one, and how likely each is under either plan.

        Args:
            question: what is asked.
            steering: changes the router's plan, as a record or a link has it.
            max_new_tokens: at most so many tokens, each.
            seed: of the sampling.
            temperature: 0 = always the most likely token, of which those that stand already
                count less: the repetition penalty is 1.1, as on the page.

        Returns:
            {"router": record, "steered": record, "comparison": {"logp": answer by plan, "parting":
                where the two part}}.
        """
        asked = self._asked(question, max_new_tokens, seed, temperature)
        router = _last(self._answered(asked, None))
        steered = _last(self._answered(asked, steering))  # the question is read once
        found = self.worker.call(lambda: compare(self.model, router, steered))
        return {
            "router": router.to_dict(),
            "steered": steered.to_dict(),
            "comparison": asdict(found),
        }

    def _steering(self, value: Sent) -> Steering:
        """A steering as it was sent; none = the router's own plan."""
        if isinstance(value, str):
            return self.of_link(value)
        return Steering() if value is None else Steering.from_dict(value)

    def _asked(self, question: str, max_new_tokens: int, seed: int, temperature: float) -> Question:
        """A question, checked, and how to answer it."""
        sampling = sampling_of(max_new_tokens, temperature, seed)
        prompt = self.worker.call(lambda: self.model.encode(question), short=True).text
        return Question(prompt, sampling)

    def _answered(self, asked: Question, steering: Sent) -> Generator[Record, None, None]:
        """The records of an answer as it grows, in line with everybody's answers."""
        steps = answer(self.shared.batching, asked, self._steering(steering))
        for progress in self.worker.run(self.shared.in_line(steps)):
            yield progress.record

    def _sent(self, value: Routed | Record, brief: bool) -> dict:
        """What goes out of a plan or a record: all of it, or what can be read at a glance."""
        return brief_of(value, self.model.info.language) if brief else value.to_dict()


def _switch(brief: object) -> bool:
    """A switch as it was sent.

    Raises:
        DataError: it is neither true nor false; Python takes any text for true.
    """
    if not isinstance(brief, bool):
        raise DataError(f"brief is true or false, and not {brief!r}.")
    return brief


def _last(steps: Iterator[T]) -> T:
    """The last of at least one."""
    (last,) = deque(steps, maxlen=1)
    return last
