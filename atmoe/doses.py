"""Dose and response: one group or expert at 0, 25, 50, 75 and 100% of its share, answered as one batch.

Everything else follows the router's own plan, as where a single share is fixed by hand.
"""

from __future__ import annotations

from collections.abc import Generator

from atmoe.decode import Sampling
from atmoe.model import AtMoe
from atmoe.plan import Layout
from atmoe.record import Record
from atmoe.response import DOSES, Response
from atmoe.steering import Override, State, Steering


def targets(layout: Layout) -> tuple[str, ...]:
    """The groups and experts that can be given any dose: those beside which something can take the rest."""
    groups = layout.group_names if len(layout.groups) > 1 else ()
    return (*groups, *(f"{group}/{expert}" for group, experts in layout.groups if len(experts) > 1 for expert in experts))


def dosing(model: AtMoe, record: Record, target: str) -> Generator[Response, None, None]:
    """Answer a record's question at every dose, token by token, then read the record's own answer at each.

    Raises:
        SteeringError: nothing of that name, or nothing beside it to take the rest.
    """
    plans = [Steering((Override(target, State.FIXED, dose),)).apply(record.router_plan) for dose in DOSES]
    for step in model.generate([record.prompt] * len(plans), plans, Sampling(seed=record.seed, **record.sampling)):
        yield Response(target, step.texts)
    yield Response(target, step.texts, record.mean_logp(model, plans), True)
