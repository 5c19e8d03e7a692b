"""The tab "Drafts": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.inputs import build_choice
from app.markup import line, notice
from app.wording import FIRST, SECOND
from atmoe.explanation.drafts import COUNT, TEMPERATURE

UNASKED = (
    f"The question of an answer is sampled {COUNT} times more here, under the same weights and at "
    f"temperature {TEMPERATURE}; statements that most of the drafts lack are greyed."
)


@dataclass(frozen=True)
class DraftsArea:
    """The components.

    Attributes:
        which: which answer's question is sampled.
        start: samples it.
        stop: stops that.
        progress: how far the drafts are.
        agreement: the number, in a sentence.
        answer: the answer, with what the drafts do not share.
        drafts: as they are written.
    """

    which: gr.Radio
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    agreement: gr.HTML
    answer: gr.HTML
    drafts: gr.HTML

    @property
    def results(self) -> list[Component]:
        """Whatever drafts fill."""
        return [self.progress, self.agreement, self.answer, self.drafts]


def build_drafts() -> DraftsArea:
    """The tab, before anything is sampled."""
    with gr.Row(elem_id="drafts-ask"):
        which, start, stop = build_choice(
            (FIRST, SECOND),
            "Which answer is drafted",
            (f"Draft {COUNT} times", 130),
            ("Stop drafting", 120),
        )
        progress = gr.HTML(line(""), elem_id="drafts-progress", elem_classes="facts")
    agreement = gr.HTML(line(""), elem_id="drafts-agreement", apply_default_css=False)
    with gr.Row():
        answer = gr.HTML(notice(UNASKED), elem_id="drafts-answer")
        drafts = gr.HTML(line(""), elem_id="drafts-texts", apply_default_css=False)
    return DraftsArea(which, start, stop, progress, agreement, answer, drafts)
