"""The comparison, and the third answer below it. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.compare.words import BESIDE
from app.desk import AnswerPlace
from app.following import Update
from app.markup import line

UNCOMPARED = (
    "Once both answers have ended, this says where they part, and how likely each is under either "
    "plan."
)
UNSTEERED = "Steer, or ask for a third answer: both then stand here side by side, by sentence."


@dataclass(frozen=True)
class CompareArea:
    """The components.

    Attributes:
        difference: in a line, below the steered answer.
        sentences: the first two answers side by side.
        comparison: where they part, and the numbers of all.
        kind: which third answer.
        start: asks for it.
        stop: stops it.
        third: where it stands.
    """

    difference: gr.HTML
    sentences: gr.HTML
    comparison: gr.HTML
    kind: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    third: AnswerPlace

    @property
    def compared(self) -> list[Component]:
        """What is said of the answers; it goes when one of them does."""
        return [self.difference, self.sentences, self.comparison]

    def uncompared(self) -> Update:
        """Nothing said yet."""
        return {
            self.difference: line(""),
            self.sentences: line(UNSTEERED),
            self.comparison: line(UNCOMPARED),
        }


def build_difference() -> gr.HTML:
    """Where the difference stands in a line. It keeps its height, so nothing moves as it comes."""
    return gr.HTML(line(""), elem_id="difference", padding=False)


def build_compare(difference: gr.HTML) -> CompareArea:
    """The area, before anything is asked.

    Args:
        difference: which stands elsewhere on the page.
    """
    with gr.Column(elem_id="compared"):
        with gr.Column(elem_id="compared-two"):
            # No listener: the marks are there, and the style sheet shows them while this is ticked.
            gr.Checkbox(
                label="Mark words that differ, in both answers",
                elem_id="mark-words",
                container=False,
            )
            sentences = gr.HTML(line(UNSTEERED), elem_id="sentences", apply_default_css=False)
            comparison = gr.HTML(line(UNCOMPARED), elem_id="comparison", apply_default_css=False)
        with gr.Column(elem_id="compared-third"):
            with gr.Row(elem_id="beside-ask"):
                kind = gr.Dropdown(
                    [(voice.name, str(kind)) for kind, voice in BESIDE.items()],
                    value=str(next(iter(BESIDE))),
                    label="A third answer",
                    scale=1,
                    min_width=240,
                    info="Base model: no expert. Uniform plan: all experts alike. Random steer: "
                    "moved as far from the router as yours, in a direction that was drawn.",
                )
                start = gr.Button(
                    "Answer with this too", size="sm", min_width=160, interactive=False
                )
                stop = gr.Button("Stop third answer", size="sm", min_width=150, interactive=False)
            third = AnswerPlace(
                gr.HTML(line(""), elem_id="third"),
                gr.HTML(line(""), elem_id="third-facts", elem_classes="facts"),
            )
    return CompareArea(difference, sentences, comparison, kind, start, stop, third)
