"""One event for the ends of many.

What the server says of two events may reach a page in either order. Where both say the same kind of
thing, each rings this bell in the browser instead, and one event asks the server: never twice at
once, and always after the last ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.assets import text_of
from app.events import LAST_WINS, UNQUEUED

RING = '() => { document.dispatchEvent(new Event("atmoe:done")); }'


def build_bell() -> gr.HTML:
    """The bell, out of sight."""
    return gr.HTML(
        html_template="<span></span>",
        js_on_load=text_of("bell.js"),
        apply_default_css=False,
        elem_id="bell",
    )


def wire_bell(
    bell: gr.HTML,
    events: Iterable[Dependency],
    callback: Callable[..., Any],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
) -> None:
    """Ask once whenever any of the events has ended.

    Args:
        bell: of the page.
        events: failed ones too.
        callback: is asked.
        inputs: of it.
        outputs: what it says something of.
    """
    for event in events:
        event.then(None, js=RING, **UNQUEUED)
    bell.rung(callback, list(inputs), list(outputs), **LAST_WINS)
