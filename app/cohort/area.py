"""The tab "Many questions": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.assets import text_of
from app.inputs import build_plot
from app.markup import line

MOST = 200
"""Questions at once."""
ROUTE, ANSWER, EXPLAIN = "Route", "and answer", "and explain"
"""How far it goes, each including the one before."""
UNASKED = f"Up to {MOST} questions; or a file: CSV, TSV or JSONL with a column “question”, or text."
ENDINGS = [".csv", ".tsv", ".jsonl", ".ndjson", ".txt"]


@dataclass(frozen=True)
class CohortArea:
    """The components.

    Attributes:
        text: the questions.
        file: brings them.
        depth: how far it goes.
        start: begins.
        stop: stops.
        progress: how far it is.
        table: a row a question.
        picks: which rows were picked; works with assets/app/cohort.js.
        pair: two rows beside each other.
        atlas: questions × experts.
        csv: downloads the table.
        page: downloads it as HTML.
    """

    text: gr.Textbox
    file: gr.UploadButton
    depth: gr.Radio
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    table: gr.HTML
    picks: gr.HTML
    pair: gr.HTML
    atlas: gr.Plot
    csv: gr.DownloadButton
    page: gr.DownloadButton

    @property
    def results(self) -> list[Component]:
        """Whatever a cohort fills."""
        return [self.progress, self.table, self.pair, self.atlas, self.csv, self.page]


def build_cohort() -> CohortArea:
    """The tab, before anything is asked."""
    small: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 100}
    with gr.Row(elem_id="cohort-in"):
        text = gr.Textbox(
            label="Questions, one a line",
            placeholder=UNASKED,
            lines=3,
            max_lines=3,
            max_length=200_000,
            elem_id="cohort-text",
        )
        with gr.Column(elem_id="cohort-ask"):
            with gr.Row():
                file = gr.UploadButton("Open a file", file_types=ENDINGS, **small)
                depth = gr.Radio(
                    [ROUTE, ANSWER, EXPLAIN],
                    value=ROUTE,
                    label="How far",
                    show_label=False,
                    container=False,
                    min_width=240,
                )
            with gr.Row():
                start = gr.Button("Ask them all", **small)
                stop = gr.Button("Stop them", interactive=False, **small)
                csv = gr.DownloadButton("CSV", interactive=False, **small)
                page = gr.DownloadButton("HTML", interactive=False, **small)
    progress = gr.HTML(line(""), elem_id="cohort-progress", elem_classes="facts")
    table = gr.HTML(line(""), elem_id="cohort-table", apply_default_css=False)
    picks = gr.HTML(
        {"rows": [], "at": 0},
        html_template="<span></span>",
        js_on_load=text_of("cohort.js"),
        apply_default_css=False,
        elem_id="cohort-picks",
    )
    pair = gr.HTML(line(""), elem_id="cohort-pair", apply_default_css=False)
    atlas = build_plot(
        "Atlas: weight of each expert, mean over the layers, by question", name="atlas"
    )
    return CohortArea(
        text, file, depth, start, stop, progress, table, picks, pair, atlas, csv, page
    )
