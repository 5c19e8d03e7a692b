"""Many questions → one HTML file: a table and an atlas, read without this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from atmoe.flags.finding import NO_VERDICT
from atmoe.many.atlas import order
from atmoe.report.document import POLICY, STRICT, limits_of
from atmoe.report.style import STYLE, colours
from atmoe.routing.layout import Layout
from atmoe.wording import count, whole_percent

MEASURED = {
    "familiarity": "like training?",
    "words": "words",
    "grade": "grade",
    "flags": "flagged",
    "explanation": "do the weights explain it?",
}
"""Columns beside the groups', as the CSV and as a reader calls them."""
HELD = "An answer is held against its question's text where that is a dialogue or an abstract only."
LIKE_TRAINING = "like training"
"""What a row calls, in a word, what the CSV gives as a rank."""
OWN_STYLE = """
body { max-width: 80rem; } .questions :is(th, td) { overflow-wrap: normal; }
.questions td.asked { min-width: 20rem; overflow-wrap: anywhere; } .asked strong { display: block; }
.asked span { white-space: pre-wrap; }
table.map thead th + th { writing-mode: vertical-rl; padding: .2rem 0; text-align: left; }
"""


def cohort_report(
    model: str,
    layout: Layout,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    under: str,
    weights: Sequence[Sequence[float]],
    warning: str = STRICT,
) -> str:
    """The report of many questions.

    Args:
        model: its name.
        layout: its groups and experts.
        rows: as the CSV has them, with `LIKE_TRAINING`.
        columns: the CSV's; shares and effects stand in the atlas and the CSV alone.
        under: what they were asked under, steering and settings, in words.
        weights: of each row without an error, what it gives each expert, mean over the layers.
        warning: the model's.
    """
    day = f"{datetime.now(UTC):%d %B %Y, %H:%M %Z}"
    measured = [name for name in MEASURED if name in columns]
    heads = ["id", "question", *layout.group_names, *(MEASURED[name] for name in measured)]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(_row(row, layout, measured) for row in rows)
    limits = limits_of(warning)
    if "flags" in columns:
        limits += (NO_VERDICT, HELD)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>AT-MoE cohort, {escape(day)}</title><style>{STYLE}{colours()}"
        f"{OWN_STYLE}</style></head><body>"
        "<header><h1>AT-MoE Explorer: many questions</h1>"
        f'<p class="warning"><strong>{escape(limits[0])}</strong></p>'
        f'<p class="small">{escape(count(len(rows), "question"))}, asked of {escape(model)} on '
        f"{escape(day)}, {escape(under)}.</p></header><main>"
        '<section><h2>Questions</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Questions"><table class="questions"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>{_atlas(layout, rows, weights)}"
        f"<section><h2>Limits</h2>{''.join(f'<p>{escape(limit)}</p>' for limit in limits)}"
        "</section></main></body></html>\n"
    )


def _atlas(
    layout: Layout, rows: Sequence[Mapping[str, Any]], weights: Sequence[Sequence[float]]
) -> str:
    """Questions × experts, like ones beside one another; whole percent of the routing weight."""
    ready = [row for row in rows if not row.get("error")]
    if not ready:
        return ""
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


def _row(row: Mapping[str, Any], layout: Layout, measured: Sequence[str]) -> str:
    """A question and its answer, who leads each group, and what was measured."""
    asked = f"<strong>{escape(row['question'])}</strong>"
    if row.get("answer"):
        asked += f"<span>{escape(row['answer'])}</span>"
    first = f'<th scope="row">{escape(row["id"])}</th><td class="asked">{asked}</td>'
    if row.get("error"):
        width = len(layout.groups) + len(measured)
        return f'<tr>{first}<td colspan="{width}">{escape(row["error"])}</td></tr>'
    cells = ""
    for group in layout.group_names:
        heaviest = row[f"heaviest {group}"]
        if heaviest is None:
            cells += "<td>takes no part</td>"
            continue
        leader = heaviest.partition("/")[2]
        cells += f"<td>{escape(leader)} ({whole_percent(row[f'shares {group}'])})</td>"
    for name in measured:
        cells += _cell(row.get(LIKE_TRAINING if name == "familiarity" else name))
    return f"<tr>{first}{cells}</tr>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        digits = f"{value:.2f}".rstrip("0").rstrip(".")
        return f'<td class="n">{digits}</td>'
    return f"<td>{'–' if value is None else escape(value)}</td>"
