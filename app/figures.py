"""Plans → Plotly heatmaps and their tables. Layers run from left to right, so that every name reads level.

Only basic traces with explicit options: the browser's plotly.js is older than plotly.py. Text takes its colour from
the page's style sheet, so that it is legible in light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.bench import View
from app.text import SCOPES
from atmoe import Layout, State
from atmoe.explanation import Explanation
from atmoe.steering import layer_range

ROW_HEIGHT, TITLE_HEIGHT, MARGIN = 19, 24, 46
OUTLINE = "#d55e00"
"""Vermilion of the Okabe–Ito palette: apart from both ends of cividis, for colour-blind eyes too."""


@dataclass(frozen=True)
class Panel:
    """One heatmap: shares in percent [names, layers], or None where there is nothing to show yet.

    outlines: (row, first layer, last layer) of what a person changed.
    """

    title: str
    names: list[str]
    percents: list[list[float]] | None
    words: list[list[str]] | None = None
    outlines: tuple[tuple[int, int, int], ...] = ()


def group_figure(layout: Layout, view: View | None) -> go.Figure:
    """Group shares [groups, layers]: the router's plan above the one in force, changed rows outlined."""
    names = list(layout.group_names)
    if view is None:
        return _draw(layout, [Panel("Router's plan", names, None), Panel("Plan in force", names, None)])
    router, force = (_percents(plan.group_shares) for plan in (view.router_plan, view.plan))
    said = [[f"{name} received {p:.1f}% of the routing weight at layer {i}" for i, p in enumerate(row)]
            for name, row in zip(names, router)]
    now = [[f"{name} receives {p:.1f}% of the routing weight at layer {i}; the router gave {was:.1f}%"
            for i, (p, was) in enumerate(zip(row, before))] for name, row, before in zip(names, force, router)]
    title = "Plan in force" + (": untouched, the router's own" if view.steering.untouched else ", with your steering")
    states = {o.target: o.state for o in view.steering.overrides}
    marked = [name if states.get(name, State.ROUTER) is State.ROUTER else f"{name} · {states[name]}" for name in names]
    return _draw(layout, [Panel("Router's plan", names, router, said),
                          Panel(title, marked, force, now, outlines(view, names))])


def expert_figure(layout: Layout, view: View | None) -> go.Figure:
    """In-group shares of the plan in force [experts, layers], one panel a group."""
    if view is None:
        return _draw(layout, [Panel(group, list(experts), None) for group, experts in layout.groups])
    states = {o.target: o.state for o in view.steering.overrides if o.state is not State.ROUTER}
    off = {o.target: f" · off {SCOPES[o.scope]}" for o in view.steering.overrides if o.state is State.OFF}
    boxes, panels = outlines(view, layout.expert_names), []
    for group, experts in layout.groups:
        percents = _percents(view.plan.expert_shares[:, layout.members(group)])
        words = [[f"{expert} receives {p:.1f}% of the {group} share at layer {i}" for i, p in enumerate(row)]
                 for expert, row in zip(experts, percents)]
        names = [f"{expert} · {states[full]}" if (full := f"{group}/{expert}") in states else expert for expert in experts]
        rows = layout.members(group)
        panels.append(Panel(group + off.get(group, ""), names, percents, words,
                            tuple((row - rows.start, *layers) for row, *layers in boxes if rows.start <= row < rows.stop)))
    return _draw(layout, panels)


def shapley_figure(explanation: Explanation) -> go.Figure:
    """From the base model alone to this answer: each group's exact Shapley value, one bar on the end of the other."""
    names, starts, heights, kinds = ["base model alone"], [0.0], [explanation.base_logp], ["end"]
    at = explanation.base_logp
    for group, value in explanation.shapley.items():
        names.append(group), starts.append(at), heights.append(value), kinds.append("up" if value >= 0 else "down")
        at += value
    names.append("this answer"), starts.append(0.0), heights.append(at), kinds.append("end")
    signs = [f"{height:+.3f}".replace("-", "−") for height in heights]
    colours = {"end": "#8a8a8a", "up": "#0072b2", "down": OUTLINE}
    figure = go.Figure(go.Bar(
        x=names, y=heights, base=starts, text=signs, textposition="outside", cliponaxis=False,
        marker={"color": [colours[k] for k in kinds], "pattern": {"shape": ["/" if k == "down" else "" for k in kinds]}},
        hovertext=[f"{name}: {sign} nats per token" for name, sign in zip(names, signs)], hoverinfo="text"))
    return figure.update_layout(
        height=280, margin={"l": 4, "r": 4, "t": 30, "b": 30}, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(128,128,128,0.12)",
        font={"size": 12, "family": "system-ui"}, dragmode=False, showlegend=False, xaxis={"showgrid": False, "automargin": True},
        yaxis={"title": {"text": "mean log-probability per token"}, "zeroline": True, "showgrid": False, "automargin": True})


