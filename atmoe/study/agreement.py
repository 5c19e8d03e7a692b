"""How often the largest in-group share is the label's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from atmoe.data import Example
from atmoe.routing.plan import Layout


def confusion(
    layout: Layout, shares: Tensor, examples: Sequence[Example]
) -> dict[str, dict[str, dict[str, int]]]:
    """How often each expert has the largest share of its group, by label.

    Args:
        layout: whose experts the shares are of.
        shares: [instructions, experts], of each group's own, averaged over layers.
        examples: one an instruction.

    Returns:
        Group → label → the expert with the largest share → how many.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {
        group: defaultdict(lambda: defaultdict(int)) for group in layout.group_names
    }
    for example, row in zip(examples, shares):
        for group, label in example.labels.items():
            members = layout.members(group)
            top = layout.expert_names[members][int(row[members].argmax())].partition("/")[2]
            counts[group][label][top] += 1
    return {
        group: {label: dict(tops) for label, tops in sorted(labels.items())}
        for group, labels in counts.items()
    }


def agreement_of(layout: Layout, shares: Tensor, examples: Sequence[Example]) -> dict[str, float]:
    """The fraction of labels whose expert has the largest share, as `confusion` counts them.

    Returns:
        Group → fraction; a group without a label is left out.
    """
    fractions = {}
    for group, labels in confusion(layout, shares, examples).items():
        if labels:
            right = sum(tops.get(label, 0) for label, tops in labels.items())
            fractions[group] = right / sum(sum(tops.values()) for tops in labels.values())
    return fractions
