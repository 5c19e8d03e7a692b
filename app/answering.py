"""The steps of an answer: decoded here, or come from outside, and measured alike."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from app.job import LATER, READING, Turn
from app.session import Progress, Question
from atmoe import AtMoe, Record, RoutingPlan, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.generation import in_words
from atmoe.answer.pieces import telling
from atmoe.answer.remembered import Remembered
from atmoe.explanation.coherence import SAMPLING, Coherence, coherence
from atmoe.mixture.mixture import Mixture
from atmoe.record import FROM_LINK


def answer(
    batching: Batching,
    question: Question,
    steering: Steering,
    known: Remembered | None = None,
    plan_of: Callable[[RoutingPlan], RoutingPlan] | None = None,
    opening_tokens: int = SAMPLING.max_new_tokens,
) -> Generator[Progress | Turn, None, None]:
    """Answer a question token by token, and measure the answer.

    To be iterated on the worker's thread only.

    Args:
        batching: of all users.
        question: what is asked; its plan is filled in.
        steering: of the answer.
        known: answers given before, which are given again at once, and where this one is kept.
        plan_of: the plan to answer under, made of the router's; default: the steering's.
        opening_tokens: of `Progress.opening`.

    Yields:
        `READING`, between the pieces of a long question; the answer so far, at each token; the
        whole answer, measured.
    """
    model, plan = batching.model, None
    known = Remembered() if known is None else known

    # 1. the plan
    if not steering.untouched or plan_of is not None:
        # The router's answer runs one turn ahead, so its plan is mostly there already.
        router_plan = yield from _routed(batching, question)
        plan = (plan_of or steering.apply)(router_plan)

    # 2. what is known is given again
    key = known.key(model, question.prompt, plan, question.sampling)
    remembered = None if question.anew else known.get(key)
    if remembered is not None:
        record, measured = remembered
        question.written.append(record.answer_tokens)
        router_plan = yield from _routed(batching, question, record.router_plan)
        yield Progress(record.again(steering, router_plan), True, *measured)
        return

    # 3. the rest is decoded
    others = tuple(question.written)  # an answer under other shares goes as they do for a while
    beginning = batching.beginning(question.prompt, plan, question.sampling, question.kept, others)
    with closing((yield from telling(beginning, _reading))) as row:
        question.written.append(row.tokens)
        router_plan = yield from _routed(batching, question, row.plans[0])
        prompt = question.prompt
        for step in row:
            record = Record.of(
                model, prompt, steering, router_plan, row, step, found=question.found
            )
            yield Progress(record)

    # 4. and measured, by what its tokens had when they were chosen
    record = _flagged(model, record)
    measured = _measured(model, record, opening_tokens, row.logp)
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
) -> Generator[Progress | Turn, None, None]:
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
        `READING`, between the pieces of a long question; the answer; `LATER`; the answer, measured.
    """
    model = batching.model
    # 1. the plan
    router_plan = yield from _routed(batching, question)
    found = question.found
    plan = replace(router_plan if steering.untouched else steering.apply(router_plan))

    # 2. the record
    engine = outside.versions.get("engine", "not told").removesuffix(f", {FROM_LINK}")
    settings = asdict(question.sampling)
    question.written.append(outside.tokens)
    record = Record(
        prompt=question.prompt,
        answer=in_words(model, outside.tokens),
        answer_tokens=outside.tokens,
        model=model.info.named,
        seed=settings.pop("seed"),
        sampling=settings,
        router_plan=router_plan,
        plan=plan,
        finish=outside.finish,
        base=outside.base,
        steering=steering,
        timings={},
        versions={**outside.versions, "engine": f"{engine}, {FROM_LINK}"},
        familiarity=None if found is None else found.familiarity,
        nearest=None if found is None else found.nearest,
    )
    yield Progress(record)

    # 3. and measured
    yield LATER
    record = _flagged(model, record)
    yield Progress(record, True, *_measured(model, record, opening_tokens))


def _reading(_: None) -> Turn:
    """What is told between two pieces of a question."""
    return READING


def _routed(
    batching: Batching, question: Question, read: RoutingPlan | None = None
) -> Generator[Turn, None, RoutingPlan]:
    """The router's plan for a question; noted there, with what the model's index says of it.

    Args:
        batching: its model has an index where it is a whole `AtMoe`, loaded with one.
        question: is filled in, where it was not before.
        read: the router's plan, where somebody has it already; None = it is read now.
    """
    if question.router_plan is None:
        model = batching.model
        routing = batching.routing(question.prompt, question.kept)
        plan = read or (yield from telling(routing, _reading))
        if isinstance(model, AtMoe):  # before the plan: whoever sees that has both
            question.found = model.found(question.prompt, plan)
        question.router_plan = plan
    return question.router_plan


def _flagged(model: Mixture, record: Record) -> Record:
    """An answer's record, with what is flagged in it where that can be looked for."""
    return model.flagged(record) if isinstance(model, AtMoe) else record


def _measured(
    model: Mixture, record: Record, opening_tokens: int, logp: Sequence[float] | None = None
) -> tuple[Coherence | None, Coherence | None]:
    """How an answer reads, all of it and its first tokens; `logp` is that of `coherence`."""
    opening = coherence(model, record, opening_tokens, logp)
    longer = opening is not None and opening.tokens < len(record.answer_tokens)
    whole = coherence(model, record, len(record.answer_tokens), logp) if longer else opening
    return whole, opening
