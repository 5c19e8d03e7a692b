"""The parts of a mixture that are measured: groups, experts, groups in each third of the layers.

A part is a value. Its name is for people and for JSON, one name a part in any layout:

    Part("task")   "task"        Part("task", expert="treatment")   "task/treatment"
                                 Part("task", band="late")          "task@late"
"""

from __future__ import annotations

from dataclasses import dataclass

from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import BANDS, Override, State, Steering, layer_range


@dataclass(frozen=True)
class Part:
    """A group; or one of its experts; or the group in a third of the layers."""

    group: str
    expert: str | None = None
    band: str | None = None

    @property
    def kind(self) -> str:
        """What it is: "group", "expert" or "band"."""
        if self.expert is not None:
            return "expert"
        return "group" if self.band is None else "band"

    @property
    def target(self) -> str:
        """What an override calls it, its layers aside."""
        return self.group if self.expert is None else f"{self.group}/{self.expert}"

    def name_in(self, layout: Layout) -> str:
        """Its name, which no other part of the layout has.

        A group may itself be called "task@late": then the third gets a sign that no name may hold.
        """
        if self.band is None:
            return self.target
        name = f"{self.group}@{self.band}"
        return f"{name}=" if name in layout.group_names else name

    def layers(self, layout: Layout) -> range:
        """The layers that it is in: a third of them, or all."""
        return layer_range(self.band or "all", layout.layers)

    def column(self, layout: Layout) -> int:
        """Where its target stands among groups and experts."""
        if self.expert is not None:
            return len(layout.groups) + layout.expert_index(self.target)
        return layout.group_index(self.group)

    def weight(self, plan: RoutingPlan) -> float:
        """Mean over its layers of its share of the routing weight.

        An expert's is group share · in-group share, a group's the sum of its experts'.
        """
        layout = plan.layout
        if self.expert is not None:
            shares = plan.weights[:, layout.expert_index(self.target)]
        else:
            shares = plan.group_weights[:, layout.group_index(self.group)]
        return float(shares[list(self.layers(layout))].mean())


def parts_of(layout: Layout) -> tuple[Part, ...]:
    """All parts: groups, experts, then groups by third of the layers.

    The last only where there are three layers.
    """
    bands = BANDS if layout.layers >= len(BANDS) else ()
    return (
        *(Part(group) for group in layout.group_names),
        *(Part(group, expert=expert) for group, experts in layout.groups for expert in experts),
        *(Part(group, band=band) for group in layout.group_names for band in bands),
    )


def units_of(layout: Layout) -> tuple[str, ...]:
    """The names of all parts, in their order."""
    return tuple(part.name_in(layout) for part in parts_of(layout))


def part_of(name: str, layout: Layout) -> Part:
    """The part of that name.

    Raises:
        PlanError: the layout has none.
    """
    if "/" in name:
        layout.expert_index(name)
        group, _, expert = name.partition("/")
        return Part(group, expert=expert)
    if name not in layout.group_names:
        group, _, band = name.removesuffix("=").rpartition("@")
        if band in BANDS and group in layout.group_names:
            return Part(group, band=band)
    layout.group_index(name)
    return Part(name)


def without(plan: RoutingPlan, units: tuple[str, ...]) -> RoutingPlan:
    """The plan with the parts of these names dropped: nobody takes their weight over."""
    overrides = []
    for name in units:
        part = part_of(name, plan.layout)
        overrides.append(Override(part.target, State.OFF, None, part.band or "all"))
    return Steering(tuple(overrides)).apply(plan)
