"""Plans and steerings → sentences. Measured numbers only; weight is called weight, never a reason.

Whatever comes back is plain text or, where it says Markdown, holds nothing but emphasis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from app.controls import Controls
from app.view import View
from atmoe import Override, RoutingPlan, State, Steering
from atmoe.explanation.coherence import Cohort
from atmoe.report.words import (
    NAMED_IN_DOUBT,
    NOBODY,
    all_percents,
    average_percents,
    changes,
    doubts,
    expert_percents,
    team_note,
    team_size,
    where,
)
from atmoe.steering.overrides import layer_range
from atmoe.wording import ROUNDING, apart, count, listed, whole_percent

MAX_LEADERS = 3
"""Of one group, so many experts are named at most as those that lead it."""
IN_DOUBT = "⚠ in doubt"
"""What the sign means."""
DOUBTFUL = f"{IN_DOUBT}: click another in its row of shares"
"""And what a person can do who knows better: an expert that is clicked there leads its group."""
MAX_RUNS = 4
"""More alternations than this, and layers are counted instead of listed."""
NO_SHARE = 1e-3
"""A group whose share in force is below this, in percent, has none: what is left is rounding."""


def whose_weights(controls: Controls, same: bool = False) -> str:
    """Whose weights are in force: as many changes as the list beside the controls holds.

    Args:
        controls: as they are set.
        same: what they set is what the router gave.
    """
    number = controls.changes
    if not number:
        return "Router's own weights"
    changed = count(number, "change") + " · same shares" * same
    return changed if controls.on else f"Switched off · {changed} kept"


def strength_note(cohort: Cohort | None) -> str:
    """From which strength on answers were measured to run in circles.

    Returns:
        Empty where it was not measured.
    """
    if cohort is None:
        return ""
    repeated = dict(zip(cohort.strengths, cohort.median["repeated"]))
    low, high = cohort.range["repeated"]
    measured = (
        f"Measured on {count(cohort.prompts, 'question')}: at strength 1, nine in ten answers "
        f"repeated {low:.0%} to {high:.0%} of their trigrams"
    )
    most = max(repeated)
    if cohort.leaves is None:
        return (
            f"{measured}; up to {most:g} the median answer stayed within that "
            f"({repeated[most]:.0%} at {most:g})."
        )
    return (
        f"{measured}; from {cohort.leaves:g} on the median answer repeated more "
        f"({repeated[cohort.leaves]:.0%}, and {repeated[most]:.0%} at {most:g})."
    )


def reading(view: View) -> str:
    """The routing in two or three sentences of Markdown."""
    router = (
        f"{team_note(view.router_plan)} At an average layer, {_tops(view.router_plan)}. Of the "
        f"routing weight, {_averages(view.router_plan)}; {_leaders(view.router_plan)}."
    )
    doubt = doubts(view.router_plan)
    router += f" {doubt}" if doubt else ""
    if view.steering.untouched:
        return router
    if not view.plan.team:
        return f"{router} **With your steering** ({changes(view.steering)}): {NOBODY}"
    now = "the same shares as the router's"
    if not view.same:
        now = _averages(view.plan)
        if any("/" in override.target for override in view.steering.overrides):
            now = f"{_tops(view.plan)}; of the routing weight, {now}"
    return f"{router} **With your steering** ({changes(view.steering)}): {now}."


def head(steering: Steering) -> str:
    """What was changed, in as few words as stand above an answer: the expert first, then the share.

    Where two experts have one name, and of all else, `changes` is the whole.
    """
    parts = []
    for override in steering.overrides:
        change = override.change.removeprefix("fixed at ")
        scope = f" {where(override.scope)}" * (override.scope != "all")
        parts.append(f"{override.target.rpartition('/')[2]} {change}{scope}")
    if steering.strength != 1:
        parts.append(f"strength {steering.strength:g}")
    return ", ".join(parts)


def routing_line(view: View, words: Mapping[str, str], controls: bool = True) -> str:
    """The routing in one line of Markdown: of each group, who leads it, and who else may be meant.

    A group of which an expert was set by hand is in doubt no more.

    Args:
        view: what is on show.
        words: what a group is called, where it is not its name.
        controls: whether those beside it are this model's, so that a click settles a doubt.
    """
    plan = view.router_plan
    means, parts = expert_percents(plan), []
    settled = {
        override.target.partition("/")[0]
        for override in view.steering.overrides
        if "/" in override.target and override.state is not State.ROUTER
    }
    doubted = {group: told for group, told in plan.doubts.items() if group not in settled}
    for group, experts in plan.layout.groups:
        word = words.get(group, group)
        if group in plan.absent:
            parts.append(f"{word}: takes no part")
            continue
        if len(experts) == 1:
            continue
        shares = {expert: means[f"{group}/{expert}"] for expert in experts}
        leading = [e for e in experts if 2 * shares[e] >= max(shares.values())]
        if len(leading) > MAX_LEADERS:
            parts.append(f"{word}: {count(len(leading), 'expert')} alike")
        else:
            parts.append(f"{word}: **{listed(sorted(leading, key=lambda e: -shares[e]))}**")
            if group in doubted:
                others = [e for e in doubted[group][:NAMED_IN_DOUBT] if e not in leading]
                parts[-1] += f" ⚠ *or {' or '.join(others)}?*" if others else " ⚠"
    told = [DOUBTFUL if controls else IN_DOUBT] if doubted else []
    return " · ".join(["The router reads", *parts, team_size(plan), *told])


def control_percents(view: View, layers: range) -> tuple[dict[str, float], dict[str, float]]:
    """The router's shares and those in force, in percent, by target; of who takes no part, 0.

    Args:
        view: what is on show.
        layers: the shares are means over these.
    """

    def of(plan: RoutingPlan, team: frozenset[str]) -> dict[str, float]:
        shares = all_percents(plan, layers)
        return {target: share * (target in team) for target, share in shares.items()}

    return of(view.router_plan, view.router_plan.taking_part), of(view.plan, view.taking_part)


def share_notes(view: View, scope: str = "all") -> dict[str, str]:
    """The shares of each target: the router's beside the one in force.

    Args:
        view: what is on show.
        scope: the layers that both shares are means over.

    Returns:
        By group, and by expert, whose share is that inside its group.
    """
    layout = view.plan.layout
    layers = layer_range(scope, layout.layers)
    percents, moved = control_percents(view, layers), _moved(view, layers)
    by_layer = view.steering.by_layer(layout)
    return {
        target: _share_note(view, target, scope, percents, by_layer, moved)
        for target in percents[0]
    }


def _share_note(
    view: View,
    target: str,
    scope: str,
    percents: tuple[Mapping[str, float], Mapping[str, float]],
    by_layer: Sequence[Mapping[str, Override]],
    moved: set[str],
) -> str:
    """The shares of one target, of those of all, of what is set at each layer and of who moved."""
    router, force = percents
    layers = layer_range(scope, view.plan.layout.layers)
    before, now, group = router[target], force[target], target.partition("/")[0]
    states, its_groups = (
        {by_layer[i][name].state if name in by_layer[i] else State.ROUTER for i in layers}
        for name in (target, group)
    )
    gave, has = whole_percent(before / 100), whole_percent(now / 100)
    if gave == has and abs(now - before) > NO_SHARE:  # else they would read as the same
        gave, has = apart(before / 100, now / 100, ".0%")
    note = f"Router gave {gave} on average" + f" {where(scope)}" * (scope != "all")
    outside = target not in view.router_plan.taking_part
    its = group != target and group in view.router_plan.absent
    if outside:
        note = f"{'Its group takes' if its else 'Takes'} no part by the router"
    touched = not its or states | its_groups != {State.ROUTER}
    if group != target and force[group] < NO_SHARE and touched:
        return f"{note} · its group has no share in force"
    if outside:
        note += "; a share calls it in"
    if len(states) > 1:
        if State.FIXED in states:
            return f"{note} · {has} in force, set in some layers"
        return f"{note} · {has} in force, off in some layers, where nobody takes it over"
    [state] = states
    if state is State.OFF:
        return f"{note} · off: {has} in force, and nobody takes it over"
    same = abs(now - before) <= NO_SHARE
    if same and state is State.FIXED:
        return f"{note} · the same in force"
    if same and target not in moved:
        return f"{note} · untouched"
    called_in = outside and target == group  # by a share of one of its experts
    if state is State.ROUTER and not called_in:
        return f"{note} · {has} in force (shares what is left)"
    return f"{note} · {has} in force"


def _moved(view: View, layers: range) -> set[str]:
    """The targets whose share is another at one of these layers, though the means may be equal."""
    moved: set[str] = set()
    for layer in layers:
        router, force = control_percents(view, range(layer, layer + 1))
        moved |= {t for t, share in router.items() if abs(force[t] - share) > NO_SHARE}
    return moved


def _tops(plan: RoutingPlan) -> str:
    """Each group's expert with the largest average in-group share, or all that have it."""
    means = plan.expert_shares.mean(0).tolist()
    parts = []
    for group, experts in plan.layout.groups:
        shares = means[plan.layout.members(group)]
        share = max(shares)
        if not share or group in plan.absent:
            continue
        top = [f"**{expert}**" for expert, own in zip(experts, shares) if share - own < ROUNDING]
        each = " each" * (len(top) > 1)
        parts.append(f"{listed(top)} received {whole_percent(share)}{each} of the {group} share")
    return listed(parts)


def _averages(plan: RoutingPlan) -> str:
    percents = average_percents(plan).items()
    told = [f"**{group}** received {whole_percent(share / 100)}" for group, share in percents]
    return listed(told)


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
        return f"of the {len(leaders)} layers, the largest share went to {listed(counts)}"
    parts = []
    for name in names:
        if name in leaders:
            spans = [_span(layers) for leader, layers in runs if leader == name]
            parts.append(f"{name} in {listed(spans)}")
    return f"the largest share went to {listed(parts)}"


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"
