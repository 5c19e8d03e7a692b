"""Gradio's inputs, without its own refusals.

Gradio refuses a number beyond an input's ends before any of our code runs, with the one word
"Error". These take whatever comes; the desks say in a sentence what is not possible.
"""

from __future__ import annotations

import gradio as gr

class FreeSlider(gr.Slider):
    """A slider whose ends bind the hand that moves it, and not what a request may say."""

    is_template = True

    def preprocess(self, payload: float) -> float:
        """The number as it came."""
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class FreeNumber(gr.Number):
    """A number of any size."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | int | None:
        """The number as it came."""
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
