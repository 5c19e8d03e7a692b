"""One place on the page for several things, of which one is on show.

Gradio's own tabs build a tab's components as it is opened, and what was sent to them before is
lost. Here all are built at once, and lie over each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape

import gradio as gr


def build_bar(names: Sequence[tuple[str, str]]) -> None:
    """The bar that chooses; it works with assets/app/places.js.

    Args:
        names: of each place, what it is called on the page, and its id.
    """
    buttons = "".join(
        f'<button type="button" role="tab" id="{place}-tab" aria-controls="{place}" '
        f'aria-selected="false" tabindex="-1">{escape(name)}</button>'
        for name, place in names
    )
    gr.HTML(
        f'<div role="tablist" aria-label="Below the answers">{buttons}</div>',
        elem_id="places",
        apply_default_css=False,
    )


@contextmanager
def place(name: str) -> Iterator[None]:
    """What lies in one place, by its id."""
    with gr.Column(elem_id=name, elem_classes="place"):
        yield
