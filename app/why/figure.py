"""The Shapley values of the groups → a waterfall chart."""

from __future__ import annotations

import plotly.graph_objects as go

from app.theme import BLUE, GREY, LOOK, MARGIN, VERMILION
from atmoe.explanation.value import Explanation
from atmoe.wording import minus

LABEL = 0.12
"""Room for a number beyond the bars, of their length: below them stand the names."""
COLOURS = {"end": GREY, "up": BLUE, "down": VERMILION}


def shapley_figure(explanation: Explanation) -> go.Figure:
    """From the base model alone to this answer: each group's exact Shapley value.

    One bar stands on the end of the other. The explanation must hold the values.
    """
    names, starts, heights, kinds = ["base model alone"], [0.0], [explanation.base_logp], ["end"]
    top = explanation.base_logp
    for group, value in (explanation.shapley or {}).items():
        names.append(group)
        starts.append(top)
        heights.append(value)
        kinds.append("up" if value >= 0 else "down")
        top += value
    names.append("this answer")
    starts.append(0.0)
    heights.append(top)
    kinds.append("end")
    ends = [0.0, *starts, *(start + height for start, height in zip(starts, heights))]
    room = LABEL * (max(ends) - min(ends) or 1)
    labels = [minus(f"{height:+.3f}") for height in heights]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=heights,
            base=starts,
            text=labels,
            textposition="outside",
            cliponaxis=False,
            marker={
                "color": [COLOURS[kind] for kind in kinds],
                "pattern": {"shape": ["/" if kind == "down" else "" for kind in kinds]},
            },
            hovertext=[f"{name}: {label} nats per token" for name, label in zip(names, labels)],
            hoverinfo="text",
        )
    )
    return figure.update_layout(
        **LOOK,
        height=280,
        margin={"l": MARGIN, "r": MARGIN, "t": 30, "b": 30},
        showlegend=False,
        xaxis={"showgrid": False, "automargin": True},
        yaxis={
            "title": {"text": "mean log-probability per token"},
            "zeroline": True,
            "range": [min(ends) - room, max(ends) + room],
            "showgrid": False,
            "automargin": True,
        },
    )
