"""The comparison, and the third answer below it. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.compare.words import BESIDE
from app.desk import AnswerPlace
from app.markup import line

UNCOMPARED = (
    "Once both answers have ended, this says where they part, and how likely each is under either "
    "plan."
)


@dataclass(frozen=True)
class CompareArea:
    """The components.

    Attributes:
        kind: which third answer.
        start: asks for it.
        stop: stops it.
        third: where it stands.
    """

    comparison: gr.HTML
    kind: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    third: AnswerPlace


def build_compare() -> CompareArea:
    """The area, before anything is asked."""
    gr.Markdown("## Compare")
    comparison = gr.HTML(line(UNCOMPARED), elem_id="comparison", apply_default_css=False)
    with gr.Row(elem_id="beside-ask"):
        kind = gr.Dropdown(
            [(voice.name, str(kind)) for kind, voice in BESIDE.items()],
            value=str(next(iter(BESIDE))),
            label="A third answer",
            scale=1,
            min_width=240,
            info="The random steer shows whether the direction of yours mattered, or only the "
            "push.",
        )
        start = gr.Button("Answer beside", scale=0, min_width=170)
        stop = gr.Button("Stop third answer", scale=0, min_width=190)
    third = AnswerPlace(
        gr.HTML(line(""), elem_id="third"),
        gr.HTML(line(""), elem_id="third-facts", elem_classes="facts"),
    )
    return CompareArea(comparison, kind, start, stop, third)
