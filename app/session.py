"""What one browser tab is about: a question, and up to three answers to it.

    first    under the router's plan
    second   under the steered plan; there is none while nothing is steered
    third    beside them, under no steering of a person's

Whatever else a part of the page knows of a tab is a state of its own, `session.tab(ItsState)`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any, Generic, Protocol, TypeVar, cast

from app.controls import Controls
from app.worker import LATER, Job, Later
from atmoe import Record, RoutingPlan, Sampling, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.generation import in_words
from atmoe.answer.kept import Kept
from atmoe.answer.remembered import Remembered
from atmoe.explanation.coherence import SAMPLING, Coherence, coherence
from atmoe.mixture.mixture import Mixture

T = TypeVar("T")
FROM_LINK = "from a link"
"""What the record of an answer that came with a link adds to what decoded it."""


@dataclass
class Question:
    """A question and how to answer it.

    Attributes:
        router_plan: filled in by the first answer's prefill.
        kept: filled in by the same.
        anew: decode it though the answer is known.
        caution: a sentence to be read before its answers.
    """

    prompt: str
    sampling: Sampling
    router_plan: RoutingPlan | None = None
    kept: Kept = field(default_factory=Kept)
    anew: bool = False
    caution: str = ""


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


def answer(
    batching: Batching,
    question: Question,
    steering: Steering,
    known: Remembered | None = None,
    plan_of: Callable[[RoutingPlan], RoutingPlan] | None = None,
    opening_tokens: int = SAMPLING.max_new_tokens,
) -> Generator[Progress | Later, None, None]:
    """Answer a question token by token, then score the answer.

    To be iterated on the worker's thread only.

    Args:
        batching: of all users.
        question: what is asked; its plan is filled in.
        steering: of the answer.
        known: answers given before, which are given again at once, and where this one is kept.
        plan_of: the plan to answer under, made of the router's; default: the steering's.
        opening_tokens: of `Progress.opening`.

    Yields:
        The answer so far, at each token; `LATER`; the whole answer, measured.
    """
    model, plan = batching.model, None
    known = Remembered() if known is None else known

    # 1. the plan
    if not steering.untouched or plan_of is not None:
        # The router's answer runs one turn ahead, so its plan is mostly there already.
        question.router_plan = question.router_plan or batching.route(
            question.prompt, question.kept
        )
        plan = (plan_of or steering.apply)(question.router_plan)

    # 2. what is known is given again
    key = known.key(model, question.prompt, plan, question.sampling)
    remembered = None if question.anew else known.get(key)
    if remembered is not None:
        record, measured = remembered
        question.router_plan = question.router_plan or record.router_plan
        yield Progress(record.again(steering, question.router_plan), True, *measured)
        return

    # 3. the rest is decoded
    with closing(batching.add(question.prompt, plan, question.sampling, question.kept)) as row:
        question.router_plan = question.router_plan or row.plans[0]
        for step in row:
            record = Record.of(model, question.prompt, steering, question.router_plan, row, step)
            yield Progress(record)

    # 4. and measured
    yield LATER
    measured = _measured(model, record, opening_tokens)
    known.put(key, record, measured)
    yield Progress(record, True, *measured)


@dataclass(frozen=True)
class Given:
    """An answer that came from outside: to be shown, and not decoded.

    Attributes:
        finish: how it ended, as in its record.
        versions: of what computed it there.
        base: of the base that answered there.
    """

    tokens: tuple[int, ...]
    finish: str
    versions: Mapping[str, str]
    base: Mapping[str, str]


def given(
    batching: Batching,
    question: Question,
    steering: Steering,
    outside: Given,
    opening_tokens: int = SAMPLING.max_new_tokens,
) -> Generator[Progress | Later, None, None]:
    """An answer from outside under the plan that it says it was given under, and measured here.

    Its plan is the one that this model's router gives, steered as it says; its record says that it
    was not decoded here. It is not remembered, so that nobody is given it as an answer of ours.

    To be iterated on the worker's thread only.

    Args:
        batching: of all users.
        question: what it answers; its plan is filled in.
        steering: of the answer.
        outside: the answer.
        opening_tokens: of `Progress.opening`.

    Yields:
        The answer; `LATER`; the answer, measured.
    """
    model = batching.model
    # 1. the plan
    question.router_plan = question.router_plan or batching.route(question.prompt, question.kept)
    router_plan = question.router_plan
    plan = replace(router_plan if steering.untouched else steering.apply(router_plan))

    # 2. the record
    engine = outside.versions.get("engine", "not told").removesuffix(f", {FROM_LINK}")
    settings = asdict(question.sampling)
    record = Record(
        prompt=question.prompt,
        answer=in_words(model, outside.tokens),
        answer_tokens=outside.tokens,
        model={"name": model.info.name, "sha256": model.info.sha256},
        seed=settings.pop("seed"),
        sampling=settings,
        router_plan=router_plan,
        plan=plan,
        finish=outside.finish,
        base=outside.base,
        steering=steering,
        timings={},
        versions={**outside.versions, "engine": f"{engine}, {FROM_LINK}"},
    )
    yield Progress(record)

    # 3. and measured
    yield LATER
    yield Progress(record, True, *_measured(model, record, opening_tokens))


def _measured(
    model: Mixture, record: Record, opening_tokens: int
) -> tuple[Coherence | None, Coherence | None]:
    """How an answer reads, all of it and its first tokens."""
    opening = coherence(model, record, opening_tokens)
    longer = opening is not None and opening.tokens < len(record.answer_tokens)
    whole = coherence(model, record, len(record.answer_tokens)) if longer else opening
    return whole, opening


@dataclass
class Making(Generic[T]):
    """Something that a job makes.

    Attributes:
        job: is also its own epoch: a job that is no longer here is stale.
    """

    job: Job[T] | None = None

    def cancel(self) -> None:
        """Stop after the step under way; what is there stays."""
        if self.job is not None:
            self.job.cancel()


@dataclass
class Slot(Making[Progress]):
    """One answer: the job that makes it, and the record that came out so far."""

    record: Record | None = None

    @property
    def ended(self) -> bool:
        """Whether the answer is there, to its end or as far as it was let grow.

        One that came with a record has no job.
        """
        if self.record is None:
            return False
        return self.job is None or self.record.finish != "cancelled" or self.job.cancelled

    def clear(self) -> None:
        """Stop the answer, and take it away."""
        self.cancel()
        self.job = self.record = None


class TabState(Protocol):
    """What one part of the page keeps of a session. Made without arguments, at its first use."""

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
        folder: holds the download, and goes when the session goes.
        known: answers given in this tab.
        tabs: the states of the parts of the page, by type.
    """

    question: Question | None = None
    controls: Controls = field(default_factory=Controls)
    heard: int = 0
    first: Slot = field(default_factory=Slot)
    second: Slot = field(default_factory=Slot)
    third: Slot = field(default_factory=Slot)
    folder: TemporaryDirectory | None = None
    known: Remembered[Record] = field(default_factory=Remembered)
    tabs: dict[type[TabState], TabState] = field(default_factory=dict)

    @property
    def steering(self) -> Steering:
        """What is in force."""
        return self.controls.steering

    def tab(self, kind: type[StateT]) -> StateT:
        """The state of that type."""
        return cast(StateT, self.tabs.setdefault(kind, kind()))

    def stop(self) -> None:
        """Abandon whatever is being made, at the next token."""
        for making in (self.first, self.second, self.third, *list(self.tabs.values())):
            making.cancel()

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
