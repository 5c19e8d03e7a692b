"""An atlas of many questions: questions × experts, those of like plans beside one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atmoe.routing.plan import RoutingPlan


def weights(plans: Sequence[RoutingPlan]) -> list[list[float]]:
    """What each question gives each expert: group share × in-group share, mean over the layers.

    Returns:
        [questions, experts]
    """
    return [plan.weights.mean(0).tolist() for plan in plans]


def order(rows: Sequence[Sequence[float]]) -> list[int]:
    """Rows so that like ones stand together: average linkage, its leaves in their best order.

    Bar-Joseph et al. 2001, by `scipy.cluster.hierarchy`.

    Args:
        rows: [questions, experts]

    Returns:
        The rows' indices, from above.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(rows) < 3:
        return list(range(len(rows)))
    return leaves_list(linkage(np.asarray(rows), "average", optimal_ordering=True)).tolist()
