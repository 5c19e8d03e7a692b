"""Many questions' weights → a heatmap: questions × experts, like ones beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from app.steer.figure import signed_experts
from app.theme import BARE_AXIS, HOVER, LOOK, MARGIN, SCALE
from atmoe import Layout
from atmoe.many.atlas import order

ROW, ABOVE, BELOW = 18, 10, 130
"""Pixels: of a question, above them, and for the experts' names below."""
LETTERS = 34
"""Of a question, so many stand beside its row."""


def atlas_figure(
    layout: Layout, names: Sequence[str], weights: Sequence[Sequence[float]]
) -> go.Figure:
    """The atlas.

    Args:
        layout: the model's.
        names: of the questions.
        weights: what each gives each expert, [questions][experts], 0 to 1.
    """
    rows = order(weights)[::-1]  # Plotly begins below
    shown = [escape(_short(names[row])) for row in rows]  # Plotly reads some HTML
    values = [[100 * weight for weight in weights[row]] for row in rows]
    words = [
        [
            f"{escape(_short(names[row]))}<br>{expert}: {100 * weight:.1f}%"
            for expert, weight in zip(layout.expert_names, weights[row])
        ]
        for row in rows
    ]
    heatmap = go.Heatmap(
        z=values,
        x=signed_experts(layout),
        y=list(range(len(rows))),
        zmin=0,
        zmax=100,
        colorscale=SCALE,
        showscale=False,
        hovertext=words,
        hoverinfo="text",
        xgap=1,
        ygap=1,
    )
    figure = go.Figure(heatmap)
    figure.update_xaxes(**BARE_AXIS, tickangle=-45, automargin=True)
    figure.update_yaxes(
        **BARE_AXIS, tickvals=list(range(len(rows))), ticktext=shown, automargin=True
    )
    return figure.update_layout(
        **LOOK,
        height=ABOVE + BELOW + ROW * len(rows),
        margin={"l": MARGIN, "r": 8, "t": ABOVE, "b": BELOW},
        hoverlabel=HOVER,
    )


def _short(name: str) -> str:
    """A question's beginning."""
    text = " ".join(name.split())
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
