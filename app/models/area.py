"""The tab "Models": a place for each other model. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr
from gradio.components import Component

from app.desk import AnswerPlace
from app.markup import line, notice
from app.models.neighbour import Neighbour

UNASKED = "The router's own answer of {} will appear here."
HINT = (
    "Each is asked the same question, with the same settings and unsteered. They learned other "
    "things from other texts: an answer that differs is another answer, and no correction."
)


@dataclass(frozen=True)
class ModelsArea:
    """The components.

    Attributes:
        start: asks the others.
        stop: stops them.
        places: where each answers.
        lines: what the router of each read in the question.
    """

    start: gr.Button
    stop: gr.Button
    places: Sequence[AnswerPlace]
    lines: Sequence[gr.Markdown]

    @property
    def results(self) -> list[Component]:
        """Whatever answers fill."""
        return [*(part for place in self.places for part in place.parts), *self.lines]


def build_models(neighbours: Sequence[Neighbour]) -> ModelsArea:
    """The tab, before anything is asked.

    Args:
        neighbours: at least one.
    """
    with gr.Row(elem_id="models-ask"):
        start = gr.Button("Ask the other models", size="sm", min_width=150, interactive=False)
        stop = gr.Button("Stop them", size="sm", min_width=90, interactive=False)
        gr.HTML(line(HINT), elem_classes="facts")
    places, lines = [], []
    with gr.Row():
        for number, neighbour in enumerate(neighbours):
            with gr.Column(elem_classes="other-model"):
                gr.HTML(_title(neighbour), apply_default_css=False)
                lines.append(gr.Markdown(""))
                text = notice(UNASKED.format(neighbour.name))
                places.append(
                    AnswerPlace(
                        gr.HTML(text, elem_id=f"model-{number}"),
                        gr.HTML(line(""), elem_id=f"model-{number}-facts", elem_classes="facts"),
                    )
                )
    return ModelsArea(start, stop, places, lines)


def _title(neighbour: Neighbour) -> str:
    """A model's name, how small it is, and a link to its own page."""
    model = neighbour.serving.model
    return (
        f"<h3>{escape(neighbour.name)}</h3>"
        f'<p class="small">{round(model.base_parameters / 1e6)} million parameters '
        f"({escape(model.info.base_name)}). {escape(model.info.page.warning)} "
        f'<a data-model href="{escape(neighbour.address)}">Open its page</a></p>'
    )
