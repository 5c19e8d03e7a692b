"""One thread owns the model; everybody else reads from queues.

Gradio may take each step of a generator on another thread, where context variables and `torch.inference_mode` of
the step before are gone, and tokenizers are not safe to share between threads. So every step of every job is made
here, in turns, one token each: two people both see their answers grow, and neither can disturb the other.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

CLOSING_SECONDS = 20
"""How long the end of the program waits for the step under way."""


class Job(Generic[T]):
    """Steps still to be made. Nothing runs before a worker is given the job."""

    def __init__(self, steps: Generator[T, None, None]):
        self._steps = steps
        self._made: SimpleQueue = SimpleQueue()
        self._cancelled = threading.Event()
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """True for the first caller only: whoever gets it may run the job."""
        return self._claim.acquire(blocking=False)

    def cancel(self) -> None:
        """No further step is made after the one under way, and whoever reads the steps comes to their end."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def advance(self) -> bool:
        """Make one step, on the worker's thread. → whether there may be another"""
        try:
            if not self.cancelled:
                self._made.put(("step", next(self._steps)))
                return True
            self._steps.close()
            self._made.put(("end", None))
        except StopIteration:
            self._made.put(("end", None))
        except BaseException as error:  # whoever reads the job must learn of it, and the thread must live on
            self._made.put(("error", error))
        return False

    def read(self) -> Iterator[T]:
        """The steps as they are made; raises what making them raised."""
        while True:
            kind, value = self._made.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value


class Worker:
    """A daemon thread that takes turns between the jobs under way, one step each."""

    def __init__(self):
        self._arrivals: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()
        # A thread that is still inside torch when the interpreter goes takes the process down with an abort.
        atexit.register(self.close)

    def close(self) -> None:
        """Let the thread end after the step under way; whoever reads its jobs comes to their end."""
        self._arrivals.put(None)
        self._thread.join(CLOSING_SECONDS)

    def run(self, job: Job[T]) -> Iterator[T]:
        """Iterate a job's steps. Leaving the loop early, or closing it, cancels the job."""
        self._arrivals.put(job)
        try:
            yield from job.read()
        finally:
            job.cancel()

    def call(self, function: Callable[[], T]) -> T:
        """A function's result, computed on the worker's thread."""
        return next(self.run(Job(function() for _ in range(1))))

    def _work(self) -> None:
        active: deque[Job] = deque()
        while True:
            while not active or not self._arrivals.empty():
                if (arrived := self._arrivals.get()) is None:
                    for job in active:
                        job.cancel()
                        job.advance()
                    return
                active.append(arrived)
            job = active.popleft()
            if job.advance():
                active.append(job)
