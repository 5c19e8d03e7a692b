"""Rows through the model, in batches: each under its own plan, and an error is its row's alone.

    rows ─ windows, each sorted by length ─► routed ─ in the rows' order ─► answered ─► explained

A window holds few batches, so that memory does not grow with the file, and little is lost by a
stop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import islice
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from atmoe.answer.generation import generate
from atmoe.answer.sampling import Sampling
from atmoe.errors import AtMoeError, PromptError
from atmoe.explanation import measure
from atmoe.many.brief import Brief, brief_of, how_asked, written_steering
from atmoe.many.routes import routes
from atmoe.many.rows import Row
from atmoe.model import AtMoe, Routed, Scored
from atmoe.prompt.template import Prompt
from atmoe.record import Record
from atmoe.steering.overrides import Steering
from atmoe.study.faithfulness import Judged

P = ParamSpec("P")
T = TypeVar("T")
Value = TypeVar("Value", Routed, Record, Scored, Judged)

ROUTED, ANSWERED = 16, 8
"""Rows of a batch that is routed, and of one that is answered."""
WINDOW = 4
"""Batches of a window."""

Written = tuple[dict[str, str], dict[str, Any]]
"""A row as it goes into a file: `Done.named`, and what came of it."""


@dataclass(frozen=True)
class Done(Generic[Value]):
    """A row that was worked on.

    Attributes:
        value: what came of it; None where nothing did. Of an answer that cannot be explained it is
            the record, without an explanation.
        error: why not all did, in a sentence; "" = all did.
    """

    row: Row
    value: Value | None = None
    error: str = ""
    _briefs: dict[str, Brief] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def named(self) -> dict[str, str]:
        """Its id, its question, and its error, where it has one."""
        error = {"error": self.error} if self.error else {}
        return {"id": self.row.id, "question": self.row.question, **error}

    def brief(self, language: str) -> Brief:
        """The brief of its value, made once; {} where there is none.

        Args:
            language: what the model learned from.
        """
        if language not in self._briefs:
            self._briefs[language] = {} if self.value is None else brief_of(self.value, language)
        return self._briefs[language]

    def written(self, whole: bool, language: str) -> Written:
        """It as it goes into a file; of a row without a value that is its own steering.

        Args:
            whole: all of its value, and not the brief of it.
            language: what the model learned from.
        """
        if self.value is None:
            own = written_steering(self.row.steering)
            return self.named, {"steering": own} if own else {}
        if whole:
            return self.named, self.value.to_dict()
        return self.named, how_asked(self.value) | self.brief(language)


class _Asked(NamedTuple):
    """A row that can be worked on."""

    row: Row
    prompt: Prompt
    steering: Steering


def routing_steps(
    model: AtMoe, rows: Iterable[Row], steering: Steering = Steering(), size: int = ROUTED
) -> Iterator[Done[Routed] | None]:
    """The plan of each row as steered, and where its question lies.

    Args:
        model: whose router reads.
        rows: in the order in which they come out.
        steering: of rows that bring none of their own.
        size: of a batch.

    Yields:
        None, a pause, after each batch; the rows.
    """
    for window in batches(rows, WINDOW * size):
        done: dict[int, Done[Routed]] = {}
        asked: list[tuple[int, _Asked]] = []
        for place, row in enumerate(window):
            try:
                asked.append((place, _asked(model, row, steering)))
            except AtMoeError as error:
                done[place] = Done(row, error=str(error))
        asked.sort(key=lambda item: len(item[1].prompt.ids))  # little padding
        for batch in batches(asked, size):
            plans = routes(model, [item.prompt for _, item in batch])
            for (place, (row, prompt, own)), plan in zip(batch, plans):
                done[place] = _attempt(row, model.steered, prompt.text, plan, own)
            yield None
        yield from (done[place] for place in range(len(window)))


def answering_steps(
    model: AtMoe,
    rows: Iterable[Row],
    steering: Steering = Steering(),
    sampling: Sampling = Sampling(),
    size: int = ANSWERED,
) -> Iterator[Done[Record] | None]:
    """The record of each row's answer; the arguments are those of `routing_steps`.

    A row is what its question is alone, to rounding. Nothing is timed: a batch's time is no row's.

    Yields:
        None, a pause, after each token of a batch; the rows.
    """
    held: list[Done[Routed]] = []
    for done in routing_steps(model, rows, steering, size):
        if done is None:
            yield None
            continue
        held.append(done)
        if len(held) == size:
            yield from _answered(model, held, sampling)
            held = []
    yield from _answered(model, held, sampling)


def explaining_steps(
    model: AtMoe,
    rows: Iterable[Row],
    steering: Steering = Steering(),
    sampling: Sampling = Sampling(),
    size: int = ANSWERED,
) -> Iterator[Done[Record] | None]:
    """The record of each row's answer with what it depended on; as `answering_steps` has it.

    The smallest changes of each group are not searched for: they take longer than all the rest.

    Yields:
        None, a pause, after each token and each part that was left out; the rows.
    """
    for done in answering_steps(model, rows, steering, sampling, size):
        if done is None or done.value is None:
            yield done
            continue
        try:
            explanation = yield from _pausing(measure.explaining(model, done.value))
            yield Done(done.row, replace(done.value, explanation=explanation))
        except AtMoeError as error:
            yield Done(done.row, done.value, str(error))


def scoring(
    model: AtMoe, rows: Iterable[Row], steering: Steering = Steering()
) -> Iterator[Done[Scored]]:
    """How likely each row's own answer is; the arguments are those of `routing_steps`."""

    def scored(row: Row) -> Scored:
        asked = _asked(model, row, steering)
        return model.scored(asked.prompt.text, row.answer, asked.steering)

    for row in rows:
        yield _attempt(row, scored, row)


