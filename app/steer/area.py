"""Steering on the page: whose weights are in force, the controls, and the weights by layer.

Nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.controls import Controls
from app.inputs import build_plot
from app.markup import badge, line
from app.steer.figure import expert_figure, group_figure
from app.steer.table import shares_table, thirds_table
from app.steer.words import whose_weights
from atmoe import Layout

READING = "The router's reading of your question will stand here."
CAUTION = (
    "Groups: share of all; experts: of their group. Dark 0%, bright 100%, grey: no part, thin "
    "strip: the router's, pale: unlike training. No proof of effect: *Why*. Drag sets cells."
)


@dataclass(frozen=True)
class Weights:
    """The plans by layer, as pictures, as a table and in words.

    Attributes:
        thirds: the pictures for a narrow screen.
        table: all layers in figures.
        reading: the same in words.
    """

    group_plot: gr.Plot
    expert_plot: gr.Plot
    thirds: gr.HTML
    table: gr.HTML
    reading: gr.Markdown

    @property
    def pictures(self) -> list[Component]:
        """Whatever shows the plans by layer."""
        return [self.group_plot, self.expert_plot, self.thirds, self.table]


@dataclass(frozen=True)
class SteerArea:
    """The components.

    Attributes:
        badge: whose weights are in force.
        line: the routing in one line.
        sources: how familiar the question is, and what lies near it in training.
        panel: the controls.
    """

    badge: gr.HTML
    line: gr.Markdown
    sources: gr.HTML
    panel: gr.HTML
    weights: Weights


def build_badge() -> gr.HTML:
    """The badge, nothing changed."""
    return gr.HTML(badge(whose_weights(Controls()), False), elem_id="badge")


def build_line() -> gr.Markdown:
    """The routing in one line, before anything is asked."""
    return gr.Markdown(READING, elem_id="routing-line")


def build_sources() -> gr.HTML:
    """Where a question lies beside what the experts learned from, before anything is asked."""
    return gr.HTML(line(""), elem_id="sources", padding=False)


def build_pictures(layout: Layout) -> tuple[gr.Plot, gr.Plot, gr.HTML]:
    """The heatmaps of groups and experts, and what stands for both on a narrow screen; empty."""
    gr.Markdown(CAUTION, elem_id="caution")
    figures = {"groups-map": group_figure(layout, None), "experts-map": expert_figure(layout, None)}
    # Their places have their height before they are drawn, so that nothing moves as they come.
    heights = "".join(f"#{n} {{min-height: {f.layout.height}px}}" for n, f in figures.items())
    # And so has the place that holds both: a longer line above it takes from the answers.
    heights += f":root {{--pictures: {sum(f.layout.height for f in figures.values())}px}}"
    gr.HTML(f"<style>{heights}</style>", elem_id="heights", padding=False)
    groups, experts = figures
    return (
        build_plot("Group shares by layer", figures[groups], groups),
        build_plot("Expert shares by layer", figures[experts], experts),
        gr.HTML(thirds_table(layout, None), elem_id="thirds", apply_default_css=False),
    )


def build_table(layout: Layout) -> tuple[gr.Markdown, gr.HTML]:
    """The same in words and as a table, empty."""
    reading = gr.Markdown(READING, elem_id="reading")
    return reading, gr.HTML(shares_table(layout, None), elem_id="table", apply_default_css=False)
