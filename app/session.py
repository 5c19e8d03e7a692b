"""What one browser tab is about: a question, its answer under the router's plan, and one under a steered plan."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

from app.controls import Controls
from app.history import History
from app.replay import Replay
from app.worker import Job
from atmoe import AtMoe, Record, RoutingPlan, Sampling, Steering
from atmoe.compare import Comparison
from atmoe.doses import Response
from atmoe.kept import Kept


@dataclass
class Question:
    """A question and how to answer it. `router_plan` and `kept` are filled in by the first answer's prefill."""

    prompt: str
    sampling: Sampling
    router_plan: RoutingPlan | None = None
    kept: Kept = field(default_factory=Kept)


@dataclass(frozen=True)
class Progress:
    """An answer so far.  ended: False while tokens are still coming.
    logp: mean log-probability per token under the plan in force, once ended."""

    record: Record
    ended: bool = False
    logp: float | None = None


def answer(model: AtMoe, question: Question, steering: Steering) -> Generator[Progress, None, None]:
    """Answer a question token by token, then score the answer. To be iterated on the worker's thread only."""
    if steering.untouched:
        generation = model.generate([question.prompt], None, question.sampling, question.kept)
        question.router_plan = generation.plans[0]
    else:
        # The router's answer runs one turn ahead, so its plan is mostly there already.
        question.router_plan = question.router_plan or model.route(question.prompt, question.kept)
        generation = model.generate([question.prompt], [steering.apply(question.router_plan)], question.sampling,
                                    question.kept)
    for step in generation:
        record = Record.of(model, question.prompt, steering, question.router_plan, generation, step)
        yield Progress(record)
    logp = record.mean_logp(model, [record.plan])
    yield Progress(record, True, logp and logp[0])


@dataclass
class Session:
    """The state of one tab. A job is also its own epoch: one that is no longer here is stale.

    controls: what the steering controls are set to.  history: what they were set to before.
    first: the answer under the router's plan.  second: the steered one; None while nothing is steered.
    routed, steered: their records.  folder: holds the download, and goes when the session goes.
    compared: the plan of the steered answer that was compared.  comparison: what came out.
    replay: the opened record that is being answered again.
    dose: answers at five shares; response: what came out; dose_shown: which of the five is on show.
    why: measures what an answer depended on; explained: that answer's record, with what is known of it.
    """

    question: Question | None = None
    controls: Controls = field(default_factory=Controls)
    history: History = field(default_factory=History)
    first: Job[Progress] | None = None
    second: Job[Progress] | None = None
    routed: Record | None = None
    steered: Record | None = None
    folder: TemporaryDirectory | None = None
    compared: RoutingPlan | None = None
    comparison: Comparison | None = None
    replay: Replay | None = None
    dose: Job[Response] | None = None
    response: Response | None = None
    dose_shown: int = 0
    why: Job | None = None
    explained: Record | None = None

    @property
    def steering(self) -> Steering:
        """What is in force."""
        return self.controls.steering

    def stop(self) -> None:
        """Abandon whatever is being answered, at the next token."""
        for job in (self.first, self.second, self.why, self.dose):
            if job is not None:
                job.cancel()

    def ended(self, which: str) -> bool:
        """Whether the "first" or "second" answer is there, to its end or as far as it was let grow."""
        record, job = (self.routed, self.first) if which == "first" else (self.steered, self.second)
        return record is not None and job is not None and (record.finish != "cancelled" or job.cancelled)

    def still_there(self, record: Record) -> bool:
        """Whether a record is still that of one of the answers shown. A plan is made anew for each answer."""
        return any(shown is not None and shown.plan is record.plan for shown in (self.routed, self.steered))

    def keep(self, record: Record) -> None:
        """Let a record that has been explained stand for its answer."""
        self.explained = record
        for name in ("routed", "steered"):
            if (shown := getattr(self, name)) is not None and shown.plan is record.plan:
                setattr(self, name, record)

    def forget_explanation(self) -> None:
        """Stop measuring; a finished explanation stays with its record."""
        if self.why is not None:
            self.why.cancel()
        self.why = self.explained = None

    def forget_doses(self) -> None:
        """Stop answering at five shares, and take away what came out."""
        if self.dose is not None:
            self.dose.cancel()
        self.dose = self.response = None