def _pausing(steps: Generator[Any, None, T]) -> Generator[None, None, T]:
    """Steps, whatever they tell, as pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield None


def _answered(
    model: AtMoe, batch: Sequence[Done[Routed]], sampling: Sampling
) -> Iterator[Done[Record] | None]:
    """A batch of questions, each under its own plan; errors come through."""
    routed = [done.value for done in batch if done.value is not None]
    records: list[Record] = []
    if routed:
        prompts, plans = [r.prompt for r in routed], [r.plan for r in routed]
        own = [done.row.seed for done in batch if done.value is not None]
        seeds = [sampling.seed if seed is None else seed for seed in own]
        generation = generate(model, prompts, plans, sampling, seeds=seeds)
        for step in generation:
            last = step
            yield None
        for i, r in enumerate(routed):
            record = Record.of(
                model, r.prompt, r.steering, r.router_plan, generation, last, i, r.found
            )
            records.append(replace(model.flagged(record), timings={}, seed=seeds[i]))
    left = iter(records)
    for done in batch:
        yield Done(done.row, error=done.error) if done.value is None else Done(done.row, next(left))


def without_pauses(steps: Iterable[T | None]) -> Iterator[T]:
    """The rows alone."""
    return (step for step in steps if step is not None)


def _whole(steps: Callable[P, Iterator[T | None]]) -> Callable[P, Iterator[T]]:
    """The same work, without pauses."""

    @wraps(steps)
    def rows(*values: P.args, **named: P.kwargs) -> Iterator[T]:
        return without_pauses(steps(*values, **named))

    return rows


routing = _whole(routing_steps)
answering = _whole(answering_steps)
explaining = _whole(explaining_steps)


def _asked(model: AtMoe, row: Row, steering: Steering) -> _Asked:
    """A row, encoded.

    Raises:
        AtMoeError: it cannot be asked.
    """
    if row.error:
        raise PromptError(row.error)
    own = steering if row.steering is None else Steering.from_dict(row.steering)
    return _Asked(row, model.encode(row.question), own)


def _attempt(row: Row, make: Callable[..., Value], *arguments: Any) -> Done[Value]:
    """What is made of a row, or why it cannot be."""
    try:
        return Done(row, make(*arguments))
    except AtMoeError as error:
        return Done(row, error=str(error))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
