"""Many questions → a table, two of them side by side, how far they are; in HTML that escapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from atmoe import Sampling, Steering
from atmoe.many.brief import Brief
from atmoe.many.rows import Row
from atmoe.many.survey import Survey
from atmoe.report.words import changes
from atmoe.wording import count, minus, whole_percent

LIKE = ("⚠ unlike", "at its edge", "like it")
"""Of a question that is far from training, at its edge, and neither."""
RANK = "familiarity {:.2f}: a rank among questions on unseen topics; short questions rank low"
"""The number, which is not the word's own measure: an example that is very near outweighs it."""


def under(steering: Steering, rows: Sequence[Row], sampling: Sampling | None) -> str:
    """What questions are asked under.

    Args:
        steering: of those that bring none of their own.
        rows: the questions.
        sampling: of their answers; None where they are not answered.
    """
    whose = changes(steering)
    parts = [f"under your steering: {whose}" if whose else "under the router's own plans"]
    survey = Survey.of(rows, None if sampling is None else asdict(sampling))
    if survey.steered:
        parts.append(f"{survey.steered} bring a steering of their own")
    if survey.repeated:
        parts.append(f"{count(survey.repeated, 'id')} of more than one row")
    if sampling is not None:
        parts.append(f"answers of at most {count(sampling.max_new_tokens, 'token')}")
        if sampling.temperature:
            parts.append(f"temperature {sampling.temperature:g}, seed {sampling.seed}")
        if survey.seeded:
            parts.append(f"{survey.seeded} bring a seed of their own")
        if survey.otherwise:
            parts.append(f"{survey.otherwise} were sampled otherwise before")
    return "; ".join(parts)


def progress(done: int, total: int, errors: int, seconds: float, ended: bool) -> str:
    """How far the questions are, and about how long the rest will take."""
    parts = [f"{done} of {count(total, 'question')}"]
    if errors:
        parts.append(f"{errors} with an error instead")
    if ended:
        parts.append("ready: click a heading to sort, tick two rows to compare them")
    elif done:
        left = seconds / done * (total - done)
        parts.append(f"about {count(max(1, round(left / 60)), 'minute')} left")
    return " · ".join(parts)


MEASURED = {"words": "words", "grade": "grade", "flags": "flags", "verdict": "do weights explain?"}
"""Columns that answers and explanations have, by what a brief calls them."""


def table(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[str], words: Mapping[str, str]
) -> str:
    """A row a question; what was not measured is a dash, or has no column.

    Args:
        rows: {"number", "id", "question", "error", "like", "brief"} of each.
        groups: of the model.
        words: what a group is called, where it is not its name.
    """
    measured = [name for name in MEASURED if any(name in row["brief"] for row in rows)]
    heads = ["", "id", "question", *(words.get(group, group) for group in groups)]
    heads += ["like training?", *(MEASURED[name] for name in measured)]
    head = "".join(_head(text) for text in heads)
    body = "".join(_row(row, groups, measured) for row in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="The questions">'
        '<table class="cohort" data-name="the questions">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(text: str) -> str:
    if not text:
        return '<th scope="col" data-csv="skip"><span class="sr-only">compare</span></th>'
    return f'<th scope="col" aria-sort="none"><button type="button">{escape(text)}</button></th>'


def _row(row: Mapping[str, Any], groups: Sequence[str], measured: Sequence[str]) -> str:
    number, brief = row["number"], row["brief"]
    name = f'<th scope="row" data-sort="{number}">{escape(row["id"])}</th>'
    question = f"<td>{escape(row['question'])}</td>"
    if row["error"]:
        width = len(groups) + 1 + len(measured)
        error = f'<td colspan="{width}">{escape(row["error"])}</td>'
        return f'<tr><td data-csv="skip"></td>{name}{question}{error}</tr>'
    pick = (
        f'<td data-csv="skip"><input type="checkbox" data-row="{number}" '
        f'aria-label="Compare {escape(row["id"])}"></td>'
    )
    cells = "".join(_group_cell(brief, group) for group in groups)
    cells += _like_cell(brief.get("familiarity"), row["like"])
    for each in measured:
        value = brief[each]
        if each == "verdict":
            why = escape(brief["explanation"])
            cells += f'<td data-sort="{escape(value)}" title="{why}">{escape(value)}</td>'
        elif each == "flags":
            cells += _cell(len(value), str(len(value)))
        else:
            cells += _cell(value, "" if value is None else minus(f"{value:g}"))
    return f"<tr>{pick}{name}{question}{cells}</tr>"


def _like_cell(rank: float | None, like: str) -> str:
    """How like training, in a word; sorted by the word, and of the same word by the rank."""
    if rank is None:
        return _cell(None, "", "")
    place = LIKE.index(like) + rank / 2
    return f'<td data-sort="{place:.4f}" title="{RANK.format(rank)}">{escape(like)}</td>'


def _group_cell(brief: Brief, group: str) -> str:
    """Who leads a group, and the group's share."""
    heaviest, share = brief["heaviest"][group], brief["shares"][group]
    if heaviest is None:
        return '<td data-sort="">takes no part</td>'
    leader = heaviest.partition("/")[2]
    doubt = ' <abbr title="in doubt">⚠</abbr>' * (group in brief["in_doubt"])
    return (
        f'<td data-sort="{escape(leader)} {share:.4f}">{escape(leader)}{doubt} '
        f"<small>{whole_percent(share)}</small></td>"
    )


def _cell(value: float | None, text: str, kind: str = "n") -> str:
    """A cell by its number; what was not measured comes first."""
    return f'<td class="{kind}" data-sort="{-1 if value is None else value}">{text or "–"}</td>'


def pair(first: Mapping[str, Any], second: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Two rows beside each other."""
    both = (first, second)
    rows = [("question", [row["question"] for row in both])]
    if all("answer" in row["brief"] for row in both):
        rows.append(("answer", [row["brief"]["answer"] for row in both]))
    for name, shares in _shares(first["brief"], second["brief"], words):
        rows.append((name, shares))
    for name, title in (
        ("explanation", "do the weights explain it?"),
        ("grade", "reading grade"),
    ):
        values = [row["brief"].get(name) for row in both]
        if None not in values:
            rows.append((title, [minus(str(value)) for value in values]))
    head = "".join(f'<th scope="col">{escape(row["id"])}</th>' for row in both)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for name, values in rows
    )
    return (
        '<table class="lenses compared" data-name="two questions">'
        f'<thead><tr><th scope="col">two questions</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _shares(first: Brief, second: Brief, words: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The groups, and the experts of either's team."""
    rows = []
    team = {*first["team"], *second["team"]}
    for name in first["shares"]:
        group, _, expert = name.partition("/")
        if expert and name not in team:
            continue
        title = f"{words.get(group, group)}: {expert}" if expert else f"{words.get(group, group)}"
        rows.append((title, [_share(brief, name) for brief in (first, second)]))
    return rows


def _share(brief: Brief, name: str) -> str:
    """A group's share, or an expert's of its group, where it takes part."""
    part = name in brief["team"] if "/" in name else brief["heaviest"][name]
    return whole_percent(brief["shares"][name]) if part else "takes no part"
