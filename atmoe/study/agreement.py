"""How often the largest in-group share is the label's, and whether its group takes part at all.

Shares inside a group are known also where its weight is exactly 0, so the label may be read and yet
nothing come of it: `reading_of` tells these apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from atmoe.data import Example
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan


def confusion(
    layout: Layout, shares: Tensor, examples: Sequence[Example]
) -> dict[str, dict[str, dict[str, int]]]:
    """How often each expert has the largest share of its group, by label.

    Args:
        layout: whose experts the shares are of.
        shares: [instructions, experts], of each group's own, averaged over layers.
        examples: one an instruction.

    Returns:
        Group → label → the expert with the largest share → how many. Of two needs each label is
        right: the instruction counts under the one that has the largest share, else the first.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {
        group: defaultdict(lambda: defaultdict(int)) for group in layout.group_names
    }
    for example, row in zip(examples, shares):
        for group, label in example.labels.items():
            members = layout.members(group)
            top = layout.expert_names[members][int(row[members].argmax())].partition("/")[2]
            counts[group][top if top in example.wanted(group) else label][top] += 1
    return {
        group: {label: dict(tops) for label, tops in sorted(labels.items())}
        for group, labels in counts.items()
    }


def agreement_of(layout: Layout, shares: Tensor, examples: Sequence[Example]) -> dict[str, float]:
    """The fraction of labels whose expert has the largest share, as `confusion` counts them.

    Those count whose group takes no part as well; `reading_of` tells them apart.

    Returns:
        Group → fraction; a group without a label is left out.
    """
    fractions = {}
    for group, labels in confusion(layout, shares, examples).items():
        if labels:
            right = sum(tops.get(label, 0) for label, tops in labels.items())
            fractions[group] = right / sum(sum(tops.values()) for tops in labels.values())
    return fractions


def reading_of(
    plans: Sequence[RoutingPlan], examples: Sequence[Example]
) -> dict[str, dict[str, float]]:
    """Whether the label is read, and what is read takes part; all of one denominator.

    Args:
        plans: the router's.
        examples: one a plan.

    Returns:
        Group → {"labels": labelled instructions; and of these the fractions "right_taking_part":
        the largest share, averaged over layers, is a label's and the group has weight,
        "right_absent": it is and the group has none, "wrong": it is not}; a group without a label
        is left out. The first two add up to what `agreement_of` counts.
    """
    reading = {}
    layout = plans[0].layout
    for group, experts in layout.groups:
        counts = {"right_taking_part": 0, "right_absent": 0, "wrong": 0}
        for plan, example in zip(plans, examples):
            wanted = example.wanted(group)
            if wanted:
                largest = plan.expert_shares.mean(0)[layout.members(group)].argmax()
                part = "right_absent" if group in plan.absent else "right_taking_part"
                counts[part if experts[int(largest)] in wanted else "wrong"] += 1
        labels = sum(counts.values())
        if labels:
            shares = {name: count / labels for name, count in counts.items()}
            reading[group] = {"labels": labels, **shares}
    return reading


def doubt_of(
    plans: Sequence[RoutingPlan], examples: Sequence[Example]
) -> dict[str, dict[str, float | None]]:
    """What a planner's doubt tells: how often it doubts, and is wrong where it does and does not.

    Args:
        plans: the router's.
        examples: one a plan.

    Returns:
        Group → {"share": of the labelled instructions in which the group takes part, those in
        doubt, "wrong": of those the fraction with no label of the largest share, "wrong_else":
        of the others; None of no instruction}. Groups of one expert, and groups without a label,
        are left out; so are all where no planner told.
    """
    told: dict[str, dict[str, float | None]] = {}
    if not plans or any(plan.likely is None for plan in plans):
        return told
    layout = plans[0].layout
    for group, experts in layout.groups:
        wrong: dict[bool, list[bool]] = {True: [], False: []}
        for plan, example in zip(plans, examples):
            wanted = example.wanted(group)
            if wanted and group not in plan.absent:
                largest = plan.expert_shares.mean(0)[layout.members(group)].argmax()
                wrong[group in plan.doubts].append(experts[int(largest)] not in wanted)
        both = len(wrong[True]) + len(wrong[False])
        if both and len(experts) > 1:
            told[group] = {
                "share": len(wrong[True]) / both,
                "wrong": _mean(wrong[True]),
                "wrong_else": _mean(wrong[False]),
            }
    return told


def _mean(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
