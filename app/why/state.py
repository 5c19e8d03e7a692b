"""An explanation in the making: its phases as steps of a job, and what a session knows of it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

from app.job import LATER, Job, Kind, Turn
from app.session import Making
from app.wording import FIRST
from atmoe import AtMoe, Record
from atmoe.answer.pieces import telling
from atmoe.explanation.measure import completing, opening
from atmoe.explanation.smallest_change import searching
from atmoe.explanation.value import Explanation

T = TypeVar("T")

PHASES = (
    "reading the answer without each part",
    "thirds of the layers, Shapley values, noise floor",
    "looking for the smallest change",
)


@dataclass(frozen=True)
class WhyProgress:
    """How far an explanation is.

    Attributes:
        fraction: done, 0 to 1.
        phase: which of `PHASES` it is in.
        explanation: as far as it is there.
    """

    fraction: float
    phase: int
    explanation: Explanation | None = None

    @property
    def said(self) -> str:
        """The phase, and the fraction."""
        return f"{self.phase + 1} of {len(PHASES)}: {PHASES[self.phase]} · {self.fraction:.0%}"


@dataclass
class WhyState(Making[WhyProgress]):
    """What the tab knows of a session.

    Attributes:
        explained: the answer's record, with what is known of it.
        which: which answer that is.
        asked: whether a person waits for it.
        over: whether nothing more comes of the job.
        unit: whose words a person wants marked; None = those of the expert with most effect.
    """

    explained: Record | None = None
    which: str = FIRST
    asked: bool = False
    over: bool = True
    unit: str | None = None

    def begin(self, job: Job[WhyProgress], record: Record, which: str) -> None:
        """Measure an answer, and nothing else any more."""
        self.forget()
        self.asked, self.over = job.kind is Kind.OTHER, False
        self.job, self.explained, self.which, self.unit = job, record, which, None

    def pause(self) -> None:
        """Stop measuring; it goes on from there when the answer is due again."""
        self.cancel()
        self.job, self.asked, self.over = None, False, True

    def forget(self) -> None:
        """Stop measuring; a finished explanation stays with its answer's record."""
        self.pause()
        self.explained = None

    @property
    def measured(self) -> bool:
        """Whether all of it is known."""
        known = None if self.explained is None else self.explained.explanation
        return self.over and known is not None and known.complete and known.changes is not None

    def keep(self, record: Record, explanation: Explanation) -> None:
        """Add what was measured to the record, where it is still this one."""
        if self.is_about(record):
            self.explained = replace(record, explanation=explanation)

    def is_about(self, record: Record) -> bool:
        """Whether the answer explained is that one."""
        return self.explained is not None and self.explained.plan is record.plan


def why(model: AtMoe, record: Record) -> Generator[WhyProgress | Turn, None, None]:
    """Explain a record, then look for the smallest change; what it holds already is not repeated.

    To be iterated on the worker's thread only.
    """
    # 1. what is read first
    explanation = record.explanation
    if explanation is None:
        explanation = yield from _as_progress(opening(model, record), 0.0, 0.3, 0)
    yield WhyProgress(0.3, 1, explanation)
    yield LATER
    # 2. the rest of it
    if not explanation.complete:
        rest = completing(model, record, explanation)
        explanation = yield from _as_progress(rest, 0.3, 0.65, 1)
        yield WhyProgress(0.65, 2, explanation)
    # 3. the smallest change
    if explanation.changes is None:
        changes = yield from _as_progress(searching(model, record), 0.65, 1.0, 2)
        explanation = replace(explanation, changes=changes)
    yield WhyProgress(1.0, 2, explanation)


def _as_progress(
    steps: Generator[float, None, T], begin: float, end: float, phase: int
) -> Generator[WhyProgress, None, T]:
    """Fractions of one part of the work, as progress of the whole."""
    return telling(steps, lambda fraction: WhyProgress(begin + (end - begin) * fraction, phase))
