"""Dose and response: one part of the mixture at five shares, answered as one batch.

A group or an expert is given 0, 25, 50, 75 and 100% of its share. Everything else follows the
router's own plan, as where a single share is fixed by hand. Where an expert's group takes no part
in that plan, it has no share at 0%, and at each dose above 0 the same, at which the expert calls it
in: the step from 0 to 25% is then mostly the group's coming in.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from atmoe.answer.answer import Answer
from atmoe.answer.generation import generate
from atmoe.answer.sampling import Sampling
from atmoe.explanation.response import DOSES, Response
from atmoe.mixture.mixture import Mixture
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import Override, State, Steering


def targets(layout: Layout) -> tuple[str, ...]:
    """The groups and experts that can be given any dose.

    They are those beside which something can take the rest.
    """
    names = list(layout.group_names) if len(layout.groups) > 1 else []
    for group, experts in layout.groups:
        if len(experts) > 1:
            names += [f"{group}/{expert}" for expert in experts]
    return tuple(names)


def called_in(plan: RoutingPlan, target: str) -> bool:
    """Whether a dose above 0 calls in the target's group, which takes no part in the plan."""
    group, _, expert = target.partition("/")
    return bool(expert) and group in plan.absent


def dosing(model: Mixture, answer: Answer, target: str) -> Generator[Response, None, None]:
    """Answer an answer's question at every dose, then read that answer itself at each.

    Args:
        model: the one that gave the answer.
        answer: the router's own.
        target: a group, or group/expert.

    Yields:
        The answers so far, after each token; last, all of them with the log-probabilities.

    Raises:
        SteeringError: nothing of that name, or nothing beside it to take the rest.
    """
    plans = [
        Steering((Override(target, State.FIXED, dose),)).apply(answer.router_plan) for dose in DOSES
    ]
    settings: dict[str, Any] = {"seed": answer.seed, **answer.sampling}
    for step in generate(model, [answer.prompt] * len(plans), plans, Sampling(**settings)):
        yield Response(target, step.texts)
    yield Response(target, step.texts, answer.mean_logp(model, plans), True)
