"""The parts of a mixture that are measured: groups, experts, and groups in a third of the layers."""

from __future__ import annotations

from atmoe.routing.plan import Layout, RoutingPlan
from atmoe.steering.overrides import BANDS, Override, State, Steering, layer_range


def units_of(layout: Layout) -> tuple[str, ...]:
    """Names of all units: groups, experts, then groups by third of the layers (where there are three layers)."""
    bands = BANDS if layout.layers >= len(BANDS) else ()
    return (
        *layout.group_names,
        *layout.expert_names,
        *(f"{g}@{band}" for g in layout.group_names for band in bands),
    )


def kind_of(name: str) -> str:
    return "expert" if "/" in name else "band" if "@" in name else "group"


def layers_of(name: str, layout: Layout) -> range:
    return layer_range(name.partition("@")[2] or "all", layout.layers)


def without(plan: RoutingPlan, units: tuple[str, ...]) -> RoutingPlan:
    """The plan with these units dropped: nobody takes their weight over."""
    return Steering(
        tuple(
            Override(name.partition("@")[0], State.OFF, None, name.partition("@")[2] or "all")
            for name in units
        )
    ).apply(plan)


def weight_of(plan: RoutingPlan, name: str) -> float:
    """Mean over the unit's layers of its share of the routing weight: an expert's is group share · in-group share."""
    column = column_of(name, plan.layout) - len(plan.layout.groups)
    shares = (
        plan.weights[:, column]
        if "/" in name
        else plan.group_shares[:, column + len(plan.layout.groups)]
    )
    return float(shares[list(layers_of(name, plan.layout))].mean())


def column_of(name: str, layout: Layout) -> int:
    """Where a unit stands among groups and experts."""
    if "/" in name:
        return len(layout.groups) + layout.expert_index(name)
    return layout.group_index(name.partition("@")[0])
