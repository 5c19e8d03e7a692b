"""One model at work: its worker, and the batch of everybody who asks it."""

from __future__ import annotations

import threading
import time
import weakref
from typing import ClassVar

from gradio.context import LocalContext
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

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
    """Whether every model of this process takes questions, for a load balancer: 200 or 503."""
    well = all(serving.worker.open for serving in _all)
    return JSONResponse({"status": "ok" if well else "closing"}, 200 if well else 503)


FINISHING_SECONDS, TELLING_SECONDS = 7.0, 1.5
"""So long answers under way may go on when the page is to end; and so long, at most, their last
words may take to whoever reads them. `docker stop` kills what is there after ten seconds."""
STREAMS = ("/gradio_api/call/", "/gradio_api/queue/data")
"""Where answers stream: to programs, and to the page."""


_CAME = "atmoe.came"


class Streaming:
    """Middleware that knows which answers are still being sent, and when each request came.

    Args:
        app: what answers requests.
    """

    under_way: ClassVar[set[int]] = set()

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope[_CAME] = time.monotonic()
        if any(path in scope.get("path", "") for path in STREAMS):
            self.under_way.add(id(scope))
        try:
            await self.app(scope, receive, send)
        finally:
            self.under_way.discard(id(scope))


def came() -> float:
    """When the request came that is being answered here; now, where there is none.

    Threads that answer hundreds who come at once get on as it happens, and wait for the worker to
    read their questions besides: by the time they join its line, their order is lost.
    """
    request = LocalContext.request.get(None)
    scope = getattr(getattr(request, "request", None), "scope", {})
    return scope.get(_CAME, time.monotonic())


def finish() -> None:
    """Let answers under way come to their end, and tell whoever waits that the page is going."""
    threads = [
        threading.Thread(target=serving.worker.finish, args=(FINISHING_SECONDS,))
        for serving in _all
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until = time.monotonic() + TELLING_SECONDS
    while Streaming.under_way and time.monotonic() < until:
        time.sleep(0.05)


HEALTH = Route("/healthz", health)
