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
    """group → label → the expert with the largest share → how many. shares: [instructions, experts], of each group's
    own, averaged over layers
    """
    found: dict = {g: defaultdict(lambda: defaultdict(int)) for g in layout.group_names}
    for example, row in zip(examples, shares):
        for group, expert in example.labels.items():
            members = layout.members(group)
            top = layout.expert_names[members][int(row[members].argmax())].partition("/")[2]
            found[group][expert][top] += 1
    return {
        g: {label: dict(tops) for label, tops in sorted(rows.items())} for g, rows in found.items()
    }


def agreement_of(layout: Layout, shares: Tensor, examples: Sequence[Example]) -> dict[str, float]:
    """The fraction, by group; a group without a label is left out."""
    return {
        g: sum(tops.get(label, 0) for label, tops in rows.items())
        / sum(sum(tops.values()) for tops in rows.values())
        for g, rows in confusion(layout, shares, examples).items()
        if rows
    }
