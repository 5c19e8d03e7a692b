"""A response that is held until it is whole, so that it can be changed; all else goes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Send

Change = Callable[[MutableHeaders, bytes], Awaitable[bytes]]
"""The headers, to be changed in place, and the body → another body."""


def plain_page(start: Message) -> bool:
    """Whether a response is HTML that nobody has compressed."""
    headers = Headers(raw=start["headers"])
    html = headers.get("content-type", "").startswith("text/html")
    return html and "content-encoding" not in headers


class Whole:
    """Where an app sends.

    Args:
        send: where it goes from here.
        wanted: which responses are held, by how they start.
        change: what becomes of those.

    Attributes:
        sent: start and end of the response that was changed; empty = it was none of those.
    """

    def __init__(self, send: Send, wanted: Callable[[Message], bool], change: Change):
        self.sent: list[Message] = []
        self._send, self._wanted, self._change = send, wanted, change
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        """As ASGI has it."""
        if message["type"] == "http.response.start" and self._wanted(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        headers = MutableHeaders(raw=list(start["headers"]))
        body = await self._change(headers, bytes(self._body))
        headers["content-length"] = str(len(body))
        self.sent = [
            {**start, "headers": headers.raw},
            {"type": "http.response.body", "body": body},
        ]
        for message in self.sent:
            await self._send(message)
