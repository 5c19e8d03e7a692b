"""What a browser fetches to open the page: scripts and styles compressed once, HTML on its way out.

Gradio compresses each of its files anew for every visitor, in the thread that sends everybody's
words: half a second of a core a visit, most of it for Plotly. It leaves the page itself as it is,
because its path has no ending. Names of its files hold a hash of what is in them, so a browser that
has one need not ask again.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import NamedTuple

import brotli
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HASHED = re.compile(r"/assets/[\w.-]+-[\w-]{8,9}\.(?:js|css)", re.ASCII)
"""A file whose name changes with what is in it."""
REFUSED = re.compile(r"q=0(?:\.0*)?")
"""What stands behind an encoding that a browser does not take."""
FOREVER = "public, max-age=31536000, immutable"
ENCODINGS: dict[str, Callable[[bytes, bool], bytes]] = {
    "br": lambda body, once: brotli.compress(body, quality=6 if once else 4),
    "gzip": lambda body, once: gzip.compress(body, compresslevel=9 if once else 5),
}
"""How a body is compressed, the better way first; with more care where it is done only once."""


class Sent(NamedTuple):
    """A whole response."""

    start: Message
    body: bytes


class Files:
    """A layer around the page's server that compresses HTML, and hashed files once for all.

    Args:
        app: what serves.
    """

    def __init__(self, app: ASGIApp):
        self.app = app
        self._sent: dict[tuple[str, str], Sent] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        encoding = _encoding(scope)
        if encoding is None:
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        once = HASHED.fullmatch(path) is not None
        key = path, encoding
        if key in self._sent:
            start, body = self._sent[key]
            await send(start)
            await send({"type": "http.response.body", "body": body})
            return
        whole = _Whole(send, encoding, once)
        await self.app(scope, receive, whole)
        if once and whole.sent is not None:
            self._sent[key] = whole.sent


class _Whole:
    """Where an app sends: HTML and hashed files are held until they are whole, and compressed.

    Attributes:
        sent: what went out compressed; None = the response was of another kind, or no success.
    """

    def __init__(self, send: Send, encoding: str, once: bool):
        self.sent: Sent | None = None
        self._send, self._encoding, self._once = send, encoding, once
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._wanted(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    def _wanted(self, start: Message) -> bool:
        headers = Headers(raw=start["headers"])
        html = headers.get("content-type", "").startswith("text/html")
        return (self._once or html) and start["status"] == 200 and "content-encoding" not in headers

    async def _finish(self, start: Message) -> None:
        compress = ENCODINGS[self._encoding]
        body = await run_sync(compress, bytes(self._body), self._once)
        headers = MutableHeaders(raw=list(start["headers"]))
        del headers["accept-ranges"]
        headers["content-encoding"] = self._encoding
        headers["content-length"] = str(len(body))
        headers.add_vary_header("accept-encoding")
        if self._once:
            headers["cache-control"] = FOREVER
        self.sent = Sent({**start, "headers": headers.raw}, body)
        await self._send(self.sent.start)
        await self._send({"type": "http.response.body", "body": body})


def _encoding(scope: Scope) -> str | None:
    """The best one that the browser takes; None where a response is not to be touched."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    headers = Headers(scope=scope)
    if "range" in headers:
        return None
    taken = headers.get("accept-encoding", "").split(",")
    names = {
        name.strip()
        for name, _, weight in (each.partition(";") for each in taken)
        if not REFUSED.fullmatch(weight.strip())
    }
    return next((encoding for encoding in ENCODINGS if encoding in names), None)
