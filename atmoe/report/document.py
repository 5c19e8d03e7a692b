"""Records → one HTML file: what was asked and answered, under which weights, and by what.

It is to be read in ten years without this program: plain HTML with its style inside, no script,
nothing that is fetched. Every number is a record's, and every text from outside is escaped.

    head ─ question ─ answers ─ settings ─ weights ─ why ─ what if ─ drafts ─ sources ─ limits ─
    made by
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from atmoe import Record, RoutingPlan
from atmoe.explanation.drafts import Drafts
from atmoe.flags.finding import NO_VERDICT, NOT_HELD, source_of
from atmoe.report.measured import drafts_of, lies, what_if, why
from atmoe.report.style import STYLE, colours
from atmoe.report.table import table
from atmoe.report.words import (
    average_percents,
    changes,
    doubts,
    flags,
    given_by_link,
    part_percents,
    team_note,
)
from atmoe.study.reading import length_of
from atmoe.wording import count, listed

NAMES = ("The router's answer", "The steered answer")
MOST_COLUMNS = 30
"""So many layers stand beside one another on a sheet of A4."""
FINISHES = {
    "stop": "ended by itself",
    "length": "stopped at the token limit",
    "cancelled": "stopped before its end",
}
OF_LINK = "<strong>Taken from a link, not answered by whoever made this report</strong>"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may fetch and run for a report: nothing."""
STRICT = "Research demo, not a medical device."
"""The warning of records that hold none: all were made so before models had their own."""
LIMITS = (
    "{warning} A small language model wrote these answers; it is often wrong, and nobody has "
    "checked them. Do not act on them.",
    "A weight is what an expert was given, not proof that it mattered. What mattered is measured "
    "by leaving a part out (“Why”), for this one answer and not for others.",
    "The same question, worded otherwise, may get another answer and other weights.",
    "Whoever has this file can read the question. It says what the file's maker says: a file can "
    "be edited, and only answering again, with the model named below, shows whether it holds.",
)


def limits_of(warning: str) -> tuple[str, ...]:
    """What must be known of answers, the model's own warning first."""
    first, *others = LIMITS
    return first.format(warning=warning), *others


def report(
    router: Record, steered: Record | None, made: datetime, drafts: Drafts | None = None
) -> str:
    """The report of one question.

    Args:
        router: the router's answer; alone, it may be a steered one.
        steered: the steered one to the same question, where there is one.
        made: when the report is made, with its time zone.
        drafts: of one of the two, where they were asked for.
    """
    limits = limits_of(router.model.get("warning") or STRICT)
    records = [router] if steered is None else [router, steered]
    last = records[-1]
    alone = steered is None and not last.steering.untouched
    answers = list(zip(("The steered answer",) if alone else NAMES, records))
    in_force = last.plan if alone or steered is not None else None
    day = f"{made:%d %B %Y, %H:%M %Z}".strip()
    parts = [
        "<header><h1>AT-MoE Explorer: report of one question</h1>",
        f'<p class="warning"><strong>{escape(limits[0])}</strong></p>',
        f'<p class="small">Made on {escape(day)}.</p></header><main>',
        _section("Question", f'<p class="answer">{escape(router.prompt)}</p>'),
        _section("Answers", "".join(_answer(name, record) for name, record in answers)),
        _section("Settings", _settings(last, len(records))),
        _section("Weights", _weights(router.router_plan, in_force)),
        _section("Why", "".join(why(name, record) for name, record in answers)),
        _section("What if", what_if(router)) if router.response else "",
        _section("Drafts", drafts_of(drafts)) if drafts else "",
        _section("Where the question lies", lies(router)),
        _section("Limits", "".join(f"<p>{escape(limit)}</p>" for limit in limits)),
        _section("Made by", _made_by(answers)),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>AT-MoE report, {escape(day)}</title><style>{STYLE}{colours()}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _answer(name: str, record: Record) -> str:
    tokens = count(len(record.answer_tokens), "token")
    facts = [length_of(record.answer), tokens, FINISHES[record.finish]]
    if given_by_link(record):
        facts.insert(0, OF_LINK)
    return (
        f"<h3>{escape(name)}</h3><p>{escape(under(record))}</p>"
        f'<p class="answer">{escape(record.answer)}</p>'
        f'<p class="small">{" · ".join(facts)}</p>{_flags(record)}'
    )


def _flags(record: Record) -> str:
    """What is flagged in an answer, under the words that it never goes without."""
    if record.flags is None:
        return "<p>Not looked through for what its source does not hold.</p>"
    held = "" if source_of(record.prompt) else f"<p>{escape(NOT_HELD.capitalize())}.</p>"
    if not record.flags:
        said = "Nothing flagged in its words, which does not say that they are right."
        return f"<p>{said}</p>{held}"
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in flags(record))
    return f"<p>Flagged in its words:</p><ul>{items}</ul><p>{escape(NO_VERDICT)}</p>{held}"


