"""A dose and its response → a line chart and the same numbers as a table.

The table's texts are escaped.
"""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.ask.words import reading_grade
from app.compare.words import MEASURES
from app.theme import BARE_AXIS, BLUE, HOVER, LOOK, MARGIN, PANEL_TITLE, VERMILION
from atmoe.explanation.response import DOSES, Response
from atmoe.study.reading import ENGLISH, word_count
from atmoe.wording import minus

PERCENTS = [round(100 * dose) for dose in DOSES]


def measures(response: Response, language: str = ENGLISH) -> dict[str, list[float | None]]:
    """What is measured at each dose, by name; None where there is nothing to measure."""
    grades = [reading_grade(answer, language).replace("−", "-") for answer in response.answers]
    return {
        "reading grade": [None if grade == "–" else float(grade) for grade in grades],
        "words": [word_count(answer) for answer in response.answers],
        "log-probability of the router's answer": list(response.logp or [None] * len(PERCENTS)),
    }


def dose_figure(response: Response, own: float, language: str = ENGLISH) -> go.Figure:
    """One panel a measure over the share.

    Args:
        response: the answers and what was measured of them.
        own: the router's average share in percent, marked by a dashed line.
        language: what the model learned from.
    """
    panels = measures(response, language)
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=list(panels),
    )
    figure.update_annotations(**PANEL_TITLE)
    for row, (name, values) in enumerate(panels.items(), 1):
        labels = [
            "" if value is None else f"{name} {_number(name, value)} at {percent}%"
            for percent, value in zip(PERCENTS, values)
        ]
        figure.add_trace(
            go.Scatter(
                x=PERCENTS,
                y=values,
                mode="lines+markers",
                line={"color": BLUE},
                marker={"size": 8},
                hovertext=labels,
                hoverinfo="text",
            ),
            row=row,
            col=1,
        )
        dashed = {"color": VERMILION, "dash": "dash", "width": 2}
        figure.add_vline(x=own, line=dashed, row=row, col=1)
        figure.update_yaxes(row=row, col=1, **BARE_AXIS, automargin=True, nticks=4)
    figure.update_xaxes(**BARE_AXIS, range=[-4, 104], tickvals=PERCENTS)
    figure.update_xaxes(
        row=len(panels), col=1, title={"text": "share, %; dashed: the router's own", "standoff": 4}
    )
    return figure.update_layout(
        **LOOK,
        height=420,
        margin={"l": MARGIN, "r": 8, "t": 24, "b": 46},
        showlegend=False,
        hoverlabel=HOVER,
    )


def dose_table(response: Response, language: str = ENGLISH) -> str:
    """A row a dose."""
    columns = measures(response, language)
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in (f"share of {escape(response.target)}", *columns)
    )
    rows = []
    for i, percent in enumerate(PERCENTS):
        cells = [f"<td>{_number(name, values[i])}</td>" for name, values in columns.items()]
        rows.append(f'<tr><th scope="row">{percent}%</th>{"".join(cells)}</tr>')
    return (
        '<div class="scroll" tabindex="0">'
        '<table class="lenses compared" data-name="answers at five shares">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f'</table></div><p class="hint">{MEASURES}</p>'
    )


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    digits = {"words": 0, "reading grade": 1}.get(name, 2)
    return minus(f"{value:.{digits}f}")
