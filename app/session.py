"""What one browser tab is about: a question, its answer under the router's plan, one under a steered plan, and a third beside them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

from app.share.replay import Replay
from app.steer.controls import Controls
from app.worker import LATER, Job
from atmoe import Record, RoutingPlan, Sampling, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.kept import Kept
from atmoe.answer.remembered import Remembered
from atmoe.explanation.coherence import SAMPLING, Coherence, coherence
from atmoe.explanation.compare import Comparison
from atmoe.explanation.response import Response
from atmoe.steering.reference import Beside


@dataclass
class Question:
    """A question and how to answer it. `router_plan` and `kept` are filled in by the first answer's prefill.
    anew: decode it though the answer is known.
    """

    prompt: str
    sampling: Sampling
    router_plan: RoutingPlan | None = None
    kept: Kept = field(default_factory=Kept)
    anew: bool = False


@dataclass(frozen=True)
class Progress:
    """An answer so far.  ended: False while tokens are still coming.
    whole: how the answer reads, once ended; None where it holds no words.  opening: the same of its first tokens, as many as
    a cohort's answers had.
    """

    record: Record
    ended: bool = False
    whole: Coherence | None = None
    opening: Coherence | None = None


def answer(
    batch: Batching,
    question: Question,
    steering: Steering,
    known: Remembered | None = None,
    plan_of: Callable[[RoutingPlan], RoutingPlan] | None = None,
    opening_tokens: int = SAMPLING.max_new_tokens,
) -> Generator[Progress, None, None]:
    """Answer a question token by token, then score the answer. To be iterated on the worker's thread only.

    batch: of all users.  known: answers given before, which are given again at once, and where this one is kept.
    plan_of: the plan to answer under, made of the router's; default: the steering's.  opening_tokens: of `Progress.opening`
    """
    model, plan = batch.model, None
    known = Remembered() if known is None else known
    if not steering.untouched or plan_of is not None:
        # The router's answer runs one turn ahead, so its plan is mostly there already.
        question.router_plan = question.router_plan or batch.route(question.prompt, question.kept)
        plan = (plan_of or steering.apply)(question.router_plan)
    key = known.key(model, question.prompt, plan, question.sampling)
    if (found := None if question.anew else known.get(key)) is not None:
        record, measured = found
        question.router_plan = question.router_plan or record.router_plan
        yield Progress(record.again(steering, question.router_plan), True, *measured)
        return
    with closing(batch.add(question.prompt, plan, question.sampling, question.kept)) as row:
        question.router_plan = question.router_plan or row.plans[0]
        for step in row:
            record = Record.of(model, question.prompt, steering, question.router_plan, row, step)
            yield Progress(record)
    yield LATER
    opening = coherence(model, record, opening_tokens)
    longer = opening is not None and opening.tokens < len(record.answer_tokens)
    measured = coherence(model, record, len(record.answer_tokens)) if longer else opening, opening
    known.put(key, record, measured)
    yield Progress(record, True, *measured)


@dataclass
class Session:
    """The state of one tab. A job is also its own epoch: one that is no longer here is stale.

    controls: what the steering controls are set to.  heard: the number that the browser gave what it sent last.
    first: the answer under the router's plan.  second: the steered one; None while nothing is steered.
    third: the answer beside them, under no steering of a person's; kind: under which plan.
    routed, steered, beside: their records.  folder: holds the download, and goes when the session goes.
    compared: the plans of the answers that were compared.  comparison: what came out.
    replay: the opened record that is being answered again.
    dose: answers at five shares; response: what came out; dose_shown: which of the five is on show.
    opened: the opened record that holds the response, where it was not measured here.
    why: measures what an answer depended on; explained: that answer's record, with what is known of it.
    known: answers given in this tab.
    """

    question: Question | None = None
    controls: Controls = field(default_factory=Controls)
    heard: int = 0
    first: Job[Progress] | None = None
    second: Job[Progress] | None = None
    routed: Record | None = None
    steered: Record | None = None
    third: Job[Progress] | None = None
    kind: Beside | None = None
    beside: Record | None = None
    folder: TemporaryDirectory | None = None
    compared: tuple[RoutingPlan, ...] = ()
    comparison: Comparison | None = None
    replay: Replay | None = None
    dose: Job[Response] | None = None
    response: Response | None = None
    dose_shown: int = 0
    opened: Record | None = None
    why: Job | None = None
    explained: Record | None = None
    known: Remembered = field(default_factory=Remembered)

    @property
    def steering(self) -> Steering:
        """What is in force."""
        return self.controls.steering

    def stop(self) -> None:
        """Abandon whatever is being answered, at the next token."""
        for job in (self.first, self.second, self.third, self.why, self.dose):
            if job is not None:
                job.cancel()

    def ended(self, which: str) -> bool:
        """Whether the "first", "second" or "third" answer is there, to its end or as far as it was let grow. One that came
        with a record has no job.
        """
        record, job = {
            "first": (self.routed, self.first),
            "second": (self.steered, self.second),
            "third": (self.beside, self.third),
        }[which]
        return record is not None and (job is None or record.finish != "cancelled" or job.cancelled)

    def still_there(self, record: Record) -> bool:
        """Whether a record is still that of one of the answers shown. A plan is made anew for each answer."""
        return any(
            shown is not None and shown.plan is record.plan
            for shown in (self.routed, self.steered, self.beside)
        )

    def keep(self, record: Record, **measured) -> None:
        """Add what was measured of an answer to its record, wherever that is held.  measured: fields of `Record`"""
        for name in ("routed", "steered", "explained"):
            if (held := getattr(self, name)) is not None and held.plan is record.plan:
                setattr(self, name, replace(held, **measured))

    def forget_explanation(self) -> None:
        """Stop measuring; a finished explanation stays with its record."""
        if self.why is not None:
            self.why.cancel()
        self.why = self.explained = None

    def forget_beside(self) -> None:
        """Stop the third answer, and take it away."""
        if self.third is not None:
            self.third.cancel()
        self.third = self.kind = self.beside = None

    def forget_doses(self) -> None:
        """Stop answering at five shares, and take away what came out."""
        if self.dose is not None:
            self.dose.cancel()
        self.dose = self.response = self.opened = None

    def take_over(self) -> None:
        """What an opened record's doses say of the router's answer is true of this one where it came out the same."""
        if (
            self.opened is not None
            and self.routed is not None
            and self.routed.answer_tokens == self.opened.answer_tokens
        ):
            self.routed = replace(self.routed, response=self.opened.response)