def under(record: Record) -> str:
    """The plan that an answer was given under, in words."""
    steered = changes(record.steering)
    whose = f"the router's plan, steered: {steered}" if steered else "the router's own plan"
    said = f"Given under {whose}. {team_note(record.plan)}"
    if not record.plan.team:
        return said
    shares = [f"{group} {percent:.1f}%" for group, percent in average_percents(record.plan).items()]
    return f"{said} Of the routing weight, on average over the layers: {listed(shares)}."


def _settings(record: Record, answers: int) -> str:
    """How the answers were asked for: the last one's record tells it for all."""
    names = {
        "max_new_tokens": "Longest answer, tokens",
        "temperature": "Temperature (0 = always the most likely token)",
        "top_p": "Nucleus (top-p)",
        "repetition_penalty": "Repetition penalty",
    }
    rows = [(names.get(name, name), f"{value:g}") for name, value in record.sampling.items()]
    rows.append(("Seed", str(record.seed)))
    rows.append(("Steering", changes(record.steering) or "none"))
    whose = "both answers were" if answers > 1 else "the answer was"
    return table(f"How {whose} asked for", ("setting", "value"), rows)


def _weights(router: RoutingPlan, steered: RoutingPlan | None) -> str:
    layout, plans = router.layout, [router] if steered is None else [router, steered]
    percents = [part_percents(plan) for plan in plans]
    heads = ("part", "router", "steered")[: 1 + len(plans)]
    takes_part = {name for plan in plans for name in plan.taking_part}
    groups = [(g, *(f"{each[g]:.1f}%" for each in percents)) for g in layout.group_names]
    experts = [
        (
            name,
            *(
                f"{each[name]:.1f}%" if name in plan.taking_part else "–"
                for plan, each in zip(plans, percents)
            ),
        )
        for name in layout.expert_names
        if name in takes_part
    ]
    parts = [
        table("Groups: share of the routing weight, mean over the layers", heads, groups, 1),
        table("Experts: share of their group, mean over the layers", heads, experts, 1),
        "<p>–: takes no part.</p>" if any("–" in row for row in experts) else "",
    ]
    everybody = (*layout.group_names, *layout.expert_names)
    absent = [name for name in everybody if name not in takes_part]
    if absent:
        parts.append(f"<p>{escape(f'Takes no part: {listed(absent)}.')}</p>")
    if router.doubts:
        parts.append(f"<p>{escape(doubts(router))}</p>")
    parts.append(
        "<h3>By layer</h3><p>Whole percent; dark is 0%, light is 100%; –: its group has no share "
        "there. Layers run from left to right, as a question passes through them.</p>"
    )
    for whose, plan in zip(("the router's plan", "the steered plan"), plans):
        rows = list(zip(layout.group_names, plan.group_weights.T.tolist()))
        parts.append(_map(f"Groups, share of the routing weight: {whose}", rows))
        has = plan.group_shares[:, list(layout.group_of)] > 0  # [layers, experts]
        shares = plan.expert_shares.where(has, math.nan).T.tolist()
        pairs = zip(layout.expert_names, shares)
        if rows := [(name, own) for name, own in pairs if name in plan.taking_part]:
            parts.append(_map(f"Experts, share of their group: {whose}", rows))
        if any(strength != 1 for strength in plan.strength.tolist()):
            strengths = sorted(set(plan.strength.tolist()))
            parts.append(
                f"<p>All experts at strength {listed([f'{s:g}' for s in strengths])} (1 = as "
                "trained, 0 = the base model alone).</p>"
            )
    return "".join(parts)


def _map(title: str, rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Shares by layer, each a coloured cell with its number; wide models in several tables.

    Where a share is no number there is a dash.
    """
    layers = range(len(rows[0][1]))
    tables = []
    for first in range(0, len(layers), MOST_COLUMNS):
        part = layers[first : first + MOST_COLUMNS]
        caption = title if len(part) == len(layers) else f"{title}, layers {part[0]}–{part[-1]}"
        head = "".join(f'<th scope="col">{layer}</th>' for layer in part)
        lines = []
        for name, shares in rows:
            line = "".join(_cell(shares[layer]) for layer in part)
            lines.append(f'<tr><th scope="row">{escape(name)}</th>{line}</tr>')
        tables.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
            f'<table class="map"><caption>{escape(caption)}</caption>'
            f'<thead><tr><th scope="col">layer</th>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )
    return "".join(tables)


def _cell(share: float) -> str:
    if math.isnan(share):
        return "<td>–</td>"
    percent = round(100 * share)
    return f'<td class="c{min(percent, 100)}">{percent}</td>'


def _made_by(answers: Sequence[tuple[str, Record]]) -> str:
    _, router = answers[0]
    rows = [*_of("Model", router.model), *_of("Base", router.base)]
    for name, record in answers:
        made = "; ".join(f"{library} {version}" for library, version in record.versions.items())
        rows.append((f"{name}: computed with", made))
        times = "; ".join(f"{what} {value:g}" for what, value in record.timings.items())
        rows.append((f"{name}: times", times or "not decoded here, or given before"))
    return table("To have these answers again, ask this model with these settings", (), rows)


def _of(what: str, made_by: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"{what}, {name}", value) for name, value in made_by.items()]
