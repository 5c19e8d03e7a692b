"""Plans → Plotly heatmaps.

Layers run from left to right, so that every name reads level. Only basic traces with explicit
options: the browser's plotly.js is older than plotly.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.steer.words import NO_SHARE
from app.theme import BARE_AXIS, HOVER, LOOK, MARGIN, SCALE, VERMILION
from app.view import View
from atmoe import Layout, RoutingPlan, State

GROUP_ROW, EXPERT_ROW, GAP, AXIS_HEIGHT = 22, 16, 6, 20
"""Pixels: a row of the groups, of the experts, between two groups' experts, and below."""
LETTER, MOST_LEFT = 6.6, 200
"""Pixels that a letter of a name takes on average, and that names take at most."""
SIGNS = "●■▲◆★✚"
"""What tells a group from the others beside its name, where colours cannot."""
STRIP = 0.32
"""The part of a row's height that shows the router's share, where that stands above the one in
force."""
PALE = 0.4
"""How opaque the plan of a question is that is unlike anything in training."""
UNREAD = "not read yet"
"""What the pointer is told of a layer that the router has not read."""
Outline = tuple[int, int, int]
"""Row, first layer, last layer of what a person changed."""
Effects = Mapping[str, str]
"""What was measured of a part, in words, by its name."""


@dataclass(frozen=True)
class Panel:
    """One heatmap.

    Attributes:
        names: of the rows.
        targets: what the rows stand for in a steering.
        percents: shares [names][layers], or None where there is nothing to show yet; of the first
            layers alone while the router still reads. None in place of a share is drawn grey.
        words: what the pointer is told of each cell, [names][layers].
        outlines: what a person changed.
        above: other shares, drawn as a thin strip above each row.
    """

    names: list[str]
    targets: list[str]
    percents: Sequence[Sequence[float | None]] | None
    words: list[list[str]] | None = None
    outlines: tuple[Outline, ...] = ()
    above: Sequence[Sequence[float | None]] | None = None


def group_figure(
    layout: Layout, view: View | None, effects: Effects | None = None, pale: bool = False
) -> go.Figure:
    """Group shares of the plan in force; the router's as a strip in each cell where they differ.

    Args:
        layout: the model's.
        view: None before anything is asked.
        effects: what leaving a part out was measured to cost, in words, by its name.
        pale: the question is unlike anything that the router learned to read.
    """
    names, shown = list(layout.group_names), signed_groups(layout)
    if view is None:
        return _draw(layout, [Panel(shown, names, None)], GROUP_ROW, axis=False)
    shares = [plan.group_weights for plan in (view.router_plan, view.plan)]
    some = [[True] * layout.layers] * 2
    panel = _panel(view, names, shown, shares, "the routing weight", some, effects or {})
    return _draw(layout, [panel], GROUP_ROW, axis=False, pale=pale, key=view.key)


def expert_figure(
    layout: Layout, view: View | None, effects: Effects | None = None, pale: bool = False
) -> go.Figure:
    """In-group shares of the plan in force, a panel a group; the router's as a strip.

    The arguments are those of `group_figure`.
    """
    full = {group: [f"{group}/{expert}" for expert in experts] for group, experts in layout.groups}
    signed = signed_experts(layout)
    shown = {group: signed[layout.members(group)] for group in layout.group_names}
    if view is None:
        empty = [Panel(shown[group], full[group], None) for group in layout.group_names]
        return _draw(layout, empty, EXPERT_ROW)
    panels = []
    for group in layout.group_names:
        rows = layout.members(group)
        shares = [plan.expert_shares[:, rows] for plan in (view.router_plan, view.plan)]
        whole = f"the {group} share"
        some = [with_share(plan, group) for plan in (view.router_plan, view.plan)]
        panels.append(_panel(view, full[group], shown[group], shares, whole, some, effects or {}))
    return _draw(layout, panels, EXPERT_ROW, pale=pale, key=view.key)


def with_share(plan: RoutingPlan, group: str) -> list[bool]:
    """Whether a group has any share, by layer; its experts weigh nothing where not."""
    shares = 100 * plan.group_shares[:, plan.layout.group_index(group)]
    return (shares >= NO_SHARE).tolist()


def _panel(
    view: View,
    targets: list[str],
    shown: list[str],
    shares: Sequence[Any],
    whole: str,
    some: Sequence[Sequence[bool]],
    effects: Effects,
) -> Panel:
    """Rows of the plan in force, the router's as strips where they differ.

    Args:
        view: what is on show.
        targets: what the rows stand for in a steering.
        shown: their labels.
        shares: the router's and those in force, [layers, rows] each.
        whole: what they are shares of.
        some: whether there is any of that by the router and in force, by layer.
        effects: as for `group_figure`.
    """
    router, force = map(percents, shares)
    marks, inside = _marks(view), [target in view.taking_part for target in targets]
    names = [target.rpartition("/")[2] for target in targets]
    words = [
        _received(name, whole, some[1], now, before, effects.get(target, ""))
        if part
        else [f"{name} takes no part"] * len(now)
        for name, target, now, before, part in zip(names, targets, force, router, inside)
    ]
    labels = [marks.get(target, "") + label for target, label in zip(targets, shown)]
    above, own = (_of_team(rows, inside, any_) for rows, any_ in zip((router, force), some))
    strips = above if own != above else None
    return Panel(labels, targets, own, words, outlines(view, targets), strips)


def _of_team(
    shares: list[list[float]], inside: list[bool], some: Sequence[bool]
) -> list[list[float | None]]:
    """Shares [n][layers] of those that take part; who does not has no share, not 0.

    Nor has who has a share of nothing: it would look like one that is in force.
    """
    return [
        [share if part and any_ else None for share, any_ in zip(row, some)]
        for row, part in zip(shares, inside)
    ]


