"""The tab "Why this answer": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.inputs import build_choice, build_plot
from app.markup import line
from app.wording import FIRST, SECOND
from atmoe import Layout

UNASKED = (
    "Once there is an answer, this says in a sentence what it depended on: each part is removed in "
    "turn, and the answer that was given is read again without it."
)


@dataclass(frozen=True)
class WhyArea:
    """The components.

    Attributes:
        which: which answer to explain.
        start: explains it.
        stop: stops that.
        progress: which phase the measuring is in.
        sentence: what a clinician needs in ten seconds.
        verdict: whether the weights explain it.
        chart: the effects as bars.
        paragraph: the sentence with its numbers.
        grid: each part's three measures.
        bands: the groups' by third of the layers.
        sentences: what each sentence depended on.
        changes: the smallest change of each group.
        unit: whose words are marked.
        words: the answer with the words marked.
        shapley: the groups' Shapley values.
        sum: the same in words.
        faces: what lies nearest among each expert's own training examples.
    """

    which: gr.Radio
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    sentence: gr.HTML
    verdict: gr.HTML
    chart: gr.HTML
    paragraph: gr.HTML
    grid: gr.HTML
    bands: gr.HTML
    sentences: gr.HTML
    changes: gr.HTML
    unit: gr.Dropdown
    words: gr.HTML
    shapley: gr.Plot
    sum: gr.HTML
    faces: gr.HTML

    @property
    def results(self) -> list[Component]:
        """Whatever an explanation fills."""
        return [
            self.progress,
            self.sentence,
            self.verdict,
            self.chart,
            self.paragraph,
            self.grid,
            self.bands,
            self.sentences,
            self.changes,
            self.words,
            self.shapley,
            self.sum,
            self.faces,
        ]


def build_why(layout: Layout) -> WhyArea:
    """The tab, before anything is explained: a sentence and a chart, the rest on demand."""
    # 1. what is read first
    with gr.Row(elem_id="why-ask"):
        which, start, stop = build_choice(
            (FIRST, SECOND), "Which answer", ("Explain this answer", 170), ("Cancel", 80)
        )
        progress = gr.HTML(line(""), elem_id="why-progress", elem_classes="facts")
    with gr.Row(elem_id="why-said"):
        sentence = gr.HTML(line(UNASKED), elem_id="why-sentence")
        verdict = gr.HTML(line(""), elem_id="why-verdict")
    chart = gr.HTML(line(""), elem_id="why-chart")

    # 2. the rest
    with on_demand("The numbers: weight, contribution and effect"):
        paragraph = gr.HTML(line(""), elem_id="why-paragraph")
        grid = gr.HTML(line("Each part's three measures will stand here."), elem_id="why-grid")
    with on_demand("The groups by third of the layers"):
        bands = gr.HTML(line(""), elem_id="why-bands")
    with on_demand("What each sentence depended on"):
        sentences = gr.HTML(line("The answer, sentence by sentence."), elem_id="why-sentences")
    with on_demand("The smallest change that alters the answer"):
        changes = gr.HTML(
            line("How far each group's share would have to move."), elem_id="why-changes"
        )
    with on_demand("Which words depended on one part"):
        units = [
            (name.rpartition("/")[2], name) for name in (*layout.group_names, *layout.expert_names)
        ]
        unit = gr.Dropdown(units, value=units[0][1], label="Part", elem_id="why-unit")
        words = gr.HTML(line(""), elem_id="why-words")
    with on_demand("From the base model to this answer: Shapley values of the groups"):
        shapley = build_plot("Shapley values of the groups")
        total = gr.HTML(line(""), elem_id="why-sum")
    with on_demand("What each expert of the team learned from, nearest to this question"):
        faces = gr.HTML(line(""), elem_id="why-faces")
    return WhyArea(
        which=which,
        start=start,
        stop=stop,
        progress=progress,
        sentence=sentence,
        verdict=verdict,
        chart=chart,
        paragraph=paragraph,
        grid=grid,
        bands=bands,
        sentences=sentences,
        changes=changes,
        unit=unit,
        words=words,
        shapley=shapley,
        sum=total,
        faces=faces,
    )


def on_demand(title: str) -> gr.Accordion:
    """What stands behind its title until somebody opens it."""
    return gr.Accordion(title, open=False, elem_classes="on-demand")
