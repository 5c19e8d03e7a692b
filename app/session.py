"""What one browser tab is about: a question, and up to three answers to it.

    first    under the router's plan
    second   under the steered plan; there is none while nothing is steered
    third    beside them, under no steering of a person's

Whatever else a part of the page knows of a tab is a state of its own, `session.tab(ItsState)`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar, cast

from app.controls import Controls
from app.job import Job
from app.whose import answer_key
from app.wording import SECOND
from atmoe import Record, RoutingPlan, Sampling, Steering
from atmoe.answer.kept import Kept
from atmoe.answer.remembered import Remembered
from atmoe.explanation.coherence import Coherence
from atmoe.sources.value import Found

T = TypeVar("T")

ANSWERS = 4
"""So many of the last answers to a question are looked at to guess how the next goes on."""


@dataclass
class Question:
    """A question and how to answer it.

    Attributes:
        router_plan: filled in by the first answer's prefill.
        kept: filled in by the same.
        anew: decode it though the answer is known.
        caution: a sentence to be read before its answers.
        found: what the model's index says of it, filled in with the plan; None = not measured.
        shown: whether the page was told of the plan once it was there.
        written: tokens of the last answers to it, the oldest first; those under way grow.
    """

    prompt: str
    sampling: Sampling
    router_plan: RoutingPlan | None = None
    kept: Kept = field(default_factory=Kept)
    anew: bool = False
    caution: str = ""
    found: Found | None = None
    shown: bool = False
    written: deque[Sequence[int]] = field(default_factory=lambda: deque(maxlen=ANSWERS))

    def key(self, steering: Steering) -> str:
        """Of its answer under a steering (`app.whose`)."""
        return answer_key(self.prompt, self.sampling, steering)


@dataclass(frozen=True)
class Progress:
    """An answer so far.

    Attributes:
        ended: False while tokens are still coming.
        whole: how the answer reads, once ended; None where it holds no words.
        opening: the same of its first tokens, as many as a cohort's answers had.
    """

    record: Record
    ended: bool = False
    whole: Coherence | None = None
    opening: Coherence | None = None


@dataclass
class Making(Generic[T]):
    """Something that a job makes.

    Attributes:
        job: is also its own epoch: a job that is no longer here is stale.
    """

    job: Job[T] | None = None

    @property
    def going(self) -> bool:
        """Whether more will come of it."""
        return self.job is not None and not (self.job.over or self.job.cancelled)

    def cancel(self) -> None:
        """Stop after the step under way; what is there stays."""
        if self.job is not None:
            self.job.cancel()


@dataclass
class Slot(Making[Progress]):
    """One answer: the job that makes it, and the record that came out so far.

    Attributes:
        shown: what the page was told of it last.
    """

    record: Record | None = None
    shown: Progress | None = None

    @property
    def ended(self) -> bool:
        """Whether the answer is there, to its end or as far as it was let grow.

        One that came with a record has no job.
        """
        if self.record is None:
            return False
        return self.job is None or self.record.finish != "cancelled" or self.job.cancelled

    def grow(self, record: Record) -> None:
        """Take the answer as far as it is now; what was measured of it meanwhile stays."""
        held = self.record
        if held is not None and held.plan is record.plan:
            measured = held.explanation or record.explanation, held.response or record.response
            record = replace(record, explanation=measured[0], response=measured[1])
        self.record = record

    def clear(self) -> None:
        """Stop the answer, and take it away."""
        self.cancel()
        self.job = self.record = self.shown = None


class TabState(Protocol):
    """What one part of the page keeps of a session. Made without arguments, at its first use.

    One that has to do with questions of its own says so by `of_its_own = True`.
    """

    def cancel(self) -> None:
        """Stop whatever is being made for it."""


StateT = TypeVar("StateT", bound=TabState)


@dataclass
class Session:
    """The state of one browser tab.

    Attributes:
        controls: what the steering controls are set to.
        heard: the number that the browser gave what it sent last.
        first: the answer under the router's plan.
        second: the steered one; no job while nothing is steered.
        third: the answer beside them.
        known: answers given in this tab.
        name: by which a reload of its tab finds it again, and nobody else; "" until it has one.
        tabs: the states of the parts of the page, by type.
    """

    question: Question | None = None
    controls: Controls = field(default_factory=Controls)
    heard: int = 0
    first: Slot = field(default_factory=Slot)
    second: Slot = field(default_factory=Slot)
    third: Slot = field(default_factory=Slot)
    known: Remembered[Record] = field(default_factory=Remembered)
    name: str = ""
    tabs: dict[type[TabState], TabState] = field(default_factory=dict)

    @property
    def steering(self) -> Steering:
        """What is in force."""
        return self.controls.steering

    def tab(self, kind: type[StateT]) -> StateT:
        """The state of that type."""
        return cast(StateT, self.tabs.setdefault(kind, kind()))

    def chosen(self, which: str) -> Slot:
        """One of the first two answers, by the name it has where it is chosen."""
        return self.second if which == SECOND else self.first

    def stop(self) -> None:
        """Abandon whatever is being made of the question, at the next token."""
        for making in self._makings():
            if not getattr(making, "of_its_own", False):
                making.cancel()

    def _makings(self) -> list[Slot | TabState]:
        """Whatever may be under way."""
        return [self.first, self.second, self.third, *self.tabs.values()]

    def closed(self) -> None:
        """Its tab was closed: let go of what can be made again, should somebody come back.

        Who waits in line leaves it. Gradio closes the generator of a closed tab only once it is
        told something, which takes seconds where many wait.
        """
        for slot in (self.first, self.second, self.third):
            if slot.job is not None and not slot.job.begun:
                slot.job.cancel()
        if self.question is not None:
            self.question.kept.drop()

    def end(self) -> None:
        """Nobody comes back to it."""
        for making in self._makings():
            making.cancel()
        self.tabs.clear()  # and their files, at once

    def still_there(self, record: Record) -> bool:
        """Whether a record is still that of an answer shown.

        A plan is made anew for each answer.
        """
        records = (self.first.record, self.second.record, self.third.record)
        return any(shown is not None and shown.plan is record.plan for shown in records)

    def keep(self, record: Record, **measured: Any) -> None:
        """Add what was measured of an answer to its record, wherever that is held.

        Args:
            record: of the answer.
            measured: fields of `Record`.
        """
        for slot in (self.first, self.second):
            if slot.record is not None and slot.record.plan is record.plan:
                slot.record = replace(slot.record, **measured)
