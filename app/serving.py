"""One model at work: its worker, and the batch of everybody who asks it."""

from __future__ import annotations

from app.job import Job, one_step
from app.worker import Worker
from atmoe import AtMoe
from atmoe.answer.batching import Batching


class Serving:
    """A model, with the one thread that owns it.

    Attributes:
        model: answers.
        worker: makes every step of it.
        batching: the rows under way.
    """

    def __init__(self, model: AtMoe):
        self.model, self.worker, self.batching = model, Worker(), Batching(model)
        self.worker.give(Job(one_step(self.batching.warm)))
        if model.index is not None:
            self.worker.give(Job(one_step(model.index.warm)))
