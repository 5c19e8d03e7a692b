"""Steering on the page: whose weights are in force, the controls, and the weights by layer.

Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
import plotly.graph_objects as go
from gradio.components import Component

from app.markup import badge
from app.steer.cells import build_cells
from app.steer.figure import expert_figure, group_figure
from app.steer.words import whose_weights
from atmoe import Layout, Steering

READING = (
    "Once you ask, this says in words how the router shared the weight between the groups of "
    "experts, and who received most."
)
CAUTION = (
    "Weight is what each expert was given, not proof that it mattered; what mattered is measured "
    "under “Why this answer”, below."
)
GROUPS = "**Between the groups**: how much of the layer's routing weight each group received"
EXPERTS = (
    "**Inside each group**: how much of the group's share each expert receives, in the same "
    "colours. Where that is not the router's, a thin strip above each row shows what the router "
    "gave"
)


@dataclass(frozen=True)
class Weights:
    """The plans by layer, as pictures and as tables.

    Attributes:
        download: the button for the record, below them.
    """

    group_plot: gr.Plot
    expert_plot: gr.Plot
    group_table: gr.Dataframe
    expert_table: gr.Dataframe
    download: gr.DownloadButton

    @property
    def pictures(self) -> list[Component]:
        """Whatever shows the plans."""
        return [self.group_plot, self.expert_plot, self.group_table, self.expert_table]


@dataclass(frozen=True)
class SteerArea:
    """The components.

    Attributes:
        badge: whose weights are in force.
        reading: the routing in words.
        panel: the controls.
    """

    badge: gr.HTML
    reading: gr.Markdown
    panel: gr.HTML
    weights: Weights


def build_badge() -> gr.HTML:
    """The badge, nothing changed."""
    return gr.HTML(badge(whose_weights(Steering()), False), elem_id="badge")


def build_reading() -> gr.Markdown:
    """The routing in words, before anything is asked."""
    return gr.Markdown(READING, elem_id="reading")


def build_weights(layout: Layout) -> Weights:
    """The pictures and tables, empty."""
    gr.Markdown("## Weights by layer")
    gr.Markdown(CAUTION, elem_id="caution")
    build_cells()
    with gr.Tabs():
        with gr.Tab("Pictures"):
            gr.Markdown(GROUPS)
            group_plot = _plot(group_figure(layout, None), "Group shares by layer", "group-plot")
            gr.Markdown(EXPERTS)
            expert_plot = _plot(
                expert_figure(layout, None), "Expert shares by layer", "expert-plot"
            )
        with gr.Tab("Tables"):
            group_table = _table("Group shares by layer", layout.group_names)
            expert_table = _table("Expert shares by layer", layout.expert_names)
    download = gr.DownloadButton(
        "Download this record (JSON)", interactive=False, size="sm", elem_id="download"
    )
    return Weights(group_plot, expert_plot, group_table, expert_table, download)


def _plot(figure: go.Figure, label: str, name: str) -> gr.Plot:
    return gr.Plot(
        figure, label=label, show_label=False, container=False, elem_classes="figure", elem_id=name
    )


def _table(label: str, names: Sequence[str]) -> gr.Dataframe:
    """A table by layer with two columns a name: the router's share, and the one in force.

    Widths are set, or names would break in the middle of a word.
    """
    widths = [f"{max(140, 10 * len(name) + 30)}px" for name in names for _ in range(2)]
    return gr.Dataframe(
        label=label,
        interactive=False,
        max_height=320,
        wrap=True,
        pinned_columns=1,
        column_widths=["80px", *widths],
    )
