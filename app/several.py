"""Several models in one process: a page for each, under its name, and each beside the others.

/            → the first
/kitchen/    its page, and its endpoints
/medical/    …
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from gradio.http_server import start_server
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cases import read_cases
from app.launch import launching
from app.models.neighbour import Neighbour
from app.page import build
from app.serving import HEALTH, Serving
from atmoe import AtMoe


class Shown(NamedTuple):
    """A model that gets a page.

    Attributes:
        model: answers.
        folder: where it lies, with its reports and its cases.
        licence: as its card has it.
    """

    model: AtMoe
    folder: Path
    licence: str = ""


def names_of(models: Sequence[AtMoe]) -> list[str]:
    """What each is called in an address: its own name, and a number where two have the same."""
    names: list[str] = []
    for model in models:
        own = re.sub(r"[^a-z0-9]+", "-", model.info.name.casefold()).strip("-") or "model"
        number, name = 1, own
        while name in names:
            number += 1
            name = f"{own}-{number}"
        names.append(name)
    return names


def several(shown: Sequence[Shown], root_path: str | None = None) -> FastAPI:
    """A server of all pages.

    Args:
        shown: at least two.
        root_path: where a proxy shows all of it; None = at the root of its host.

    Raises:
        AtMoeError: a report or the cases of one cannot be read.
    """
    names = names_of([each.model for each in shown])
    servings = [Serving(each.model) for each in shown]
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, routes=[HEALTH])
    if root_path:
        server.add_middleware(_Below, path=root_path)

    @server.get("/")
    def first() -> RedirectResponse:
        # relative, so that a proxy may show all of it under a path of its own
        return RedirectResponse(f"{names[0]}/")

    @server.get("/favicon.ico")
    def icon() -> RedirectResponse:
        return RedirectResponse(f"{names[0]}/favicon.ico")

    for number, (name, each) in enumerate(zip(names, shown)):
        neighbours = [
            Neighbour(other, f"../{other}/", serving)
            for place, (other, serving) in enumerate(zip(names, servings))
            if place != number
        ]
        page = build(
            each.model,
            each.folder / "reports",
            read_cases(each.folder, each.model.info.sha256),
            each.licence,
            servings[number],
            neighbours,
        )
        gr.mount_gradio_app(
            server,
            page,
            f"/{name}",
            **_mounting(page, each.model),
            root_path=root_path and f"{root_path}/{name}",
        )
    return server


class _Below:
    """Middleware that puts the path back that a proxy took away.

    A page that is mounted looks for itself behind that path: ASGI has it in both.

    Args:
        app: what answers requests.
        path: where the proxy shows it.
    """

    def __init__(self, app: ASGIApp, path: str):
        self.app, self.path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if "path" in scope:
            scope = {**scope, "path": self.path + scope["path"], "root_path": self.path}
        await self.app(scope, receive, send)


def serve(
    shown: Sequence[Shown], host: str | None, port: int | None, root_path: str | None = None
) -> None:
    """Serve all pages until interrupted.

    Args:
        shown: at least two.
        host: address to listen on; None = what $GRADIO_SERVER_NAME names, else this machine only.
        port: None = the first free one from 7860, or from $GRADIO_SERVER_PORT.
        root_path: as of `several`.

    Raises:
        OSError: the port is taken.
    """
    # The server that `launch` starts, with its way of finding a port.
    host = host or os.environ.get("GRADIO_SERVER_NAME")
    _, _, address, server = start_server(several(shown, root_path), host, port)  # type: ignore[arg-type]  # any ASGI
    print(f"* Running on local URL:  {address}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()


def _mounting(page: gr.Blocks, model: AtMoe) -> dict[str, Any]:
    """What `launch` would be told, for a page that is mounted."""
    told = launching(model)
    # `launch` alone takes these; what they set is what it would set.
    page.max_threads = page._queue.max_thread_count = told.pop("max_threads")
    return told
