"""What a link to the page shows elsewhere: its own title and sentence, and no picture of Gradio's.

Gradio's index page holds both for all pages alike, before what could be set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
THEIRS = {
    b'property="og:title" content="Gradio"': 'property="og:title" content="{title}"',
    b'name="twitter:title" content="Gradio"': 'name="twitter:title" content="{title}"',
    b'content="Click to try out the app!"': 'content="{about}"',
    b'name="twitter:card" content="summary_large_image"': 'name="twitter:card" content="summary"',
    b'name="twitter:creator" content="@Gradio"': 'name="generator" content="Gradio"',
    b"https://raw.githubusercontent.com/gradio-app/gradio/main/js/_website/src/lib/assets/img/"
    b"header-image.jpg": "",
}


class Card:
    """A layer around the page's server that changes HTML on its way out, and nothing else.

    Args:
        app: what serves.
        title: the page's.
        about: one sentence.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], title: str, about: str):
        self.app = app
        words = {"title": escape(title), "about": escape(about)}
        self.ours = {theirs: ours.format(**words).encode() for theirs, ours in THEIRS.items()}

    async def __call__(self, scope: Message, receive: Callable[..., Any], send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        held: list[Message] = []  # the start of an HTML page, until its whole body is there

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                held.append({**message, "body": b""})
            elif not held:
                await send(message)
            else:
                held[0]["body"] += message.get("body", b"")
                if not message.get("more_body"):
                    await self._send(held.pop(), send)

        return await self.app(scope, receive, pass_on)

    async def _send(self, page: Message, send: Send) -> None:
        """A whole page, with our words."""
        body = page.pop("body")
        for theirs, ours in self.ours.items():
            body = body.replace(theirs, ours)
        headers = [(name, value) for name, value in page["headers"] if name != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await send({**page, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})


def _is_page(start: Message) -> bool:
    """Whether a response is HTML that nobody has compressed."""
    headers = {name.lower(): value for name, value in start["headers"]}
    return headers.get(b"content-type", b"").startswith(b"text/html") and not headers.get(
        b"content-encoding"
    )
