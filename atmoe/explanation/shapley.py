"""Exact Shapley values of the groups, from the value of every set of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan

SHAPLEY_GROUPS = 6
"""Exact Shapley values need 2^groups rows; with more groups than this they are left out."""


def shapley_rows(layout: Layout) -> list[tuple[str, ...]]:
    """Every set of groups, as the tuple of those dropped; empty where they would be too many."""
    names = layout.group_names
    if len(names) > SHAPLEY_GROUPS:
        return []
    return [dropped for size in range(len(names) + 1) for dropped in combinations(names, size)]


def shapley_values(names: tuple[str, ...], f: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """Exact Shapley values (Shapley 1953).

    A group's is its mean gain over all orders in which the groups may join.

    Args:
        names: of the groups.
        f: the value of every set of groups, by the tuple of those dropped, in the order of `names`.

    Returns:
        One a group; they add up to f(none dropped) − f(all dropped).
    """
    count = len(names)
    values = {}
    for name in names:
        others = [n for n in names if n != name]
        total = 0.0
        for size in range(count):
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for present in combinations(others, size):
                absent = tuple(n for n in others if n not in present)
                without_it = tuple(n for n in names if n not in present)
                total += share * (f[absent] - f[without_it])
        values[name] = total
    return values


def shapley_of(plan: RoutingPlan, f: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """Shapley values under a plan; of a group that takes no part exactly 0, whatever rounding says.

    Args:
        plan: of the answer.
        f: as for `shapley_values`.
    """
    names = plan.layout.group_names
    present = [name for name in names if name not in plan.absent]

    def counted(dropped: tuple[str, ...]) -> tuple[str, ...]:
        some = tuple(name for name in dropped if name in present)
        return names if len(some) == len(present) else some

    return shapley_values(names, {dropped: f[counted(dropped)] for dropped in f})
