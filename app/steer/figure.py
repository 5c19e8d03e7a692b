"""Plans → Plotly heatmaps and their tables.

Layers run from left to right, so that every name reads level. Only basic traces with explicit
options: the browser's plotly.js is older than plotly.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.steer.words import where
from app.theme import BARE_AXIS, HOVER, LOOK, MARGIN, PANEL_TITLE, SCALE, VERMILION
from app.view import View
from atmoe import Layout, State

ROW_HEIGHT, TITLE_HEIGHT, AXIS_HEIGHT = 19, 24, 46
STRIP = 0.32
"""The part of a row's height that shows the router's share, where that stands above the one in
force."""
Outline = tuple[int, int, int]
"""Row, first layer, last layer of what a person changed."""


@dataclass(frozen=True)
class Panel:
    """One heatmap.

    Attributes:
        targets: what the rows stand for in a steering.
        percents: shares [names][layers], or None where there is nothing to show yet.
        words: what the pointer is told of each cell, [names][layers].
        above: other shares, drawn as a thin strip above each row.
        pickable: whether its cells can be set.
    """

    title: str
    names: list[str]
    targets: list[str]
    percents: list[list[float]] | None
    words: list[list[str]] | None = None
    outlines: tuple[Outline, ...] = ()
    above: list[list[float]] | None = None
    pickable: bool = True


def group_figure(layout: Layout, view: View | None) -> go.Figure:
    """Group shares: the router's plan above the one in force, changed rows outlined."""
    names = list(layout.group_names)
    if view is None:
        router_panel = Panel("Router's plan", names, names, None, pickable=False)
        return _draw(layout, [router_panel, Panel("Plan in force", names, names, None)])
    router, force = (_percents(plan.group_shares) for plan in (view.router_plan, view.plan))
    router_words, force_words = [], []
    for name, before, now in zip(names, router, force):
        router_words.append(
            [
                f"{name} received {percent:.1f}% of the routing weight at layer {layer}"
                for layer, percent in enumerate(before)
            ]
        )
        force_words.append(_received(name, "the routing weight", now, before))
    state = ": untouched, the router's own" if view.steering.untouched else ", steered"
    notes = _state_notes(view)
    noted = [name + notes.get(name, "") for name in names]
    return _draw(
        layout,
        [
            Panel("Router's plan", names, names, router, router_words, pickable=False),
            Panel(f"Plan in force{state}", noted, names, force, force_words, outlines(view, names)),
        ],
    )


def expert_figure(layout: Layout, view: View | None) -> go.Figure:
    """In-group shares of the plan in force, one panel a group.

    The router's stand as a strip above each row wherever they differ.
    """
    full = {group: [f"{group}/{expert}" for expert in experts] for group, experts in layout.groups}
    if view is None:
        empty = [Panel(group, list(experts), full[group], None) for group, experts in layout.groups]
        return _draw(layout, empty, scale=False)
    notes, boxes = _state_notes(view), outlines(view, layout.expert_names)
    team = {*view.router_plan.team, *view.plan.team}
    off: dict[str, list[str]] = {}
    for o in view.steering.overrides:
        if o.state is State.OFF:
            off.setdefault(o.target, []).append(where(o.scope))
    panels = []
    for group, experts in layout.groups:
        rows = layout.members(group)
        router, force = (
            _percents(plan.expert_shares[:, rows]) for plan in (view.router_plan, view.plan)
        )
        words = [
            _received(expert, f"the {group} share", now, before)
            if target in team
            else [f"{expert} takes no part"] * layout.layers
            for expert, target, now, before in zip(experts, full[group], force, router)
        ]
        own_boxes = [
            (row - rows.start, first, last)
            for row, first, last in boxes
            if rows.start <= row < rows.stop
        ]
        panels.append(
            Panel(
                title=group + (f" · off {' and '.join(off[group])}" if group in off else ""),
                names=[e + notes.get(target, "") for e, target in zip(experts, full[group])],
                targets=full[group],
                percents=force,
                words=words,
                outlines=tuple(own_boxes),
                above=router if router != force else None,
            )
        )
    return _draw(layout, panels, scale=False)


def _received(name: str, whole: str, now: list[float], before: list[float]) -> list[str]:
    """What the pointer is told of a row of the plan in force, layer by layer."""
    return [
        f"{name} receives {percent:.1f}% of {whole} at layer {layer}; the router gave {was:.1f}%"
        for layer, (percent, was) in enumerate(zip(now, before))
    ]


