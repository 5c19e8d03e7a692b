"""A dose and its response → a line chart and the same numbers as a table. The table's texts are escaped."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.compare.words import MEASURES, reading_grade
from app.steer.figure import OUTLINE
from atmoe.explanation.response import DOSES, Response

BLUE = "#0072b2"
PERCENTS = [round(100 * dose) for dose in DOSES]


def measures(response: Response) -> dict[str, list[float | None]]:
    """What is measured at each dose; None where there is nothing to measure."""
    grades = [reading_grade(answer).replace("−", "-") for answer in response.answers]
    return {
        "reading grade": [None if grade == "–" else float(grade) for grade in grades],
        "words": [len(answer.split()) for answer in response.answers],
        "log-probability of the router's answer": list(response.logp or [None] * len(PERCENTS)),
    }


def dose_figure(response: Response, own: float) -> go.Figure:
    """One panel a measure over the share.  own: the router's average share in percent, marked by a dashed line."""
    found = measures(response)
    figure = make_subplots(
        rows=len(found),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=list(found),
    )
    figure.update_annotations(font_size=12, x=0, xanchor="left")
    for row, (name, values) in enumerate(found.items(), 1):
        said = [
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
                hovertext=said,
                hoverinfo="text",
            ),
            row=row,
            col=1,
        )
        figure.add_vline(x=own, line={"color": OUTLINE, "dash": "dash", "width": 2}, row=row, col=1)
        figure.update_yaxes(
            row=row, col=1, showgrid=False, zeroline=False, automargin=True, nticks=4
        )
    figure.update_xaxes(showgrid=False, zeroline=False, range=[-4, 104], tickvals=PERCENTS)
    figure.update_xaxes(
        row=len(found), col=1, title={"text": "share, %; dashed: the router's own", "standoff": 4}
    )
    return figure.update_layout(
        height=420,
        margin={"l": 4, "r": 8, "t": 24, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.12)",
        font={"size": 12, "family": "system-ui"},
        dragmode=False,
        showlegend=False,
        hoverlabel={"font_size": 13},
    )


def dose_table(response: Response) -> str:
    """A row a dose."""
    found = measures(response)
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in (f"share of {escape(response.target)}", *found)
    )
    rows = "".join(
        f'<tr><th scope="row">{percent}%</th>'
        + "".join(f"<td>{_number(name, found[name][i])}</td>" for name in found)
        + "</tr>"
        for i, percent in enumerate(PERCENTS)
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="lenses compared"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        f'</table></div><p class="hint">{MEASURES}</p>'
    )


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    digits = {"words": 0, "reading grade": 1}.get(name, 2)
    return f"{value:.{digits}f}".replace("-", "−")
