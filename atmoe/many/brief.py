"""A plan, an answer or an explanation → the few numbers that a table or a language model reads.

The tables by layer are left out: a share is the mean over layers, to four digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from atmoe.errors import AtMoeError
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import leaders, verdict
from atmoe.many.rows import NOTHING
from atmoe.model import Routed, Scored
from atmoe.record import Record
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.sources.value import Source
from atmoe.study.faithfulness import Judged
from atmoe.study.reading import grade_of, word_count

Brief = dict[str, Any]


def brief_of_plan(plan: RoutingPlan) -> Brief:
    """Who takes part, each group's share, each expert's share of its group, and the strength.

    Returns:
        {"team": experts, "heaviest": group → the expert with most weight in it, None where the
            group takes no part, "in_doubt": the groups of `RoutingPlan.doubts`, "strength": the
            mean over layers, "shares": group → its share of the routing weight, group/expert → its
            share of the group, each the mean over layers; 0 for who takes no part}.
    """
    layout = plan.layout
    shares = dict(zip(layout.group_names, _digits(plan.group_weights.mean(0).tolist())))
    # whoever would take part, if the group had a share, has the group's in the plan
    inside = {
        name: share if name in plan.taking_part else 0.0
        for name, share in zip(layout.expert_names, _digits(plan.expert_shares.mean(0).tolist()))
    }
    weights, heaviest = dict(zip(layout.expert_names, plan.weights.mean(0).tolist())), {}
    for group in layout.group_names:
        leads = max(layout.expert_names[layout.members(group)], key=weights.__getitem__)
        heaviest[group] = None if group in plan.absent else leads
    return {
        "team": list(plan.team),
        "heaviest": heaviest,
        "in_doubt": list(plan.doubts),
        "strength": round(float(plan.strength.mean()), 4),
        "shares": shares | inside,
    }


def brief_of_routed(routed: Routed) -> Brief:
    """The plan for a question, and where the question lies."""
    found = routed.found
    place = {} if found is None else _place(found.familiarity, found.nearest)
    return place | brief_of_plan(routed.plan)


def brief_of_scored(scored: Scored) -> Brief:
    """How likely an answer is."""
    return {"mean_logprob": scored.mean, "tokens": len(scored.tokens)}


def brief_of_record(record: Record, language: str) -> Brief:
    """An answer, where its question lies, and what it depended on, where that was measured.

    Args:
        record: the answer.
        language: what the model learned from (`Info.language`).

    Returns:
        {"answer", "finish", "tokens", "words", "grade", "flags"}, then as `brief_of_routed` has it,
        then {"verdict", "explanation", "costliest", "effects"} of an explained one.
    """
    grade = grade_of(record.answer, language)
    flags = record.flags or ()
    brief: Brief = {
        "answer": record.answer,
        "finish": record.finish,
        "tokens": len(record.answer_tokens),
        "words": word_count(record.answer),
        "grade": None if grade is None else round(grade, 1),
        "flags": list(dict.fromkeys(flag.sentence for flag in flags)),
    }
    brief |= _place(record.familiarity, record.nearest or ())
    brief |= brief_of_plan(record.plan)
    return brief | (_measured(record.explanation) if record.explanation else {})


def brief_of(value: Routed | Scored | Record | Judged, language: str) -> Brief:
    """Of whatever one of the commands makes.

    Args:
        value: what was made.
        language: what the model learned from (`Info.language`): a reading grade is for English.
    """
    if isinstance(value, Judged):
        return brief_of_record(value.record, language)
    if isinstance(value, Routed):
        return brief_of_routed(value)
    if isinstance(value, Scored):
        return brief_of_scored(value)
    return brief_of_record(value, language)


def how_asked(value: Routed | Scored | Record | Judged) -> dict[str, Any]:
    """What a table holds beside a brief, so that its rows are asked as they were when it is read.

    Returns:
        {"steering": as `written_steering` has it, "seed": of an answer}.
    """
    if isinstance(value, Judged):
        return how_asked(value.record)
    steering = {"steering": written_steering(value.steering.to_dict())}
    return steering | ({"seed": value.seed} if isinstance(value, Record) else {})


def written_steering(steering: Any) -> str:
    """A steering, or what a row has in its place, as a cell that is read as the same; "" = none."""
    if steering is None or steering in NOTHING:
        return ""
    try:
        return json.dumps(steering)  # ASCII: a broken one may hold what UTF-8 does not
    except RecursionError:
        return "too deep"  # no JSON: it stays an error


def _place(familiarity: float | None, nearest: Sequence[Source]) -> Brief:
    """Where a question lies; what was not measured is null."""
    return {
        "familiarity": familiarity,
        "nearest": [" ".join(filter(None, (n.named, n.address))) for n in nearest],
    }


def _measured(explanation: Explanation) -> Brief:
    """What an answer depended on: effects in nats a token, of groups and experts."""
    units = (*explanation.of("group"), *explanation.of("expert"))
    ruling = verdict(explanation)
    costliest = {group: s.name for group, (_, s) in leaders(explanation).items() if s.weight}
    several = [group for group, experts in explanation.layout.groups if len(experts) > 1]
    return {
        "verdict": str(ruling.level),
        "explanation": ruling.sentence,
        "costliest": {group: costliest.get(group) for group in several},
        "effects": {unit.name: round(unit.effect, 4) for unit in units},
    }


def _digits(shares: Sequence[float]) -> list[float]:
    return [round(share, 4) for share in shares]


def columns(command: str, layout: Layout) -> tuple[str, ...]:
    """The columns of a table of a command's rows: the same for all of them, and for a file.

    Args:
        command: route, answer, explain, score or faithfulness, which has those of explain.
        layout: the model's.

    Raises:
        AtMoeError: another command.
    """
    command = "explain" if command == "faithfulness" else command
    first = ("id", "question", "error", "steering")
    if command == "score":
        return (*first, "mean_logprob", "tokens")
    if command not in ("route", "answer", "explain"):
        raise AtMoeError(f"There is no table of {command}.")
    named: tuple[str, ...] = first
    if command != "route":
        named += ("seed", "answer", "finish", "tokens", "words", "grade", "flags")
    groups, experts = layout.group_names, layout.expert_names
    named += ("familiarity", "nearest", "team")
    named += (*(f"heaviest {group}" for group in groups), "in_doubt", "strength")
    named += tuple(f"shares {name}" for name in (*groups, *experts))
    if command == "explain":
        several = [group for group, members in layout.groups if len(members) > 1]
        named += ("verdict", "explanation", *(f"costliest {group}" for group in several))
        named += tuple(f"effects {name}" for name in (*groups, *experts))
    return named


def flat(brief: Mapping[str, Any]) -> dict[str, Any]:
    """A brief as one row of a table: lists are joined, and what is by name has a column a name."""
    row: dict[str, Any] = {}
    for name, value in brief.items():
        if isinstance(value, Mapping):
            row |= {f"{name} {key}": part for key, part in value.items()}
        elif isinstance(value, list):
            row[name] = "; ".join(value)
        else:
            row[name] = value
    return row
