"""What a steered answer can be held against: a plan that the question was answered under without anybody's steering."""

from __future__ import annotations

from enum import StrEnum

from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import Steering
from atmoe.steering.random_steer import random_steer


class Beside(StrEnum):
    BASE = "base"
    UNIFORM = "uniform"
    RANDOM = "random"


def plan_beside(
    kind: Beside, router_plan: RoutingPlan, steering: Steering, seed: int
) -> RoutingPlan:
    """BASE: all experts off.  UNIFORM: equal shares.  RANDOM: a random steer of the steering's size, drawn by `seed`.

    Raises:
        SteeringError: RANDOM, and the steering moves no weight.
    """
    if kind is Beside.BASE:
        return RoutingPlan.off(router_plan.layout)
    if kind is Beside.UNIFORM:
        return RoutingPlan.uniform(router_plan.layout)
    return random_steer(router_plan, steering.apply(router_plan), seed)