def outlines(view: View, names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """(row, first layer, last layer) of every override in force whose target is among the rows' names."""
    found = []
    for override in view.steering.overrides:
        if override.state is not State.ROUTER and override.target in names:
            layers = layer_range(override.scope, view.plan.layout.layers)
            found.append((names.index(override.target), layers[0], layers[-1]))
    return tuple(found)


def group_table(view: View) -> pd.DataFrame:
    """A row a layer: each group's share in percent, the router's and the one in force."""
    columns: dict[str, list] = {"Layer": list(range(view.plan.layout.layers))}
    router, force = (_percents(plan.group_shares) for plan in (view.router_plan, view.plan))
    for i, group in enumerate(view.plan.layout.group_names):
        columns[f"{group}, router %"] = _rounded(router[i])
        columns[f"{group}, in force %"] = _rounded(force[i])
    return pd.DataFrame(columns)


def expert_table(view: View) -> pd.DataFrame:
    """A row a layer: each expert's share of its group in the plan in force, in percent."""
    percents = _percents(view.plan.expert_shares)
    columns: dict[str, list] = {"Layer": list(range(view.plan.layout.layers))}
    columns |= {f"{name} %": _rounded(row) for name, row in zip(view.plan.layout.expert_names, percents)}
    return pd.DataFrame(columns)


def _percents(shares) -> list[list[float]]:
    """[layers, n] shares → [n][layers] percent."""
    return [[100 * share for share in row] for row in shares.T.tolist()]


def _rounded(row: list[float]) -> list[float]:
    return [round(percent, 1) for percent in row]


def _draw(layout: Layout, panels: list[Panel]) -> go.Figure:
    """Panels one above the other over the same layers and one colour scale from 0 to 100%."""
    rows = sum(len(panel.names) for panel in panels)
    inner = rows * ROW_HEIGHT + len(panels) * TITLE_HEIGHT
    gap = TITLE_HEIGHT / inner
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=gap,
                           row_heights=[len(panel.names) for panel in panels],
                           subplot_titles=[panel.title for panel in panels])
    figure.update_annotations(font_size=12, x=0, xanchor="left")
    layers = list(range(layout.layers))
    for row, panel in enumerate(panels, 1):
        figure.add_trace(go.Heatmap(
            z=panel.percents or [[None] * len(layers) for _ in panel.names], x=layers, y=list(range(len(panel.names))),
            text=panel.words, hovertemplate="%{text}<extra></extra>", hoverongaps=False, coloraxis="coloraxis",
            xgap=1, ygap=1), row=row, col=1)
        figure.update_yaxes(row=row, col=1, tickvals=list(range(len(panel.names))), ticktext=panel.names,
                            range=[len(panel.names) - 0.5, -0.5], showgrid=False, zeroline=False, automargin=True)
        for place, first, last in panel.outlines:
            figure.add_shape(type="rect", x0=first - 0.5, x1=last + 0.5, y0=place - 0.5, y1=place + 0.5,
                             line={"color": OUTLINE, "width": 3}, row=row, col=1)
    figure.update_xaxes(showgrid=False, zeroline=False, range=[-0.5, layout.layers - 0.5], nticks=10)
    figure.update_xaxes(row=len(panels), col=1, title={"text": "layer, first to last", "standoff": 4})
    if panels[0].percents is None:
        figure.add_annotation(text="Filled in once you ask", x=0.5, y=0.5, xref="x domain", yref="y domain",
                              showarrow=False, font_size=13)
    figure.update_layout(
        height=inner + TITLE_HEIGHT + MARGIN, margin={"l": 4, "r": 4, "t": TITLE_HEIGHT, "b": MARGIN},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(128,128,128,0.12)", font={"size": 12, "family": "system-ui"},
        coloraxis={"colorscale": "Cividis", "cmin": 0, "cmax": 100, "showscale": True,
                   "colorbar": {"thickness": 10, "tickvals": [0, 50, 100], "ticktext": ["0%", "50%", "100%"],
                                "outlinewidth": 0}},
        hoverlabel={"font_size": 13}, dragmode=False)
    return figure
