"""One model at work: its worker, and the batch of everybody who asks it."""

from __future__ import annotations

import weakref

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

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
        _all.add(self)
        self.worker.give(Job(one_step(self.batching.warm)))
        if model.index is not None:
            self.worker.give(Job(one_step(model.index.warm)))


_all: weakref.WeakSet[Serving] = weakref.WeakSet()


def health(request: Request) -> JSONResponse:
    """Whether every model of this process can still answer, for a load balancer: 200 or 503."""
    well = all(serving.worker.alive for serving in _all)
    return JSONResponse({"status": "ok" if well else "a worker has ended"}, 200 if well else 503)


HEALTH = Route("/healthz", health)
