"""One thread owns the model; everybody else reads from queues.

Gradio may take each step of a generator on another thread, where context variables and
`torch.inference_mode` of the step before are gone, and tokenizers are not safe to share between
threads. So every step of every job is made here, in rounds: one step of each answer that streams
(whose tokens are made together, by `atmoe.answer.batching`), then perhaps one of other work.

    Answers come first: while any streams, everything else together gets a tenth of the time, one
    step at a time, in turn.

    answers      ─► [waiting, in order] ─► at most as many at once as the batch has rows;
                                           one begins in a round
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

from app.job import Job, Kind, Waiting, one_step
from atmoe.answer.batching import MOST_ROWS
from atmoe.answer.fused import give_back_memory

T = TypeVar("T")

CLOSING_SECONDS = 20
"""How long the end of the program waits for the step under way."""
SHARE = 0.1
"""Of the time, for other work while answers stream."""
OTHERS_AT_ONCE = 4
IDLE_SECONDS = 3
"""After so long without anybody, the system is given back what hundreds of people's threads and
answers took."""


class _Lane:
    """Jobs of one kind: at most `places` under way, the others waiting in the order they came."""

    def __init__(self, places: int):
        self.places = places
        self.under_way: deque[Job] = deque()
        self.waiting: deque[Job] = deque()

    def admit(self, most: int) -> None:
        """Let some begin, as far as there are places, and tell the others where they stand.

        Args:
            most: at most so many.
        """
        for jobs in (self.waiting, self.under_way):
            for job in [job for job in jobs if job.cancelled]:
                jobs.remove(job)
                job.advance()  # whoever reads it comes to its end, however long its next turn is
        for _ in range(min(most, len(self.waiting), self.places - len(self.under_way))):
            self.under_way.append(self.waiting.popleft())
        for before, job in enumerate(self.waiting):
            job.wait(before)


class Worker:
    """A daemon thread that makes the steps of all jobs, in rounds."""

    def __init__(
        self, answers_at_once: int = MOST_ROWS, clock: Callable[[], float] = time.perf_counter
    ):
        self._arrivals: SimpleQueue[Job | None] = SimpleQueue()
        self._answers, self._others = _Lane(answers_at_once), _Lane(OTHERS_AT_ONCE)
        self._unasked, self._idle, self._many = _Lane(1), _Lane(1), _Lane(1)
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
    def alive(self) -> bool:
        """Whether it still makes steps."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Let the thread end after the step under way, and whoever reads jobs come to their end."""
        self._arrivals.put(None)
        self._thread.join(CLOSING_SECONDS)

    def give(self, job: Job) -> None:
        """Have a job made, whether or not anybody reads its steps."""
        self._arrivals.put(job)

    @overload
    def run(self, job: Job[T], waiting: Literal[False] = False) -> Generator[T, None, None]: ...

    @overload
    def run(self, job: Job[T], waiting: Literal[True]) -> Generator[T | Waiting, None, None]: ...

    def run(self, job: Job[T], waiting: bool = False) -> Generator[T | Waiting, None, None]:
        """Iterate a job's steps. Leaving the loop early, or closing it, cancels the job.

        Args:
            job: whose.
            waiting: before the first step, say each second and at each change how many will begin
                before it.
        """
        self.give(job)
        try:
            for step in job.read():
                if waiting or not isinstance(step, Waiting):
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
            # 1. who may begin
            answers.admit(1)  # whose prompt the others wait for
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
            if not (streaming or others.under_way):
                for lane in (self._unasked, self._idle, self._many):
                    if lane.under_way:
                        self._step(lane.under_way[0], lane)
                        break

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
            arrived = self._next()
            if arrived is None:
                for job in self._jobs():
                    job.cancel()
                    job.advance()
                return False
            if arrived.kind is Kind.CALL:
                while arrived.advance():
                    pass
            else:
                self._lanes[arrived.kind].waiting.append(arrived)
        return True

    def _next(self) -> Job | None:
        """Whoever comes next."""
        try:
            return self._arrivals.get(timeout=IDLE_SECONDS)
        except Empty:
            give_back_memory()
            return self._arrivals.get()

    def _jobs(self) -> list[Job]:
        """Whoever is under way or waits."""
        return [job for lane in self._lanes.values() for job in (*lane.under_way, *lane.waiting)]
