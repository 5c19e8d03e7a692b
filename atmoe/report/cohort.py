"""Many questions → one HTML file: a table and an atlas, read without this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from atmoe.many.atlas import order
from atmoe.report.document import LIMITS, POLICY
from atmoe.report.style import STYLE, colours
from atmoe.report.words import changes
from atmoe.routing.plan import Layout
from atmoe.steering.overrides import Steering
from atmoe.wording import count

LEFT_OUT = ("nearest", "explanation")
"""Columns that are too wide for a sheet; the CSV has them."""


def cohort_report(
    model: str,
    layout: Layout,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    steering: Steering,
) -> str:
    """The report of many questions.

    Args:
        model: its name.
        layout: its groups and experts.
        rows: as the CSV has them.
        columns: the CSV's; shares and effects stand in the atlas and the CSV alone.
        steering: what all were asked under.
    """
    day = f"{datetime.now(UTC):%d %B %Y, %H:%M %Z}"
    shown = [
        name
        for name in columns
        if name not in LEFT_OUT and not name.startswith(("shares ", "effects "))
    ]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in shown)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_text(row.get(name)))}</td>' for name in shown)}</tr>"
        for row in rows
    )
    whose = changes(steering)
    under = f"Under the router's plans, steered: {whose}." if whose else "Under the router's plans."
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>AT-MoE cohort, {escape(day)}</title><style>{STYLE}{colours()}"
        "body { max-width: 100rem; }</style></head><body>"
        "<header><h1>AT-MoE Explorer: many questions</h1>"
        f'<p class="warning"><strong>{escape(LIMITS[0])}</strong></p>'
        f'<p class="small">{escape(count(len(rows), "question"))}, asked of {escape(model)} on '
        f"{escape(day)}. {escape(under)}</p></header><main>"
        '<section><h2>Questions</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Questions"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div></section>{_atlas(layout, rows)}"
        f"<section><h2>Limits</h2>{''.join(f'<p>{escape(limit)}</p>' for limit in LIMITS)}"
        "</section></main></body></html>\n"
    )


def _atlas(layout: Layout, rows: Sequence[Mapping[str, Any]]) -> str:
    """Questions × experts, like ones beside one another; whole percent of the routing weight."""
    ready = [row for row in rows if not row.get("error")]
    if not ready:
        return ""
    weights = [[_weight(row, name) for name in layout.expert_names] for row in ready]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in layout.expert_names)
    lines = []
    for at in order(weights):
        cells = [round(100 * weight) for weight in weights[at]]
        line = "".join(f'<td class="c{min(cell, 100)}">{cell}</td>' for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(str(ready[at]["id"]))}</th>{line}</tr>')
    return (
        "<section><h2>Atlas</h2><p>Each expert's part of the routing weight, whole percent, mean "
        "over the layers; questions of like plans stand together. A weight is no effect.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Atlas"><table class="map">'
        f'<thead><tr><th scope="col">id</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        "</table></div></section>"
    )


def _weight(row: Mapping[str, Any], expert: str) -> float:
    """An expert's part of the routing weight, of the means over the layers."""
    group = expert.partition("/")[0]
    return row[f"shares {group}"] * row[f"shares {expert}"]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
