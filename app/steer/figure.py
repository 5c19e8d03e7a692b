"""Plans → Plotly heatmaps and their tables. Layers run from left to right, so that every name reads level.

Only basic traces with explicit options: the browser's plotly.js is older than plotly.py. Text takes its colour from
the page's style sheet, so that it is legible in light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.steer.view import View
from app.steer.words import where
from atmoe import Layout, State
from atmoe.explanation.value import Explanation

ROW_HEIGHT, TITLE_HEIGHT, MARGIN = 19, 24, 46
STRIP = 0.32
"""The part of a row's height that shows the router's share, where that stands above the one in force."""
OUTLINE = "#d55e00"
"""Vermilion of the Okabe–Ito palette: apart from both ends of cividis, for colour-blind eyes too."""


@dataclass(frozen=True)
class Panel:
    """One heatmap: shares in percent [names, layers], or None where there is nothing to show yet.

    outlines: (row, first layer, last layer) of what a person changed.  targets: what the rows stand for in a steering.
    above: other shares, drawn as a thin strip above each row.
    """

    title: str
    names: list[str]
    targets: list[str]
    percents: list[list[float]] | None
    words: list[list[str]] | None = None
    outlines: tuple[tuple[int, int, int], ...] = ()
    above: list[list[float]] | None = None
    pickable: bool = True


def group_figure(layout: Layout, view: View | None) -> go.Figure:
    """Group shares [groups, layers]: the router's plan above the one in force, changed rows outlined."""
    names = list(layout.group_names)
    if view is None:
        return _draw(
            layout,
            [
                Panel("Router's plan", names, names, None, pickable=False),
                Panel("Plan in force", names, names, None),
            ],
        )
    router, force = (_percents(plan.group_shares) for plan in (view.router_plan, view.plan))
    said = [
        [f"{name} received {p:.1f}% of the routing weight at layer {i}" for i, p in enumerate(row)]
        for name, row in zip(names, router)
    ]
    now = [
        [
            f"{name} receives {p:.1f}% of the routing weight at layer {i}; the router gave {was:.1f}%"
            for i, (p, was) in enumerate(zip(row, before))
        ]
        for name, row, before in zip(names, force, router)
    ]
    title = "Plan in force" + (
        ": untouched, the router's own" if view.steering.untouched else ", steered"
    )
    boxes, states = outlines(view, names), _states(view)
    return _draw(
        layout,
        [
            Panel("Router's plan", names, names, router, said, pickable=False),
            Panel(title, [name + states.get(name, "") for name in names], names, force, now, boxes),
        ],
    )


def expert_figure(layout: Layout, view: View | None) -> go.Figure:
    """In-group shares of the plan in force [experts, layers], one panel a group; the router's as a strip above each row
    wherever they differ.
    """
    full = {group: [f"{group}/{expert}" for expert in experts] for group, experts in layout.groups}
    if view is None:
        return _draw(
            layout,
            [Panel(group, list(experts), full[group], None) for group, experts in layout.groups],
            scale=False,
        )
    states, boxes, panels = _states(view), outlines(view, layout.expert_names), []
    off: dict[str, list[str]] = {}
    for o in view.steering.overrides:
        if o.state is State.OFF:
            off.setdefault(o.target, []).append(where(o.scope))
    for group, experts in layout.groups:
        rows = layout.members(group)
        router, force = (
            _percents(plan.expert_shares[:, rows]) for plan in (view.router_plan, view.plan)
        )
        words = [
            [
                f"{expert} receives {p:.1f}% of the {group} share at layer {i}; the router gave {was:.1f}%"
                for i, (p, was) in enumerate(zip(row, before))
            ]
            for expert, row, before in zip(experts, force, router)
        ]
        names = [expert + states.get(target, "") for expert, target in zip(experts, full[group])]
        title = group + (f" · off {' and '.join(off[group])}" if group in off else "")
        panels.append(
            Panel(
                title,
                names,
                full[group],
                force,
                words,
                tuple(
                    (row - rows.start, *layers)
                    for row, *layers in boxes
                    if rows.start <= row < rows.stop
                ),
                router if router != force else None,
            )
        )
    return _draw(layout, panels, scale=False)


def shapley_figure(explanation: Explanation) -> go.Figure:
    """From the base model alone to this answer: each group's exact Shapley value, one bar on the end of the other."""
    names, starts, heights, kinds = ["base model alone"], [0.0], [explanation.base_logp], ["end"]
    at = explanation.base_logp
    for group, value in explanation.shapley.items():
        (
            names.append(group),
            starts.append(at),
            heights.append(value),
            kinds.append("up" if value >= 0 else "down"),
        )
        at += value
    names.append("this answer"), starts.append(0.0), heights.append(at), kinds.append("end")
    signs = [f"{height:+.3f}".replace("-", "−") for height in heights]
    colours = {"end": "#8a8a8a", "up": "#0072b2", "down": OUTLINE}
    figure = go.Figure(
        go.Bar(
            x=names,
            y=heights,
            base=starts,
            text=signs,
            textposition="outside",
            cliponaxis=False,
            marker={
                "color": [colours[k] for k in kinds],
                "pattern": {"shape": ["/" if k == "down" else "" for k in kinds]},
            },
            hovertext=[f"{name}: {sign} nats per token" for name, sign in zip(names, signs)],
            hoverinfo="text",
        )
    )
    return figure.update_layout(
        height=280,
        margin={"l": 4, "r": 4, "t": 30, "b": 30},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.12)",
        font={"size": 12, "family": "system-ui"},
        dragmode=False,
        showlegend=False,
        xaxis={"showgrid": False, "automargin": True},
        yaxis={
            "title": {"text": "mean log-probability per token"},
            "zeroline": True,
            "showgrid": False,
            "automargin": True,
        },
    )


