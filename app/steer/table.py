"""Plans → the heatmaps' tables, as HTML: all layers, and thirds of them for a narrow screen.

Each share is a button that picks its cell, by the numbers that it has in the pictures.
"""

from __future__ import annotations

from html import escape

from app.markup import inert
from app.steer.figure import outlines, percents, signed_experts, signed_groups, with_share
from app.view import View
from app.whose import tagged
from atmoe import Layout, RoutingPlan
from atmoe.report.colours import ink, shade
from atmoe.report.words import changes, part_percents
from atmoe.steering.overrides import BANDS, layer_range

EMPTY = '<p class="hint">Filled in once you ask.</p>'


def shares_table(layout: Layout, view: View | None) -> str:
    """A row a layer: shares in percent, the router's where it differs.

    Args:
        layout: the model's.
        view: None before anything is asked.
    """
    if view is None:
        return EMPTY
    router, force = (
        [*percents(plan.group_weights), *percents(plan.expert_shares)]
        for plan in (view.router_plan, view.plan)
    )
    team, had, has = view.taking_part, _some(view.router_plan), _some(view.plan)
    places = _rows(layout)
    taken = {
        (column, layer)
        for column, first, last in outlines(view, [target for *_, target in places])
        for layer in range(first, last + 1)
    }
    # Who takes part stands first, so that it is seen without scrolling.
    titles = (*signed_groups(layout), *signed_experts(layout))
    inside = [place[2] in team for place in places]
    columns = sorted(range(len(places)), key=lambda column: not inside[column])
    heads = "".join(f'<th scope="col">{escape(titles[column])}</th>' for column in columns)
    body = ""
    for layer in range(layout.layers):
        cells = "".join(
            _cell(
                places[i],
                layer,
                router[i][layer] if had[places[i][2]][layer] else None,
                force[i][layer] if has[places[i][2]][layer] else None,
                (i, layer) in taken,
            )
            if inside[i]
            else _no_part(places[i], f"{places[i][1]},{layer}")
            for i in columns
        )
        body += f'<tr><th scope="row">{layer}</th>{cells}</tr>'
    return tagged(
        view.key,
        '<div class="scroll" tabindex="0" role="region" aria-label="Shares by layer, in percent">'
        f'<table class="shares" data-name="shares by layer, percent"{_about(view)}>'
        f'<thead><tr><th scope="col">Layer</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
    )


def thirds_table(layout: Layout, view: View | None) -> str:
    """Means over thirds of the layers, in cells for a finger; a cell picks its third's layers.

    A model with fewer layers than thirds has one column.

    Args:
        layout: the model's.
        view: None before anything is asked.
    """
    if view is None:
        return EMPTY
    bands = [band for band in BANDS if layer_range(band, layout.layers)] or ["all"]
    layers = {band: layer_range(band, layout.layers) for band in bands}
    router, force = (
        {band: part_percents(plan, layers[band]) for band in bands}
        for plan in (view.router_plan, view.plan)
    )
    heads = "".join(f'<th scope="col">{band}</th>' for band in bands)
    titles = (*signed_groups(layout), *signed_experts(layout))
    team, had, has = view.taking_part, _some(view.router_plan), _some(view.plan)
    body = ""
    for title, place in zip(titles, _rows(layout)):
        if place[:2] in (("groups-map", 0), ("experts-map", 0)):
            whole = "Groups: of the whole" if place[0] == "groups-map" else "Experts: of the group"
            body += f'<tr class="parts"><th colspan="{len(bands) + 1}">{whole}</th></tr>'
        cells = "".join(
            _third_cell(
                place,
                layers[band],
                band,
                router[band][place[2]] if any(had[place[2]][i] for i in layers[band]) else None,
                force[band][place[2]] if any(has[place[2]][i] for i in layers[band]) else None,
            )
            if place[2] in team
            else _no_part(place, f"{place[1]},{layers[band][0]}", f"{place[1]},{layers[band][-1]}")
            for band in bands
        )
        body += f'<tr><th scope="row">{escape(title)}</th>{cells}</tr>'
    return tagged(
        view.key,
        '<table class="thirds" data-name="shares by third of the layers, percent"'
        f"{_about(view)}>"
        "<caption>Share in percent, mean over a third of the layers; –: takes no part, or its "
        "group has no share"
        f"</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table>",
    )


def _about(view: View) -> str:
    """What the table's file must say besides its shares (assets/app/take.js)."""
    under = changes(view.steering) or "the router's own weights"
    return f' data-prompt="{inert(view.question)}" data-steering="{inert(under)}"'


def _no_part(place: Place, at: str, to: str = "") -> str:
    """The cell of a group or an expert that takes no part, which can be called in there."""
    until = f' data-to="{to}"' if to else ""
    return (
        f'<td class="absent"><button type="button" data-cell="{place[0]}" data-at="{at}"{until} '
        f'aria-label="{escape(place[2])} takes no part">–</button></td>'
    )


Place = tuple[str, int, str]
"""A picture, a row of it, and what the row stands for in a steering."""


def _rows(layout: Layout) -> list[Place]:
    """All rows of both pictures, the groups' first."""
    return [
        (plot, row, target)
        for plot, targets in (
            ("groups-map", layout.group_names),
            ("experts-map", layout.expert_names),
        )
        for row, target in enumerate(targets)
    ]


def _some(plan: RoutingPlan) -> dict[str, list[bool]]:
    """Whether there is anything that a target's share is of, by layer."""
    layout = plan.layout
    some = {group: [True] * layout.layers for group in layout.group_names}
    for group, experts in layout.groups:
        some |= {f"{group}/{expert}": with_share(plan, group) for expert in experts}
    return some


def _cell(place: Place, layer: int, before: float | None, now: float | None, taken: bool) -> str:
    """One share.

    Args:
        place: its own.
        layer: its own.
        before: the router's.
        now: the one in force; None, as before, where its group has none to share out.
        taken: it was set by a person.
    """
    plot, row, target = place
    kinds = " ".join(["absent"] * (now is None) + ["set"] * taken)
    return (
        f'<td class="{kinds}"><button type="button" data-cell="{plot}" data-at="{row},{layer}" '
        f"{_shares(f'{target}, layer {layer}', before, now, 1)}</button></td>"
    )


def _third_cell(
    place: Place, layers: range, band: str, before: float | None, now: float | None
) -> str:
    """One mean, on the colour of its share; None where there is nothing to share out."""
    plot, row, target = place
    colour = "" if now is None else f'style="background:{shade(now / 100)};color:{ink(now / 100)}" '
    return (
        f'<td class="{"absent" * (now is None)}"><button type="button" data-cell="{plot}" '
        f'data-at="{row},{layers[0]}" data-to="{row},{layers[-1]}" {colour}'
        f"{_shares(f'{target}, {band} layers', before, now, 0)}</button></td>"
    )


def _shares(what: str, before: float | None, now: float | None, digits: int) -> str:
    """The share in force, and the router's where it differs: as read out, and as they stand.

    Args:
        what: they are of.
        before: the router's; None where its group has none to share out.
        now: the one in force; None likewise.
        digits: behind the point.
    """
    was, share = ("–" if n is None else f"{n:.{digits}f}" for n in (before, now))
    said = "its group has no share in force" if now is None else f"{share}%"
    router = "nothing" if before is None else f"{was}%"
    small = f'<small data-csv="skip">router {was}</small>' if was != share else ""
    return f'aria-label="{escape(what)}: {said}, the router gave {router}">{share}{small}'
