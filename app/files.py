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

import brotli
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.whole import Whole, plain_page

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


class Files:
    """A layer around the page's server that compresses HTML, and hashed files once for all.

    Args:
        app: what serves.
    """

    def __init__(self, app: ASGIApp):
        self.app = app
        self._sent: dict[tuple[str, str], list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        encoding = _encoding(scope)
        if encoding is None:
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        key = path, encoding
        if key in self._sent:
            for message in self._sent[key]:
                await send(message)
            return
        once = HASHED.fullmatch(path) is not None

        async def compress(headers: MutableHeaders, body: bytes) -> bytes:
            del headers["accept-ranges"]
            headers["content-encoding"] = encoding
            headers.add_vary_header("accept-encoding")
            if once:
                headers["cache-control"] = FOREVER
            return await run_sync(ENCODINGS[encoding], body, once)

        whole = Whole(send, _plain_file if once else _found_page, compress)
        await self.app(scope, receive, whole)
        if once and whole.sent:
            self._sent[key] = whole.sent


def _found_page(start: Message) -> bool:
    """Whether a response is HTML that was found and that nobody has compressed."""
    return start["status"] == 200 and plain_page(start)


def _plain_file(start: Message) -> bool:
    """Whether a response is a file that was found and that nobody has compressed."""
    return start["status"] == 200 and "content-encoding" not in Headers(raw=start["headers"])


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
