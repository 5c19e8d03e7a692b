"""Plans and records → sentences. Measured numbers only; weight is called weight, and never a reason.

Whatever comes back is plain text or, where it says Markdown, holds nothing but emphasis.
"""

from __future__ import annotations

from itertools import groupby

from app.session import Progress
from app.steer.view import View, all_percents, average_percents, changed
from atmoe import Override, RoutingPlan, State, Steering
from atmoe.explanation.coherence import INNER, Cohort

SCOPES = {
    "all": "in all layers",
    "early": "in the early layers",
    "middle": "in the middle layers",
    "late": "in the late layers",
}
MAX_RUNS = 4
"""More alternations than this, and layers are counted instead of listed."""


def badge(steering: Steering) -> str:
    """Whose weights are in force."""
    experts = sum("/" in target for target in changed(steering))
    groups = len(changed(steering)) - experts
    parts = [
        _count(count, noun) for count, noun in ((groups, "group"), (experts, "expert")) if count
    ]
    parts += ["the strength"] * (steering.strength != 1)
    return f"You changed {_list(parts)}" if parts else "Router's own weights"


def changes(steering: Steering) -> str:
    """What was changed, in one line: "task and field fixed at 30% in all layers; strength 0.5"."""
    alike: dict[str, list[str]] = {}
    for o in steering.overrides:
        alike.setdefault(f"{_change(o)} {where(o.scope)}", []).append(o.target)
    parts = [f"{_list(targets)} {change}" for change, targets in alike.items()]
    if steering.strength != 1:
        parts.append(
            f"strength {steering.strength:g}" + " (the base model alone)" * (steering.strength == 0)
        )
    return "; ".join(parts)


def where(scope: str) -> str:
    """The layers of an override: "in the late layers", "in layers 12–17"."""
    return SCOPES.get(scope) or f"in layer{'s' * ('-' in scope)} {scope.replace('-', '–')}"


def facts(progress: Progress) -> str:
    """What was measured about an answer."""
    record = progress.record
    words, tokens = len(record.answer.split()), len(record.answer_tokens)
    parts = [_count(words, "word"), _count(tokens, "token")]
    if not progress.ended:
        return " · ".join(parts)
    limit = record.sampling["max_new_tokens"]
    parts.append(
        {"stop": "ended by itself", "length": f"stopped at the {limit}-token limit"}.get(
            record.finish, "stopped before its end"
        )
    )
    if progress.whole is not None:
        parts += [
            f"mean log-probability {_signed(progress.whole.logp)} per token",
            f"repeated trigrams {progress.whole.repeated:.0%}",
        ]
    speed = record.timings.get("decode_tokens_per_s")
    parts.append(
        "given before, not decoded again" if speed is None else f"{speed:.0f} tokens per second"
    )
    return " · ".join(parts)


def warning(progress: Progress, cohort: Cohort | None) -> str:
    """Where an answer reads worse than those that were measured at strength 1; empty where it does not, or nothing was."""
    found = progress.opening
    if cohort is None or found is None or not cohort.compares(progress.record):
        return ""
    where = (
        ""
        if found.tokens == len(progress.record.answer_tokens)
        else f" in its first {found.tokens} tokens"
    )
    said = {
        "repeated": f"{found.repeated:.0%} of its trigrams (three words in a row) stood in it before{where}; "
        f"{INNER[1]:.0%} of them had at most {cohort.range['repeated'][1]:.0%}",
        "logp": f"its mean log-probability{where} is {_signed(found.logp)} per token; {INNER[1]:.0%} of them had at least "
        f"{_signed(cohort.range['logp'][0])}",
    }
    parts = [said[measure] for measure in cohort.outside(found)]
    return (
        f"Beyond the {_count(cohort.prompts, 'answer')} measured at strength 1: {'; '.join(parts)}."
        if parts
        else ""
    )


