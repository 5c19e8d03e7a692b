"""The tab "Why this answer": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.markup import line, notice
from atmoe import Layout

FIRST, SECOND = "Router's answer", "Your steering"
UNASKED = (
    "Once there is an answer, this measures what it depended on: each part is removed in turn, and "
    "the answer that was given is read again without it. Nothing is measured until you press "
    "Explain."
)


@dataclass(frozen=True)
class WhyArea:
    """The components.

    Attributes:
        which: which answer to explain.
        start: explains it.
        stop: stops that.
        paragraph: what a clinician needs in ten seconds.
        grid: each part's three measures.
        bands: the groups' by third of the layers.
        sentences: what each sentence depended on.
        changes: the smallest change of each group.
        unit: whose words are marked.
        words: the answer with the words marked.
        shapley: the groups' Shapley values.
        sum: the same in words.
    """

    which: gr.Radio
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    paragraph: gr.HTML
    verdict: gr.HTML
    grid: gr.HTML
    bands: gr.HTML
    sentences: gr.HTML
    changes: gr.HTML
    unit: gr.Dropdown
    words: gr.HTML
    shapley: gr.Plot
    sum: gr.HTML

    @property
    def results(self) -> list[Component]:
        """Whatever an explanation fills."""
        return [
            self.progress,
            self.paragraph,
            self.verdict,
            self.grid,
            self.bands,
            self.sentences,
            self.changes,
            self.words,
            self.shapley,
            self.sum,
        ]


def build_why(layout: Layout) -> WhyArea:
    """The tab, before anything is explained."""
    with gr.Row(elem_id="why-ask"):
        which = gr.Radio([FIRST, SECOND], value=FIRST, label="Which answer", scale=0, min_width=330)
        start = gr.Button("Explain this answer", variant="primary", scale=0, min_width=230)
        stop = gr.Button("Cancel", scale=0, min_width=90)
        progress = gr.HTML(line(""), elem_id="why-progress", elem_classes="facts")
    with gr.Row(elem_id="why-said"):
        paragraph = gr.HTML(notice(UNASKED), elem_id="why-paragraph")
        verdict = gr.HTML(line(""), elem_id="why-verdict")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("### Weight, contribution and effect")
            grid = gr.HTML(line("Each part's three measures will stand here."), elem_id="why-grid")
            with gr.Accordion("The groups by third of the layers", open=False):
                bands = gr.HTML(line(""), elem_id="why-bands")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown("### What each sentence depended on")
            sentences = gr.HTML(line("The answer, sentence by sentence."), elem_id="why-sentences")
            gr.Markdown("### The smallest change that alters the answer")
            changes = gr.HTML(
                line("How far each group's share would have to move."), elem_id="why-changes"
            )
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("### Which words depended on one part")
            units = [
                (name.rpartition("/")[2], name)
                for name in (*layout.group_names, *layout.expert_names)
            ]
            unit = gr.Dropdown(units, value=units[0][1], label="Part", elem_id="why-unit")
            words = gr.HTML(line(""), elem_id="why-words")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown("### From the base model to this answer")
            shapley = gr.Plot(
                visible=False,
                label="Shapley values of the groups",
                show_label=False,
                container=False,
                elem_classes="figure",
            )
            total = gr.HTML(line(""), elem_id="why-sum")
    return WhyArea(
        which=which,
        start=start,
        stop=stop,
        progress=progress,
        paragraph=paragraph,
        verdict=verdict,
        grid=grid,
        bands=bands,
        sentences=sentences,
        changes=changes,
        unit=unit,
        words=words,
        shapley=shapley,
        sum=total,
    )