def outlines(view: View, names: Sequence[str]) -> tuple[Outline, ...]:
    """Every run of layers in which a row's name is set, and set alike."""
    by_layer, boxes = view.steering.by_layer(view.plan.layout), []
    for row, name in enumerate(names):
        settings = []
        for chosen in by_layer:
            override = chosen.get(name)
            taken = override is not None and override.state is not State.ROUTER
            settings.append((override.state, override.share) if override and taken else None)
        for setting, run in groupby(enumerate(settings), key=lambda pair: pair[1]):
            layers = [layer for layer, _ in run]
            if setting:
                boxes.append((row, layers[0], layers[-1]))
    return tuple(boxes)


def group_table(view: View) -> pd.DataFrame:
    """A row a layer: each group's share in percent, the router's and the one in force."""
    return _table(view, view.plan.layout.group_names, "group_shares")


def expert_table(view: View) -> pd.DataFrame:
    """The same of each expert's share of its group."""
    return _table(view, view.plan.layout.expert_names, "expert_shares")


def _state_notes(view: View) -> dict[str, str]:
    """What a name is followed by where its target is set, by target.

    " · fixed", or " · fixed, off" where layers differ.
    """
    states: dict[str, set[str]] = {}
    for chosen in view.steering.by_layer(view.plan.layout):
        for target, override in chosen.items():
            if override.state is not State.ROUTER:
                states.setdefault(target, set()).add(str(override.state))
    return {target: f" · {', '.join(sorted(own))}" for target, own in states.items()}


def _table(view: View, names: Sequence[str], shares: str) -> pd.DataFrame:
    columns: dict[str, list] = {"Layer": list(range(view.plan.layout.layers))}
    router, force = (_percents(getattr(plan, shares)) for plan in (view.router_plan, view.plan))
    for i, name in enumerate(names):
        columns[f"{name}, router %"] = _rounded(router[i])
        columns[f"{name}, in force %"] = _rounded(force[i])
    return pd.DataFrame(columns)


def _percents(shares: Any) -> list[list[float]]:
    """Shares, a tensor [layers, n], in percent, [n][layers]."""
    return [[100 * share for share in row] for row in shares.T.tolist()]


def _rounded(row: list[float]) -> list[float]:
    return [round(percent, 1) for percent in row]


def _draw(layout: Layout, panels: list[Panel], scale: bool = True) -> go.Figure:
    """Panels one above the other, over the same layers and one colour scale from 0 to 100%.

    Args:
        layout: the model's.
        panels: from above.
        scale: draw the colour scale beside them.
    """
    # 1. the frame
    rows = sum(len(panel.names) for panel in panels)
    inner = rows * ROW_HEIGHT + len(panels) * TITLE_HEIGHT
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=TITLE_HEIGHT / inner,
        row_heights=[len(panel.names) for panel in panels],
        subplot_titles=[panel.title for panel in panels],
    )
    figure.update_annotations(**PANEL_TITLE)

    # 2. the panels
    for place, panel in enumerate(panels, 1):
        _draw_panel(figure, layout, panel, place)

    # 3. the look
    figure.update_xaxes(**BARE_AXIS, range=[-0.5, layout.layers - 0.5], nticks=10)
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
        **LOOK,
        height=inner + TITLE_HEIGHT + AXIS_HEIGHT,
        margin={"l": MARGIN, "r": MARGIN, "t": TITLE_HEIGHT, "b": AXIS_HEIGHT},
        coloraxis={
            "colorscale": SCALE,
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
        hoverlabel=HOVER,
    )
    return figure


def _draw_panel(figure: go.Figure, layout: Layout, panel: Panel, place: int) -> None:
    """One panel, at its place from above, counted from 1."""
    layers, rows = list(range(layout.layers)), range(len(panel.names))
    shares: list = panel.percents or [[None] * len(layers) for _ in panel.names]
    words, edges = panel.words, list[float](rows)
    if panel.above is not None and words is not None:
        # Two rows for each name, between edges instead of around middles.
        shares = [row for pair in zip(panel.above, shares) for row in pair]
        words = [row for own in words for row in (own, own)]
        edges = [edge for row in rows for edge in (row - 0.5, row - 0.5 + STRIP)]
        edges.append(len(panel.names) - 0.5)
    figure.add_trace(
        go.Heatmap(
            z=shares,
            x=layers,
            y=edges,
            text=words,
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            meta={"targets": panel.targets, "pickable": panel.pickable},
        ),
        row=place,
        col=1,
    )
    figure.update_yaxes(
        row=place,
        col=1,
        tickvals=list(rows),
        ticktext=panel.names,
        range=[len(panel.names) - 0.5, -0.5],
        **BARE_AXIS,
        automargin=True,
    )
    for row, first, last in panel.outlines:
        figure.add_shape(
            type="rect",
            x0=first - 0.5,
            x1=last + 0.5,
            y0=row - 0.5,
            y1=row + 0.5,
            line={"color": VERMILION, "width": 3},
            row=place,
            col=1,
        )
