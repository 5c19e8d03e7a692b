"""What a steered answer can be held against: an answer under a plan that nobody steered."""

from __future__ import annotations

from enum import StrEnum

from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import Steering
from atmoe.steering.random_steer import random_steer


class Beside(StrEnum):
    """The plans that a steered answer can be held against.

    Attributes:
        BASE: all experts off.
        UNIFORM: equal shares.
        RANDOM: a random steer of the steering's size.
    """

    BASE = "base"
    UNIFORM = "uniform"
    RANDOM = "random"


def plan_beside(
    kind: Beside, router_plan: RoutingPlan, steering: Steering, seed: int
) -> RoutingPlan:
    """The plan of that kind, for one question.

    Args:
        kind: which.
        router_plan: the router's own plan for the question.
        steering: what the answer it is held against was steered by.
        seed: draws RANDOM's direction; the others do not use it.

    Raises:
        SteeringError: RANDOM, and the steering moves no weight.
    """
    if kind is Beside.BASE:
        return RoutingPlan.off(router_plan.layout)
    if kind is Beside.UNIFORM:
        return RoutingPlan.uniform(router_plan.layout)
    return random_steer(router_plan, steering.apply(router_plan), seed)
