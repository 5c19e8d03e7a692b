"""How the page is launched: what Gradio's server is told, and what is put around it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from app.assets import FOLDER
from app.events import AT_ONCE
from app.files import Files
from app.index_page import IndexPage
from app.serving import HEALTH, Streaming
from app.visitors import visitors
from atmoe import AtMoe

LAUNCH: dict[str, Any] = {
    "ssr_mode": False,
    "pwa": False,
    "run_history": False,
    "show_error": False,
    "enable_monitoring": False,
    "mcp_server": True,
    "max_file_size": "1mb",
    "max_threads": 9 * AT_ONCE,
    "footer_links": [],
    "css_paths": sorted(FOLDER.glob("*.css")),
    "theme": gr.themes.Default(
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        primary_hue="blue",
        spacing_size="sm",
        text_size="md",
    ),
}
"""Arguments of `launch` that belong to the page. The endpoints are tools of an MCP server as well.
Server-side rendering and the installable app are switched on by a Space unless refused; a run
history would keep people's questions in their browser. Each generator that waits for the worker
holds one of the threads, and what needs no waiting must find one free."""


def launching(model: AtMoe) -> dict[str, Any]:
    """Arguments of `launch`: the page's own, what a link to it shows, /healthz, and sessions."""
    words = model.info.page
    index = Middleware(IndexPage, title=words.title, about=words.about)
    around = [Middleware(Files), index, Middleware(Streaming)]
    app = {"middleware": around, "routes": [HEALTH], "lifespan": visitors}
    return {**LAUNCH, "app_kwargs": app}