def strength_note(cohort: Cohort | None) -> str:
    """From which strength on answers were measured to run in circles; empty where it was not measured."""
    if cohort is None:
        return ""
    repeated = dict(zip(cohort.strengths, cohort.median["repeated"]))
    low, high = cohort.range["repeated"]
    measured = f"Measured on {_count(cohort.prompts, 'question')}: at strength 1, nine in ten answers repeated {low:.0%} to {high:.0%} of their trigrams"
    most = max(repeated)
    if cohort.leaves is None:
        return f"{measured}; up to {most:g} the median answer stayed within that ({repeated[most]:.0%} at {most:g})."
    return f"{measured}; from {cohort.leaves:g} on the median answer repeated more ({repeated[cohort.leaves]:.0%}, and {repeated[most]:.0%} at {most:g})."


def waiting(before: int, what: str = "answer") -> str:
    """Where someone stands who waits for a place."""
    return "Waiting for a free place: " + (
        f"{before} {what}{'s are' if before > 1 else ' is'} before yours."
        if before
        else "yours is next."
    )


def reading(view: View) -> str:
    """The routing in two or three sentences of Markdown."""
    router = (
        f"At an average layer, {_tops(view.router_plan)}. Of the routing weight, {_averages(view.router_plan)}; "
        f"{_leaders(view.router_plan)}."
    )
    if view.steering.untouched:
        return router
    return f"{router} **With your steering** ({changes(view.steering)}): {_averages(view.plan)}."


def share_note(view: View, target: str) -> str:
    """The shares of one group, or of one expert inside its group: the router's beside the one in force."""
    before, now = (all_percents(plan)[target] for plan in (view.router_plan, view.plan))
    states = {
        chosen[target].state if target in chosen else State.ROUTER
        for chosen in view.steering.by_layer(view.plan.layout)
    }
    note = f"Router gave {before:.0f}% on average"
    if len(states) > 1:
        return f"{note} · {now:.0f}% in force, " + (
            "off in some layers, where nobody takes it over"
            if State.FIXED not in states
            else "set in some layers"
        )
    [state] = states
    if state is State.OFF:
        return f"{note} · off: {now:.0f}% in force, and nobody takes it over"
    if abs(now - before) < 0.5:
        return f"{note} · the same in force" if state is State.FIXED else f"{note} · untouched"
    return f"{note} · {now:.0f}% in force" + " (shares what is left)" * (state is State.ROUTER)


def _change(override: Override) -> str:
    return {State.ROUTER: "left to the router", State.OFF: "off"}.get(
        override.state
    ) or f"fixed at {override.share:.0%}"


def _tops(plan: RoutingPlan) -> str:
    """Each group's expert with the largest average in-group share."""
    means = plan.expert_shares.mean(0).tolist()
    parts = []
    for group, experts in plan.layout.groups:
        best = max(zip(means[plan.layout.members(group)], experts))
        parts.append(f"**{best[1]}** received {best[0]:.0%} of the {group} share")
    return _list(parts)


def _averages(plan: RoutingPlan) -> str:
    return _list(
        [
            f"**{group}** received {percent:.0f}%"
            for group, percent in average_percents(plan).items()
        ]
    )


def _leaders(plan: RoutingPlan) -> str:
    """Which group received most where."""
    names = plan.layout.group_names
    leaders = [
        names[max(range(len(names)), key=row.__getitem__)] for row in plan.group_shares.tolist()
    ]
    if len(set(leaders)) == 1:
        return f"the largest share went to {leaders[0]} in every layer"
    runs = [
        (name, [layer for layer, _ in run])
        for name, run in groupby(enumerate(leaders), key=lambda pair: pair[1])
    ]
    if len(runs) > MAX_RUNS:
        counts = [f"{name} in {leaders.count(name)}" for name in names if name in leaders]
        return f"of the {len(leaders)} layers, the largest share went to {_list(counts)}"
    spans = {
        name: [_span(layers) for other, layers in runs if other == name]
        for name in names
        if name in leaders
    }
    return "the largest share went to " + _list(
        [f"{name} in {_list(where)}" for name, where in spans.items()]
    )


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
