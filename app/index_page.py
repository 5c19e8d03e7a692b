"""Gradio's index page on its way out, where it is the same for all pages and cannot be set.

A link to the page shows elsewhere its own title and sentence, and no picture of Gradio's; and two
scripts of ours are heard before Gradio's own.
"""

from __future__ import annotations

from html import escape

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from app.assets import text_of
from app.whole import Whole, plain_page

THEIRS = {
    b'property="og:title" content="Gradio"': 'property="og:title" content="{title}"',
    b'name="twitter:title" content="Gradio"': 'name="twitter:title" content="{title}"',
    b'content="Click to try out the app!"': 'content="{about}"',
    b'name="twitter:card" content="summary_large_image"': 'name="twitter:card" content="summary"',
    b'name="twitter:creator" content="@Gradio"': 'name="generator" content="Gradio"',
    b"https://raw.githubusercontent.com/gradio-app/gradio/main/js/_website/src/lib/assets/img/"
    b"header-image.jpg": "",
}
SCRIPTS = "".join(f"<script>{text_of(name)}</script>" for name in ("leaving.js", "opening.js"))
FIRST = f"<head>{SCRIPTS}".encode()


class IndexPage:
    """A layer around the page's server that changes HTML on its way out, and nothing else.

    Args:
        app: what serves.
        title: the page's.
        about: one sentence.
    """

    def __init__(self, app: ASGIApp, title: str, about: str):
        self.app = app
        words = {"title": escape(title), "about": escape(about)}
        self.ours = {theirs: ours.format(**words).encode() for theirs, ours in THEIRS.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http":
            send = Whole(send, plain_page, self._in_our_words)
        await self.app(scope, receive, send)

    async def _in_our_words(self, headers: MutableHeaders, body: bytes) -> bytes:
        for theirs, ours in self.ours.items():
            body = body.replace(theirs, ours)
        return body.replace(b"<head>", FIRST, 1)
