"""Dose and response: one group or expert at 0, 25, 50, 75 and 100% of its share, answered as one batch.

Everything else follows the router's own plan, as where a single share is fixed by hand.
"""

from __future__ import annotations

from collections.abc import Generator

from atmoe.answer.answer import Answer
from atmoe.answer.generation import generate
from atmoe.answer.sampling import Sampling
from atmoe.explanation.response import DOSES, Response
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import Layout
from atmoe.steering.overrides import Override, State, Steering


def targets(layout: Layout) -> tuple[str, ...]:
    """The groups and experts that can be given any dose: those beside which something can take the rest."""
    groups = layout.group_names if len(layout.groups) > 1 else ()
    return (
        *groups,
        *(
            f"{group}/{expert}"
            for group, experts in layout.groups
            if len(experts) > 1
            for expert in experts
        ),
    )


def dosing(model: Mixture, given: Answer, target: str) -> Generator[Response, None, None]:
    """Answer a record's question at every dose, token by token, then read the record's own answer at each.

    Raises:
        SteeringError: nothing of that name, or nothing beside it to take the rest.
    """
    plans = [
        Steering((Override(target, State.FIXED, dose),)).apply(given.router_plan) for dose in DOSES
    ]
    for step in generate(
        model, [given.prompt] * len(plans), plans, Sampling(seed=given.seed, **given.sampling)
    ):
        yield Response(target, step.texts)
    yield Response(target, step.texts, given.mean_logp(model, plans), True)
