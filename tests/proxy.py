"""A reverse proxy that shows another server below a path, as the nginx of app/README.md does."""

import threading
import time
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from atmoe.bench.served import connected, free_port

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@contextmanager
def proxied(address: str, path: str):
    """The address at which `address` is seen below `path`; what is outside of it is 404."""
    client = connected(address)

    async def forward(request):
        rest = request.url.path.removeprefix(path) or "/"
        sent = client.build_request(
            request.method,
            httpx.URL(path=rest, query=request.url.query.encode()),
            headers=[(k, v) for k, v in request.headers.items() if k not in HOP],
            content=await request.body(),
        )
        answer = await client.send(sent, stream=True)
        headers = {k: v for k, v in answer.headers.items() if k not in HOP}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)

    async def icon(request):  # a browser asks every host for one, by itself
        return Response(status_code=204)

    async def nothing(request):
        return PlainTextResponse("outside", 404)

    verbs = ["GET", "POST", "OPTIONS", "HEAD", "DELETE"]
    routes = [
        Route(path + "/{rest:path}", forward, methods=verbs),
        Route("/favicon.ico", icon),
        Route("/{rest:path}", nothing),
    ]
    port, site = free_port(), Starlette(routes=routes)
    server = uvicorn.Server(uvicorn.Config(site, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}{path}/"
    server.should_exit = server.force_exit = True
    thread.join()
