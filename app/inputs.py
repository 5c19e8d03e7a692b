"""Gradio's inputs, without its own refusals."""

from __future__ import annotations

from typing import Any, TypeVar

from gradio.components import Component

InputT = TypeVar("InputT", bound=Component)


def unrefusing(component: InputT) -> InputT:
    """An input that takes whatever comes.

    Gradio refuses a number beyond an input's ends before any of our code runs, with the one word
    "Error". The desks say in a sentence what is not possible.
    """

    def as_it_came(payload: Any) -> Any:
        return payload

    component.preprocess = as_it_came  # type: ignore[method-assign]  # of this one component
    return component