def signed_groups(layout: Layout) -> list[str]:
    """The groups' names, each with its sign."""
    return [f"{name} {sign}" for name, sign in zip(layout.group_names, cycle(SIGNS))]


def signed_experts(layout: Layout) -> list[str]:
    """The experts' names, each with its group's sign."""
    return [
        f"{expert} {sign}" for (_, own), sign in zip(layout.groups, cycle(SIGNS)) for expert in own
    ]


def _received(
    name: str,
    whole: str,
    some: Sequence[bool],
    now: list[float],
    before: list[float],
    effect: str,
) -> list[str]:
    """What the pointer is told of a row of the plan in force, layer by layer."""
    return [
        (
            f"{name} receives {percent:.1f}% of {whole} at layer {layer}"
            if any_left
            else f"{name} has no weight at layer {layer}: its group has no share in force"
        )
        + f"; the router gave {was:.1f}%"
        + (f"<br>{effect}" if effect else "")
        for layer, (any_left, percent, was) in enumerate(zip(some, now, before))
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


def _marks(view: View) -> dict[str, str]:
    """What a name is preceded by where its target is set, by target: ✎ fixed, ✕ off, or both."""
    signs = {State.FIXED: "✎", State.OFF: "✕"}
    states: dict[str, set[str]] = {}
    for chosen in view.steering.by_layer(view.plan.layout):
        for target, override in chosen.items():
            if override.state in signs:
                states.setdefault(target, set()).add(signs[override.state])
    return {target: "".join(sorted(own)) + " " for target, own in states.items()}


def percents(shares: Any) -> list[list[float]]:
    """Shares, a tensor [layers, n], in percent, [n][layers]."""
    return [[100 * share for share in row] for row in shares.T.tolist()]


def _draw(
    layout: Layout,
    panels: list[Panel],
    height: int,
    axis: bool = True,
    pale: bool = False,
    key: str = "",
) -> go.Figure:
    """Panels one above the other, over the same layers and one colour scale from 0 to 100%.

    All pictures of a layout have the same left margin, so that layers stand under one another.

    Args:
        layout: the model's.
        panels: from above.
        height: of a row, in pixels.
        axis: number the layers below.
        pale: draw the cells so.
        key: whose plan it is.
    """
    # 1. the frame
    inner = sum(len(panel.names) for panel in panels) * height + (len(panels) - 1) * GAP
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=GAP / inner,
        row_heights=[len(panel.names) for panel in panels],
    )

    # 2. the panels
    for place, panel in enumerate(panels, 1):
        _draw_panel(figure, layout, panel, place)

    # 3. the look
    if pale:
        figure.update_traces(opacity=PALE)
    figure.update_xaxes(
        **BARE_AXIS, range=[-0.5, layout.layers - 0.5], nticks=10, showticklabels=False
    )
    if axis:
        figure.update_xaxes(row=len(panels), col=1, showticklabels=True)
        figure.add_annotation(
            text="layer",
            x=0,
            y=0,
            xref="paper",
            yref="paper",
            xanchor="right",
            yanchor="top",
            xshift=-LETTER,
            showarrow=False,
            font_size=11,
        )
    if panels[0].percents is None:
        figure.add_annotation(
            text="Filled in once you ask",
            x=0.5,
            y=0.5,
            xref="x domain",
            yref="y domain",
            showarrow=False,
            font_size=12,
        )
    names = [*signed_groups(layout), *signed_experts(layout)]
    left = min(LETTER * (max(map(len, names)) + 2), MOST_LEFT)
    below = AXIS_HEIGHT if axis else MARGIN
    figure.update_layout(
        **LOOK,
        height=inner + MARGIN + below,
        margin={"l": left, "r": MARGIN, "t": MARGIN, "b": below},
        coloraxis={"colorscale": SCALE, "cmin": 0, "cmax": 100, "showscale": False},
        hoverlabel=HOVER,
        meta={"of": key, "signs": _signs(panels, pale)},
    )
    return figure


def _signs(panels: Sequence[Panel], pale: bool) -> list[str]:
    """What a picture of these panels has to say beside its colours, where it stands alone."""
    signs = []
    if any(own is None for panel in panels for row in panel.percents or () for own in row):
        signs.append("grey: takes no part")
    if any(panel.above is not None for panel in panels):
        signs.append("thin strip above a cell: the router's share")
    if pale:
        signs.append("pale: a question unlike training")
    return signs


def _to_the_last(row: Sequence[Any], layers: Sequence[int], filler: Any) -> list[Any]:
    """A row of the first layers, filled up to the last one."""
    return [*row, *[filler] * (len(layers) - len(row))]


def _draw_panel(figure: go.Figure, layout: Layout, panel: Panel, place: int) -> None:
    """One panel, at its place from above, counted from 1."""
    layers, rows = list(range(layout.layers)), range(len(panel.names))
    known: Sequence[Sequence[float | None]] = panel.percents or [[] for _ in rows]
    shares = [_to_the_last(row, layers, None) for row in known]
    words = panel.words and [_to_the_last(row, layers, UNREAD) for row in panel.words]
    edges = list[float](rows)
    if panel.above is not None and words is not None:
        # Two rows for each name, between edges instead of around middles.
        shares = [list(row) for pair in zip(panel.above, shares) for row in pair]
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
            hoverongaps=True,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            meta={"targets": panel.targets},
        ),
        row=place,
        col=1,
    )
    figure.update_yaxes(
        row=place,
        col=1,
        tickvals=list(rows),
        ticktext=panel.names,
        tickfont={"size": 11},
        range=[len(panel.names) - 0.5, -0.5],
        **BARE_AXIS,
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
