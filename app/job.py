"""Steps to be made by the worker, and what their reader is told meanwhile.

a generator ─► Job ─► advance, on the worker's thread ─► queue ─► read, on any other
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

STILL_SECONDS, A_PERSON = 1.0, 0.05
"""Who waits is told again after so long, and so much longer for each who is before: a generator
that is asked for its next value cannot be closed, and a browser tab that was closed must not keep
its place. Hundreds who are told every second would take the time that they wait for."""
EXACT = 20
"""Who has more before is told at every tenth."""


class Turn(Enum):
    """The type of `LATER` and `READING`, which whoever reads a job is not told."""

    LATER, READING = "later", "reading"


LATER = Turn.LATER
"""Yielded by a job's steps: what is left of them can wait, and the place is free. What is left of
an answer is other work; what is left of unasked work is for idle times."""
READING = Turn.READING
"""Yielded by a job's steps between two pieces of its question: others go on, and none of its kind
begins."""


@dataclass(frozen=True)
class Waiting:
    """A job that has not begun.

    Attributes:
        before: how many of its kind will begin before it.
        seconds: about how long that takes, at the pace of late; None = nobody has waited yet whose
            place came free.
    """

    before: int
    seconds: float | None = None

    @property
    def told_again(self) -> float:
        """After how many seconds."""
        return STILL_SECONDS + A_PERSON * self.before


class Kind(Enum):
    """What a job is, in the order in which they come.

    A call too short to wait; an answer that streams; other work; what nobody asked for, but will be
    wanted first when somebody does; the rest of that; many questions of one person.
    """

    CALL, ANSWER, OTHER, UNASKED, IDLE = "call", "answer", "other", "unasked", "idle"
    MANY = "many"


REST = {Kind.ANSWER: Kind.OTHER, Kind.UNASKED: Kind.IDLE}
"""What is left of a job after `LATER`, where that is another kind."""


BEHIND_SECONDS = 1.0
"""Who has a place is told what it waits for where no step of it was made for so long."""


@dataclass(frozen=True)
class Behind:
    """A job that has a place, and of which no step is made for a while.

    Attributes:
        what: is made before it; None = it goes on.
    """

    what: Kind | None

    @property
    def told_again(self) -> float:
        """After how many seconds."""
        return STILL_SECONDS


class Job(Generic[T]):
    """Steps still to be made. Nothing runs before a worker is given the job.

    Args:
        steps: what is to be made.
        kind: what it is.
        came: when it was asked for, in seconds of `time.monotonic`; default: now.
        of: which answer it makes (`app.whose`), where it makes one.

    Attributes:
        begun: whether its first step was made, or is under way.
        over: whether its last step was made.
        reading: whether its last step left its question half read.
    """

    def __init__(
        self,
        steps: Generator[T | Turn, None, None],
        kind: Kind = Kind.OTHER,
        came: float | None = None,
        of: str | None = None,
    ):
        self._steps, self.kind, self.of = steps, kind, of
        self.came = time.monotonic() if came is None else came
        self._queue: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._cancelled = threading.Event()
        self._claim = threading.Lock()
        self._before: int | None = None
        self._passed: float | None = None
        self._behind: Kind | None = None
        self.begun = self.over = self.reading = False

    def claim(self) -> bool:
        """True for the first caller only: whoever gets it may run the job."""
        return self._claim.acquire(blocking=False)

    def cancel(self) -> None:
        """Make no further step after the one under way; whoever reads them comes to their end."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def wait(self, before: int, pace: float | None = None) -> None:
        """Tell whoever reads the steps how many begin before it.

        Args:
            before: so many.
            pace: seconds from one beginning to the next, where somebody waits.
        """
        told = self._before
        if told is None or (before != told and (before <= EXACT or before // 10 != told // 10)):
            self._before = before
            seconds = None if pace is None else pace * (before + 1)
            self._queue.put(("waiting", Waiting(before, seconds)))

    def passed(self, what: Kind, now: float) -> None:
        """A round was over without a step of it, on the worker's thread.

        Args:
            what: was made before it.
            now: in seconds of the worker's clock.
        """
        self._passed = now if self._passed is None else self._passed
        if now - self._passed >= BEHIND_SECONDS and what is not self._behind:
            self._behind = what
            self._queue.put(("waiting", Behind(what)))

    def refuse(self, error: Exception) -> None:
        """End it with an error, on the worker's thread, in the place of its next step."""
        self._steps.close()
        self.over = True
        self._queue.put(("error", error))

    def advance(self) -> bool:
        """Make one step, on the worker's thread.

        Returns:
            Whether there may be another.
        """
        if self._behind is not None:
            self._queue.put(("waiting", Behind(None)))
        self._passed = self._behind = None
        try:
            if not self.cancelled:
                self.begun = True
                step = next(self._steps)
                self.reading = step is READING
                if step is LATER:
                    self.kind = REST.get(self.kind, self.kind)
                elif not self.reading:
                    self._queue.put(("step", step))
                return True
            self._steps.close()
            last: tuple[str, Any] = ("end", None)
        except StopIteration:
            last = ("end", None)
        except BaseException as error:
            # Whoever reads the job must learn of it, and the thread must live on.
            last = ("error", error)
        self.over = True
        self._queue.put(last)
        return False

    def read(self) -> Iterator[T | Waiting | Behind]:
        """The steps as they are made.

        Yields:
            Before the first step, how long the wait is; then the steps, and what is made before
            them where that takes long.

        Raises:
            BaseException: whatever making them raised.
        """
        waiting: Waiting | Behind | None = None
        while True:
            try:
                kind, value = self._queue.get(
                    timeout=None if waiting is None else waiting.told_again
                )
            except Empty:
                assert waiting is not None  # or there would have been no time limit
                yield waiting
                continue
            waiting = value if kind == "waiting" and value != Behind(None) else None
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value


def one_step(function: Callable[[], T]) -> Generator[T, None, None]:
    """A call, as the steps of a job."""
    yield function()
