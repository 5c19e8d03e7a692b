"""The tab "What if": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.inputs import build_plot
from app.markup import line, notice
from atmoe import Layout
from atmoe.explanation.doses import targets

UNASKED = (
    "The question is answered five times more, from the router's plan and not yours, with one "
    "group or expert at 0, 25, 50, 75 and 100%. A slider then plays the five answers; a table and "
    "a chart say how they differ."
)


@dataclass(frozen=True)
class WhatIfArea:
    """The components.

    Attributes:
        part: the group or expert to vary.
        start: answers at five shares.
        stop: stops that.
        share: the share whose answer is on show, in percent.
        table: the measures at each share.
        plot: the same as a chart.
    """

    part: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    share: gr.Slider
    answer: gr.HTML
    table: gr.HTML
    plot: gr.Plot

    @property
    def results(self) -> list[Component]:
        """Whatever a measurement fills."""
        return [self.progress, self.answer, self.table, self.plot]


def build_what_if(layout: Layout) -> WhatIfArea:
    """The tab, before anything is measured."""
    units = [(name.rpartition("/")[2], name) for name in targets(layout)]
    with gr.Row(elem_id="dose-ask"):
        part = gr.Dropdown(
            units,
            value=units[0][1] if units else None,
            label="Part to vary",
            scale=1,
            min_width=260,
        )
        start = gr.Button(
            "Answer at five shares", variant="primary", scale=0, min_width=230, interactive=False
        )
        stop = gr.Button("Cancel", scale=0, min_width=90, interactive=False)
        progress = gr.HTML(line(""), elem_id="dose-progress", elem_classes="facts")
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            share = gr.Slider(
                0,
                100,
                0,
                step=25,
                label="Answer at this share, %",
                buttons=[],
                elem_id="dose-share",
            )
            answer = gr.HTML(notice(UNASKED), elem_id="dose-answer")
            table = gr.HTML(line(""), elem_id="dose-table", apply_default_css=False)
        with gr.Column(scale=1, min_width=320):
            plot = build_plot("Response at five shares")
    return WhatIfArea(part, start, stop, progress, share, answer, table, plot)
