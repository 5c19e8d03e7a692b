"""One thread owns the model; everybody else reads from queues.

Gradio may take each step of a generator on another thread, where context variables and
`torch.inference_mode` of the step before are gone, and tokenizers are not safe to share between
threads. So every step of every job is made here, in rounds: one step of each answer that streams
(whose tokens are made together, by `atmoe.answer.batching`), then perhaps one of other work.

    Answers come first: while any streams, everything else together gets a tenth of the time, one
    step at a time, in turn.

    answers      ─► [waiting, in order] ─► at most as many at once as the batch has rows;
                                           one begins in a round, and reads its question in
                                           pieces before the next one begins
    other work   ─► [waiting, in order] ─► at most four at once, for their memory

What nobody asked for has what time is left, one job after the other, and no step of it is made
while anything above is there:

    unasked      ─► [waiting, in order] ─► one at once; what of it will be wanted first
    idle         ─► [waiting, in order] ─► one at once; the rest, once nobody waits for the former
    many         ─► [waiting, in order] ─► one at once; hundreds of questions of one person take
                                           what time all others leave
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue
from typing import Literal, TypeVar, overload

from app.job import Behind, Job, Kind, Waiting, one_step
from atmoe.answer.batching import MOST_ROWS
from atmoe.errors import ClosingError
from atmoe.mixture.memory import give_back_memory

T = TypeVar("T")

CLOSING_SECONDS = 20
"""How long the end of the program waits for the step under way."""
SHARE = 0.1
"""Of the time, for other work while answers stream."""
OTHERS_AT_ONCE = 4
IDLE_SECONDS = 3
"""After so long without anybody, the system is given back what hundreds of people's threads and
answers took."""


LATE = 0.2
"""What the newest beginning counts in the pace at which a line moves."""
CLOSING = "This page is being restarted; ask again in a minute."


class _Lane:
    """Jobs of one kind: at most `places` under way, the others waiting in the order they came.

    Attributes:
        pace: seconds from one beginning to the next while somebody waits; None = not seen yet.
    """

    def __init__(self, places: int, clock: Callable[[], float]):
        self.places = places
        self.under_way: deque[Job] = deque()
        self.waiting: deque[Job] = deque()
        self.pace: float | None = None
        self._clock = clock
        self._began: float | None = None  # the last one, where others have waited ever since

    def join(self, job: Job) -> None:
        """Have a job wait behind whoever came before it: they may reach this thread otherwise."""
        at = len(self.waiting)
        while at and self.waiting[at - 1].came > job.came:
            at -= 1
        self.waiting.insert(at, job)

    def admit(self, most: int) -> None:
        """Let some begin, as far as there are places, and tell the others where they stand.

        Args:
            most: at most so many.
        """
        for jobs in (self.waiting, self.under_way):
            for job in [job for job in jobs if job.cancelled]:
                jobs.remove(job)
                job.advance()  # whoever reads it comes to its end, however long its next turn is
        beginning = min(most, len(self.waiting), self.places - len(self.under_way))
        for _ in range(beginning):
            self.under_way.append(self.waiting.popleft())
        self._timed(beginning)
        for before, job in enumerate(self.waiting):
            job.wait(before, self.pace)

    def _timed(self, beginning: int) -> None:
        """See how fast the line moves."""
        now = self._clock()
        if beginning and self._began is not None:
            each = (now - self._began) / beginning
            self.pace = each if self.pace is None else self.pace + LATE * (each - self.pace)
        if not self.waiting:
            self._began = None
        elif beginning or self._began is None:
            self._began = now


class Worker:
    """A daemon thread that makes the steps of all jobs, in rounds."""

    def __init__(
        self, answers_at_once: int = MOST_ROWS, clock: Callable[[], float] = time.perf_counter
    ):
        # a job; None = close; a number = begin nothing more, and close at that time at the latest
        self._arrivals: SimpleQueue[Job | float | None] = SimpleQueue()
        self._until: float | None = None
        self._answers, self._others = _Lane(answers_at_once, clock), _Lane(OTHERS_AT_ONCE, clock)
        self._unasked, self._idle, self._many = (_Lane(1, clock) for _ in range(3))
        self._lanes = {
            Kind.ANSWER: self._answers,
            Kind.OTHER: self._others,
            Kind.UNASKED: self._unasked,
            Kind.IDLE: self._idle,
            Kind.MANY: self._many,
        }
        self._clock = clock
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()
        # A thread that is still inside torch when the interpreter goes takes the process down with
        # an abort.
        atexit.register(self.close)

    @property
    def open(self) -> bool:
        """Whether it still begins jobs."""
        return self._thread.is_alive() and self._until is None

    def close(self) -> None:
        """Let the thread end after the step under way, and whoever reads jobs come to their end."""
        self._arrivals.put(None)
        self._thread.join(CLOSING_SECONDS)

    def finish(self, seconds: float) -> None:
        """Let what was asked for and has begun come to its end, and wait for that.

        Whoever waits for a place, or comes now, is told that the page is being restarted.

        Args:
            seconds: at most; what is not done by then ends as if it were stopped.
        """
        self._arrivals.put(self._clock() + seconds)
        self._thread.join(seconds + CLOSING_SECONDS)

    def give(self, job: Job) -> None:
        """Have a job made, whether or not anybody reads its steps."""
        self._arrivals.put(job)

    @overload
    def run(self, job: Job[T], waiting: Literal[False] = False) -> Generator[T, None, None]: ...

    @overload
    def run(
        self, job: Job[T], waiting: Literal[True]
    ) -> Generator[T | Waiting | Behind, None, None]: ...

    def run(
        self, job: Job[T], waiting: bool = False
    ) -> Generator[T | Waiting | Behind, None, None]:
        """Iterate a job's steps. Leaving the loop early, or closing it, cancels the job.

        Args:
            job: whose.
            waiting: before the first step, say each second and at each change how many will begin
                before it; and after it, what is made before the next one where that takes long.
        """
        self.give(job)
        try:
            for step in job.read():
                if waiting or not isinstance(step, Waiting | Behind):
                    yield step
        finally:
            job.cancel()

    def call(self, function: Callable[[], T], short: bool = False) -> T:
        """A function's result, computed on the worker's thread.

        Args:
            function: takes nothing.
            short: compute it before the next step; else it is other work.
        """
        return next(self.run(Job(one_step(function), Kind.CALL if short else Kind.OTHER)))

    def _work(self) -> None:
        answers, others, owed = self._answers, self._others, 0.0
        while self._arrive():
            # 1. who may begin: one answer, and while it reads its question none
            answers.admit(0 if any(job.reading for job in answers.under_way) else 1)
            for lane in (others, self._unasked, self._idle, self._many):
                lane.admit(lane.places)
            # 2. one step of each answer
            began = self._clock()
            for job in tuple(answers.under_way):
                self._step(job, answers)
            spent = self._clock() - began
            # 3. one step of other work, where its share of the time is due
            # Time is owed only while both are at work: nobody saves up a share of the time when
            # nothing was asked of it.
            streaming = bool(answers.under_way or answers.waiting)
            owed = owed + spent * SHARE / (1 - SHARE) if others.under_way and streaming else 0.0
            if others.under_way and (owed > 0 or not streaming):
                began = self._clock()
                self._step(others.under_way[0], others)
                owed -= self._clock() - began
            # 4. one step of what can wait, where nobody waits for anything else
            made = Kind.ANSWER if streaming else Kind.OTHER if others.under_way else None
            for lane in (self._unasked, self._idle, self._many):
                for job in tuple(lane.under_way)[:1]:
                    if made is None:
                        made = job.kind
                        self._step(job, lane)
                    else:
                        job.passed(made, self._clock())

    def _step(self, job: Job, lane: _Lane) -> None:
        """One step of a job under way; then it is the last in its lane, or in that of its rest."""
        lane.under_way.remove(job)
        if job.advance():
            now = self._lanes[job.kind]
            # The rest of an answer need not wait in line.
            line = now.waiting if job.kind is Kind.IDLE and now is not lane else now.under_way
            line.append(job)

    def _arrive(self) -> bool:
        """Take in whoever came; wait for somebody where there is nothing to do.

        Returns:
            Whether to go on.
        """
        while not self._jobs() or not self._arrivals.empty():
            if self._until is not None and not self._jobs() and self._arrivals.empty():
                return False
            arrived = self._next()
            if arrived is None:
                return self._end()
            if isinstance(arrived, float):
                self._until = arrived
                self._begin_nothing()
            elif arrived.kind is Kind.CALL:
                while arrived.advance():
                    pass
            elif self._until is not None:
                arrived.refuse(ClosingError(CLOSING))
            else:
                self._lanes[arrived.kind].join(arrived)
        if self._until is not None and self._clock() >= self._until:
            return self._end()
        return True

    def _end(self) -> Literal[False]:
        """Have whoever reads jobs come to their end."""
        for job in self._jobs():
            job.cancel()
            job.advance()
        return False

    def _begin_nothing(self) -> None:
        """Leave what was asked for and has begun, and nothing else."""
        for lane in self._lanes.values():
            while lane.waiting:
                lane.waiting.popleft().refuse(ClosingError(CLOSING))
        for lane in (self._unasked, self._idle, self._many):
            while lane.under_way:
                lane.under_way.popleft().refuse(ClosingError(CLOSING))

    def _next(self) -> Job | float | None:
        """Whoever comes next."""
        try:
            return self._arrivals.get(timeout=IDLE_SECONDS)
        except Empty:
            give_back_memory()
            return self._arrivals.get()

    def _jobs(self) -> list[Job]:
        """Whoever is under way or waits."""
        return [job for lane in self._lanes.values() for job in (*lane.under_way, *lane.waiting)]
