"""Plans and records → sentences. Measured numbers only; weight is called weight, and never a reason.

Whatever comes back is plain text or, where it says Markdown, holds nothing but emphasis.
"""

from __future__ import annotations

from itertools import groupby

from app.bench import View, all_percents, average_percents, changed
from app.session import Progress
from atmoe import Override, RoutingPlan, State, Steering

SCOPES = {"all": "in all layers", "early": "in the early layers", "middle": "in the middle layers",
          "late": "in the late layers"}
MAX_RUNS = 4
"""More alternations than this, and layers are counted instead of listed."""


def badge(steering: Steering) -> str:
    """Whose weights are in force."""
    experts = sum("/" in target for target in changed(steering))
    groups = len(changed(steering)) - experts
    parts = [_count(count, noun) for count, noun in ((groups, "group"), (experts, "expert")) if count]
    parts += ["the strength"] * (steering.strength != 1)
    return f"You changed {_list(parts)}" if parts else "Router's own weights"


def changes(steering: Steering) -> str:
    """What was changed, in one line: "task fixed at 60% in all layers; strength 0.5"."""
    parts = [f"{_change(o)} {SCOPES.get(o.scope, f'in layers {o.scope}')}" for o in steering.overrides
             if o.state is not State.ROUTER]
    if steering.strength != 1:
        parts.append(f"strength {steering.strength:g}" + " (the base model alone)" * (steering.strength == 0))
    return "; ".join(parts)


def facts(progress: Progress) -> str:
    """What was measured about an answer."""
    record = progress.record
    words, tokens = len(record.answer.split()), len(record.answer_tokens)
    parts = [_count(words, "word"), _count(tokens, "token")]
    if not progress.ended:
        return " · ".join(parts)
    limit = record.sampling["max_new_tokens"]
    parts.append({"stop": "ended by itself", "length": f"stopped at the {limit}-token limit"}.get(
        record.finish, "stopped before its end"))
    if progress.logp is not None:
        parts.append(f"mean log-probability {_signed(progress.logp)} per token")
    speed = record.timings.get("decode_tokens_per_s")
    parts.append("given before, not decoded again" if speed is None else f"{speed:.0f} tokens per second")
    return " · ".join(parts)


def waiting(before: int, what: str = "answer") -> str:
    """Where someone stands who waits for a place."""
    return "Waiting for a free place: " + (f"{before} {what}{'s are' if before > 1 else ' is'} before yours." if before else
                                           "yours is next.")


def reading(view: View) -> str:
    """The routing in two or three sentences of Markdown."""
    router = (f"At an average layer, {_tops(view.router_plan)}. Of the routing weight, {_averages(view.router_plan)}; "
              f"{_leaders(view.router_plan)}.")
    if view.steering.untouched:
        return router
    return f"{router} **With your steering** ({changes(view.steering)}): {_averages(view.plan)}."


def share_note(view: View, target: str) -> str:
    """The shares of one group, or of one expert inside its group: the router's beside the one in force."""
    before, now = (all_percents(plan)[target] for plan in (view.router_plan, view.plan))
    state = next((o.state for o in view.steering.overrides if o.target == target), State.ROUTER)
    note = f"Router gave {before:.0f}% on average"
    if state is State.OFF:
        return f"{note} · off: {now:.0f}% in force, and nobody takes it over"
    if abs(now - before) < 0.5:
        return f"{note} · the same in force" if state is State.FIXED else f"{note} · untouched"
    return f"{note} · {now:.0f}% in force" + " (shares what is left)" * (state is State.ROUTER)


def _change(override: Override) -> str:
    return f"{override.target} " + (f"fixed at {override.share:.0%}" if override.state is State.FIXED else "off")


def _tops(plan: RoutingPlan) -> str:
    """Each group's expert with the largest average in-group share."""
    means = plan.expert_shares.mean(0).tolist()
    parts = []
    for group, experts in plan.layout.groups:
        best = max(zip(means[plan.layout.members(group)], experts))
        parts.append(f"**{best[1]}** received {best[0]:.0%} of the {group} share")
    return _list(parts)


def _averages(plan: RoutingPlan) -> str:
    return _list([f"**{group}** received {percent:.0f}%" for group, percent in average_percents(plan).items()])


def _leaders(plan: RoutingPlan) -> str:
    """Which group received most where."""
    names = plan.layout.group_names
    leaders = [names[max(range(len(names)), key=row.__getitem__)] for row in plan.group_shares.tolist()]
    if len(set(leaders)) == 1:
        return f"the largest share went to {leaders[0]} in every layer"
    runs = [(name, [layer for layer, _ in run]) for name, run in groupby(enumerate(leaders), key=lambda pair: pair[1])]
    if len(runs) > MAX_RUNS:
        counts = [f"{name} in {leaders.count(name)}" for name in names if name in leaders]
        return f"of the {len(leaders)} layers, the largest share went to {_list(counts)}"
    spans = {name: [_span(layers) for other, layers in runs if other == name] for name in names if name in leaders}
    return "the largest share went to " + _list([f"{name} in {_list(where)}" for name, where in spans.items()])


def _span(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "−")


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
