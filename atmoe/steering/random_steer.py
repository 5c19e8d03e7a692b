"""A random steer of the same size: did the direction of a steering matter, or only the push?

The size of a steering at a layer is how far it moves the experts' weights from the router's plan:

    size_ℓ = ½ Σ_e |w_ℓ,e − w'_ℓ,e|          (total variation, where both sum to 1)

The random plan has at every layer the steered plan's size, the steered plan's total of weights
(less than 1 where something was dropped) and its strength; where the weight goes is drawn. One
order of the experts is drawn for all layers, as a steering has one direction for all layers: what
the steered plan dropped is taken from the last experts of that order, and the rest moves towards
the first, or on to the second where that one cannot take enough, and so on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atmoe.errors import PlanError, SteeringError
from atmoe.routing.plan import RoutingPlan

HALVINGS = 60
"""Of an interval of 1, in double precision: to the last bit."""


def size(plan: RoutingPlan, other: RoutingPlan) -> Tensor:
    """How far apart two plans' weights are at each layer.

    Returns:
        [layers], between 0 and 1, float64.
    """
    return _distance(plan.weights.double(), other.weights.double())


def order(plan: RoutingPlan, seed: int) -> tuple[str, ...]:
    """The experts as they are drawn: where weight moves to, first to last."""
    names = plan.layout.expert_names
    permutation = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    return tuple(names[i] for i in permutation.tolist())


def random_steer(router_plan: RoutingPlan, steered: RoutingPlan, seed: int) -> RoutingPlan:
    """A plan as far from the router's as a steered one, in a direction that is drawn.

    Args:
        router_plan: the router's own.
        steered: what a steering made of it; its size 0 gives the router's plan.
        seed: draws the direction.

    Raises:
        PlanError: the plans are of different models.
        SteeringError: no random plan of that size differs from the steered one: only the strength
            was changed, or nothing has any weight.
    """
    # 1. is there anything to draw?
    if router_plan.layout != steered.layout:
        raise PlanError(
            "The two plans are of different models; steer the plan that the same model's router "
            "gave."
        )
    columns = [router_plan.layout.expert_index(name) for name in order(router_plan, seed)]
    router, target = router_plan.weights.double(), steered.weights.double()
    sizes, totals = size(router_plan, steered), target.sum(1)
    same_strength = torch.equal(router_plan.strength, steered.strength)
    if (sizes.max() < 1e-6 and not same_strength) or not steered.mixing.any():
        raise SteeringError(
            "A random steer of the same size would be the same plan: what was set moves no weight "
            "between experts. Set a share of a group or an expert."
        )
    # 2. each layer's weights, as far from the router's as the steered ones
    rows = []
    for layer in range(len(router)):
        if sizes[layer] < 1e-9:
            rows.append(router[layer])
        else:
            rows.append(_walk(router[layer], float(sizes[layer]), float(totals[layer]), columns))
    return _plan_of(torch.stack(rows), router_plan, steered.strength)


def _walk(router: Tensor, distance: float, total: float, columns: list[int]) -> Tensor:
    """One layer's weights of a total, at a distance from the router's.

    The way leads from the nearest weights of that total over all of it on one expert, then another.
    The steered plan is one of that total at that distance, and none of that total is farther than
    all of it on the expert that the router gave least; so somewhere on the way the distance is
    reached, and halving finds where.

    Args:
        router: its weights, [experts], float64.
        distance: as `size` measures it.
        total: what the weights sum to.
        columns: the experts in the order drawn.

    Returns:
        [experts], float64.
    """
    # 1. the nearest weights of that total: what is too much is taken from the last experts
    start, excess = router.clone(), float(router.sum()) - total
    for column in reversed(columns):
        taken = min(float(start[column]), max(excess, 0.0))
        start[column] -= taken
        excess -= taken
    # 2. the stretch of the way on which the distance is reached
    for column in columns:
        end = torch.zeros_like(router)
        end[column] = total
        if float(_distance(end, router)) >= distance:
            break
        start = end
    # 3. where on it
    near, far = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        if float(_distance(start.lerp(end, middle), router)) < distance:
            near = middle
        else:
            far = middle
    return start.lerp(end, far)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().sum(-1) / 2


def _plan_of(weights: Tensor, like: RoutingPlan, strength: Tensor) -> RoutingPlan:
    """The plan with these weights, [layers, experts].

    Where a group has no weight, it keeps the in-group shares of the plan `like`.
    """
    layout, inside = like.layout, like.expert_shares.double().clone()
    groups = torch.stack([weights[:, layout.members(g)].sum(1) for g in layout.group_names], 1)
    for g, name in enumerate(layout.group_names):
        members = layout.members(name)
        some = groups[:, g] > 0  # the layers at which the group has weight
        inside[some, members] = weights[some, members] / groups[some, g, None]
    return RoutingPlan(layout, groups.clamp(max=1.0), inside, strength)