def outlines(view: View, names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """(row, first layer, last layer) of every run of layers in which a row's name is set, and set alike."""
    chosen, found = view.steering.by_layer(view.plan.layout), []
    for row, name in enumerate(names):
        settings = [
            c[name] if name in c and c[name].state is not State.ROUTER else None for c in chosen
        ]
        for setting, run in groupby(
            enumerate(settings), key=lambda pair: pair[1] and (pair[1].state, pair[1].share)
        ):
            layers = [layer for layer, _ in run]
            if setting:
                found.append((row, layers[0], layers[-1]))
    return tuple(found)


def _states(view: View) -> dict[str, str]:
    """Target → what its name is followed by where it is set: " · fixed", or " · fixed, off" where layers differ."""
    found: dict[str, set[str]] = {}
    for chosen in view.steering.by_layer(view.plan.layout):
        for target, override in chosen.items():
            if override.state is not State.ROUTER:
                found.setdefault(target, set()).add(str(override.state))
    return {target: f" · {', '.join(sorted(states))}" for target, states in found.items()}


def group_table(view: View) -> pd.DataFrame:
    """A row a layer: each group's share in percent, the router's and the one in force."""
    return _table(view, view.plan.layout.group_names, "group_shares")


def expert_table(view: View) -> pd.DataFrame:
    """A row a layer: each expert's share of its group in percent, the router's and the one in force."""
    return _table(view, view.plan.layout.expert_names, "expert_shares")


def _table(view: View, names: Sequence[str], shares: str) -> pd.DataFrame:
    columns: dict[str, list] = {"Layer": list(range(view.plan.layout.layers))}
    router, force = (_percents(getattr(plan, shares)) for plan in (view.router_plan, view.plan))
    for i, name in enumerate(names):
        columns[f"{name}, router %"] = _rounded(router[i])
        columns[f"{name}, in force %"] = _rounded(force[i])
    return pd.DataFrame(columns)


def _percents(shares) -> list[list[float]]:
    """[layers, n] shares → [n][layers] percent."""
    return [[100 * share for share in row] for row in shares.T.tolist()]


def _rounded(row: list[float]) -> list[float]:
    return [round(percent, 1) for percent in row]


def _draw(layout: Layout, panels: list[Panel], scale: bool = True) -> go.Figure:
    """Panels one above the other over the same layers and one colour scale from 0 to 100%, drawn beside them or not."""
    rows = sum(len(panel.names) for panel in panels)
    inner = rows * ROW_HEIGHT + len(panels) * TITLE_HEIGHT
    gap = TITLE_HEIGHT / inner
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=gap,
        row_heights=[len(panel.names) for panel in panels],
        subplot_titles=[panel.title for panel in panels],
    )
    figure.update_annotations(font_size=12, x=0, xanchor="left")
    layers = list(range(layout.layers))
    for row, panel in enumerate(panels, 1):
        shares, words, edges = (
            panel.percents or [[None] * len(layers) for _ in panel.names],
            panel.words,
            range(len(panel.names)),
        )
        if (
            panel.above is not None
        ):  # two rows for each name, between edges instead of around middles
            shares, words = (
                [row for pair in pairs for row in pair]
                for pairs in (zip(panel.above, shares), zip(words, words))
            )
            edges = [edge for i in edges for edge in (i - 0.5, i - 0.5 + STRIP)] + [
                len(panel.names) - 0.5
            ]
        figure.add_trace(
            go.Heatmap(
                z=shares,
                x=layers,
                y=list(edges),
                text=words,
                hovertemplate="%{text}<extra></extra>",
                hoverongaps=False,
                coloraxis="coloraxis",
                xgap=1,
                ygap=1,
                meta={"targets": panel.targets, "pickable": panel.pickable},
            ),
            row=row,
            col=1,
        )
        figure.update_yaxes(
            row=row,
            col=1,
            tickvals=list(range(len(panel.names))),
            ticktext=panel.names,
            range=[len(panel.names) - 0.5, -0.5],
            showgrid=False,
            zeroline=False,
            automargin=True,
        )
        for place, first, last in panel.outlines:
            figure.add_shape(
                type="rect",
                x0=first - 0.5,
                x1=last + 0.5,
                y0=place - 0.5,
                y1=place + 0.5,
                line={"color": OUTLINE, "width": 3},
                row=row,
                col=1,
            )
    figure.update_xaxes(
        showgrid=False, zeroline=False, range=[-0.5, layout.layers - 0.5], nticks=10
    )
    figure.update_xaxes(
        row=len(panels), col=1, title={"text": "layer, first to last", "standoff": 4}
    )
    if panels[0].percents is None:
        figure.add_annotation(
            text="Filled in once you ask",
            x=0.5,
            y=0.5,
            xref="x domain",
            yref="y domain",
            showarrow=False,
            font_size=13,
        )
    figure.update_layout(
        height=inner + TITLE_HEIGHT + MARGIN,
        margin={"l": 4, "r": 4, "t": TITLE_HEIGHT, "b": MARGIN},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.12)",
        font={"size": 12, "family": "system-ui"},
        coloraxis={
            "colorscale": "Cividis",
            "cmin": 0,
            "cmax": 100,
            "showscale": scale,
            "colorbar": {
                "thickness": 10,
                "tickvals": [0, 50, 100],
                "ticktext": ["0%", "50%", "100%"],
                "outlinewidth": 0,
            },
        },
        hoverlabel={"font_size": 13},
        dragmode=False,
    )
    return figure
