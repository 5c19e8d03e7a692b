"""Gradio's components, as the page wants them: inputs without refusals, places for figures."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Sequence
from typing import Any, TypeVar

import gradio as gr
import plotly.graph_objects as go
from gradio.blocks import BlockFunction
from gradio.components import Component

InputT = TypeVar("InputT", bound=Component)


def unrefusing(kind: type[InputT]) -> type[InputT]:
    """A kind of input that takes whatever comes.

    Gradio refuses a number beyond an input's ends before any of our code runs, with the one word
    "Error", and rounds without a word. The desks say in a sentence what is not possible.

    A kind, because Gradio builds an input anew in each session that updates one. It keeps its
    name, by which the page finds how to draw it.
    """

    def as_it_came(_: Component, payload: Any) -> Any:
        return payload

    # Past Gradio's own metaclass, which writes a .pyi file beside the source of each new kind.
    new: type[InputT] = ABCMeta.__new__(
        type(kind), kind.__name__, (kind,), {"preprocess": as_it_came, "__module__": __name__}
    )
    return new


class Page(gr.Blocks):
    """Gradio's page, but for what it says where a request holds too few values: nothing at all."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """Raises: gr.Error: there are fewer than the event or the endpoint takes."""
        needed = len(block_fn.inputs)
        if len(inputs) < needed:
            raise gr.Error(
                f"“data” holds {len(inputs)} of {needed} values; send them all, in the order in "
                "which /gradio_api/info lists them. [data]",
                print_exception=False,
            )


def build_plot(label: str, figure: go.Figure | None = None, name: str | None = None) -> gr.Plot:
    """A place for a figure, out of sight until it has one.

    Args:
        label: for screen readers.
        figure: to begin with.
        name: its id.
    """
    return gr.Plot(
        figure,
        visible=figure is not None,
        label=label,
        show_label=False,
        container=False,
        elem_classes="figure",
        elem_id=name,
    )


def build_choice(
    names: Sequence[str], label: str, start: tuple[str, int], stop: tuple[str, int]
) -> tuple[gr.Radio, gr.Button, gr.Button]:
    """What something is done with, and the buttons that do it and stop it.

    Args:
        names: to choose from, the first one at the start.
        label: of the choice, for screen readers.
        start: what that button says, and its least width, in pixels.
        stop: the same of the other.
    """
    which = gr.Radio(
        list(names),
        value=names[0],
        label=label,
        show_label=False,
        container=False,
        scale=0,
        min_width=260,
    )
    small: dict[str, Any] = {"interactive": False, "scale": 0, "size": "sm"}
    buttons = [gr.Button(text, min_width=width, **small) for text, width in (start, stop)]
    return which, buttons[0], buttons[1]
