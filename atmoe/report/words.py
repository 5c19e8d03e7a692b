"""Plans, steerings and records → sentences. Weight is called weight, never a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from atmoe.explanation.drafts import Drafts, Statement
from atmoe.flags.flagged import WORD
from atmoe.record import FROM_LINK, Record
from atmoe.routing.plan import RoutingPlan
from atmoe.sources.value import NOT_PROOF, Source
from atmoe.steering.overrides import Steering
from atmoe.wording import count, listed

SCOPE_PHRASES = {
    "all": "in all layers",
    "early": "in the early layers",
    "middle": "in the middle layers",
    "late": "in the late layers",
}
SEVERAL = "Not words the experts ever saw in training, though they may be real:"
NOBODY = "No expert takes part: it is the base model alone."
NAMED_IN_DOUBT = 3
"""Of a group in doubt, so many experts are named at most."""
MOST = 0.5
"""A statement that fewer than this share of the drafts hold is greyed."""
NO_PROOF = "Drafts that agree need not be right, and a statement that none repeats may be right."
NO_WORDS = "The answer holds no statement that could be looked for in the drafts."


def average_percents(plan: RoutingPlan, layers: range | None = None) -> dict[str, float]:
    """Each group's share of the routing weight, in percent, averaged over layers (all)."""
    return _percents(plan.layout.group_names, plan.group_weights, layers)


def part_percents(plan: RoutingPlan, layers: range | None = None) -> dict[str, float]:
    """What each part has, in percent: groups of the routing weight, experts of their group."""
    return average_percents(plan, layers) | expert_percents(plan, layers)


def all_percents(plan: RoutingPlan, layers: range | None = None) -> dict[str, float]:
    """Whatever a control is set to, in percent, by target: of groups and of experts in theirs."""
    groups = _percents(plan.layout.group_names, plan.group_shares, layers)
    return groups | expert_percents(plan, layers)


def expert_percents(plan: RoutingPlan, layers: range | None = None) -> dict[str, float]:
    """Each expert's share of its group, in percent, averaged over layers (all)."""
    return _percents(plan.layout.expert_names, plan.expert_shares, layers)


def _percents(names: Iterable[str], shares: Any, layers: range | None) -> dict[str, float]:
    """Shares, a tensor [layers, names], in percent, averaged over some of its layers."""
    chosen = shares if layers is None else shares[layers.start : layers.stop]
    return {name: 100 * mean for name, mean in zip(names, chosen.mean(0).tolist())}


def changes(steering: Steering) -> str:
    """What was changed, in one line: "task and field fixed at 30% in all layers; strength 0.5"."""
    alike: dict[str, list[str]] = {}
    for o in steering.overrides:
        alike.setdefault(f"{o.change} {where(o.scope)}", []).append(o.target)
    parts = [f"{listed(targets)} {change}" for change, targets in alike.items()]
    if steering.strength != 1:
        alone = " (the base model alone)" if steering.strength == 0 else ""
        parts.append(f"strength {steering.strength:g}{alone}")
    return "; ".join(parts)


def where(scope: str) -> str:
    """The layers of an override: "in the late layers", "in layers 12–17"."""
    if scope in SCOPE_PHRASES:
        return SCOPE_PHRASES[scope]
    return f"in layer{'s' * ('-' in scope)} {scope.replace('-', '–')}"


def team_note(plan: RoutingPlan) -> str:
    """Who takes part: "2 of 16 experts take part: treatment, …; none of audience"."""
    team, everybody = plan.team, plan.layout.expert_names
    if not team:
        return NOBODY
    if len(team) == len(everybody):
        return f"All {len(everybody)} experts take part."
    none = f"; none of {listed(plan.absent)}" if plan.absent else ""
    return f"{team_size(plan)}: {listed([name.partition('/')[2] for name in team])}{none}."


def doubts(plan: RoutingPlan) -> str:
    """Where the router doubts, as "The router doubts: task (overview, or else diagnosis)".

    Returns:
        Empty where it doubts nowhere, or where that is not known.
    """
    said = [
        f"{group} ({likeliest[0]}, or else {' or '.join(likeliest[1:NAMED_IN_DOUBT])})"
        for group, likeliest in plan.doubts.items()
    ]
    return f"The router doubts: {listed(said)}." if said else ""


def team_size(plan: RoutingPlan) -> str:
    """How many take part: "4 of 16 experts take part"."""
    everybody = count(len(plan.layout.expert_names), "expert")
    return f"{len(plan.team)} of {everybody} {'takes' if len(plan.team) == 1 else 'take'} part"


def flags(record: Record) -> list[str]:
    """What is flagged in an answer: against its source first, then words that nobody taught it."""
    found = record.flags or ()
    said = list(dict.fromkeys(flag.sentence for flag in found if flag.kind != WORD))
    words = dict.fromkeys(flag.says for flag in found if flag.kind == WORD)
    if len(words) == 1:
        said += [flag.sentence for flag in found if flag.kind == WORD][:1]
    elif words:
        said.append(f"{SEVERAL} {', '.join(f'“{word}”' for word in words)}.")
    return said


def given_by_link(record: Record) -> bool:
    """Whether an answer came with a link."""
    return record.versions.get("engine", "").endswith(FROM_LINK)


def agreement(drafts: Drafts) -> str:
    """How far the drafts agree with the answer, in a sentence with its number."""
    mean = drafts.agreement
    if mean is None:
        return f"<p>{NO_WORDS}</p>"
    statements, made = drafts.statements, len(drafts.texts)
    lacking = sum(map(alone, statements))
    return (
        f"<p><strong>Self-agreement {mean:.2f}</strong> (0 to 1): on average a statement of this "
        f"answer recurs in {mean * made:.1f} of {made} drafts. Grey: in fewer than half of them "
        f"({lacking} of {count(len(statements), 'statement')}).</p><p>{escape(NO_PROOF)}</p>"
    )


def alone(statement: Statement) -> bool:
    """Whether fewer than half of the drafts say it."""
    return statement.shared < MOST


def held(statement: Statement, drafts: Sequence[str]) -> int:
    """How many of the drafts say it."""
    return round(statement.shared * len(drafts))


def listing(sources: Iterable[Source]) -> str:
    """Training examples, one a line, under the label that they never go without."""
    items = "".join(f"<li>{item(source)}</li>" for source in sources)
    return f"<p>{escape(NOT_PROOF.capitalize())}.</p><ol>{items}</ol>"


def item(source: Source) -> str:
    """One example in a line ("GARD · gout · treatment"); a link where it has an address."""
    text = escape(source.named or "an example without a name")
    if source.address:
        text = (
            f'<a href="{escape(source.address)}" target="_blank" rel="noopener noreferrer">'
            f"{text} ↗</a>"
        )
    return f"{text} ({escape(source.near)})"
