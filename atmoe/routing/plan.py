"""A plan is a value: how much weight each group and expert has at each layer, for one prompt.

    group shares   s [layers, groups]     Σ_g s = 1
    expert shares  q [layers, experts]    Σ_e q = 1 in a group
    weight         w [layers, experts]    w = s[group of e] · q, Σ_e w = 1

This is the grouped routing of AT-MoE (arXiv 2410.10896). The router makes a plan, steering turns a
plan into a plan, and the model mixes its experts by one. A plan with something switched off sums to
less than 1: nobody takes a dropped share over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atmoe.errors import PlanError
from atmoe.routing.layout import Layout
from atmoe.schema import PlanJson, checked

TOLERANCE = 1e-4
"""How far a sum of shares may stray from 1. A float32 softmax of dozens of numbers: below 1e-6."""


@dataclass(frozen=True, eq=False)
class RoutingPlan:
    """Shares of one prompt at every layer, on the CPU in float32.

    Anything that makes an array of numbers is taken, and copied.

    Attributes:
        layout: the names of its columns.
        group_shares: [layers, groups].
        expert_shares: [layers, experts], in-group.
        strength: [layers], multiplies the model's gain: 0 = the base model, 1 = as trained. Not
            given, it is 1 everywhere.
        first: what the planner read of the prompt, [layers read, hidden], in a plan that a router
            with a planner has just made or that was made from one; None otherwise. No part of what
            the plan does, and not written.
        likely: how likely the planner took each expert to be asked for, [experts], from 0 to 1, in
            a plan that a router with one made or that was made from one; None otherwise. No part of
            what the plan does.

    Raises:
        PlanError: an array has the wrong shape, a negative or non-finite number, or shares of a
            layer that sum to more than 1; or a likelihood is above 1.
    """

    layout: Layout
    group_shares: Tensor
    expert_shares: Tensor
    strength: Tensor = field(default=None)  # type: ignore[assignment]  # a Tensor once made
    first: Tensor | None = field(default=None, repr=False)
    likely: Tensor | None = None

    def __post_init__(self) -> None:
        # 1. arrays of the layout's shapes
        L, G, E = self.layout.layers, len(self.layout.groups), len(self.layout.expert_names)
        strength = torch.ones(L) if self.strength is None else self.strength
        arrays: list[tuple[str, Any, tuple[int, ...]]] = [
            ("group_shares", self.group_shares, (L, G)),
            ("expert_shares", self.expert_shares, (L, E)),
            ("strength", strength, (L,)),
        ]
        if self.likely is not None:
            arrays.append(("likely", self.likely, (E,)))
        for name, value, shape in arrays:
            try:
                value = torch.as_tensor(value).detach().to("cpu", torch.float32, copy=True)
            except (TypeError, ValueError, RuntimeError, OverflowError) as error:
                raise PlanError(
                    f"{name} is not an array of numbers; give one of shape {shape}."
                ) from error
            if value.shape != shape:
                raise PlanError(
                    f"{name} has the shape {tuple(value.shape)}; this model needs {shape}."
                )
            if not torch.isfinite(value).all() or (value < 0).any():
                raise PlanError(
                    f"{name} holds a negative or non-finite number; shares are between 0 and 1."
                )
            object.__setattr__(self, name, value)
        if self.first is not None:
            first = self.first.detach().to("cpu", torch.float32, copy=True)
            object.__setattr__(self, "first", first)
        if self.likely is not None and (self.likely > 1 + TOLERANCE).any():
            raise PlanError("likely holds a number above 1; a likelihood is between 0 and 1.")
        # 2. no layer gives away more than it has
        sums = [self.group_shares.sum(1)]
        for group in self.layout.group_names:
            sums.append(self.expert_shares[:, self.layout.members(group)].sum(1))
        if any((total > 1 + TOLERANCE).any() for total in sums):
            raise PlanError(
                "The shares of a layer sum to more than 100%; they must sum to at most 100%."
            )

    @property
    def weights(self) -> Tensor:
        """Routing weight of each expert, w = s · q: [layers, experts]."""
        return self.group_shares[:, list(self.layout.group_of)] * self.expert_shares

    @property
    def group_weights(self) -> Tensor:
        """Routing weight of each group, the sum of its experts': [layers, groups].

        That is its share, s, but for what is switched off inside it.
        """
        weights, layout = self.weights, self.layout
        groups = [weights[:, layout.members(group)].sum(1) for group in layout.group_names]
        return torch.stack(groups, 1)

    @property
    def mixing(self) -> Tensor:
        """What the experts are mixed by before the gain, strength · w: [layers, experts]."""
        return self.strength[:, None] * self.weights

    @cached_property
    def team(self) -> tuple[str, ...]:
        """Who takes part: the experts that have weight in some layer."""
        return self._with_some(self.weights)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """Who would take part if all groups did: experts with a share of theirs in some layer."""
        return self._with_some(self.expert_shares)

    @cached_property
    def absent(self) -> tuple[str, ...]:
        """The groups that take no part: those without weight in any layer."""
        none = (self.group_weights == 0).all(0).tolist()
        return tuple(group for group, has in zip(self.layout.group_names, none) if has)

    @cached_property
    def taking_part(self) -> frozenset[str]:
        """The groups that take part, and the team."""
        return frozenset(self.layout.group_names) - {*self.absent} | {*self.team}

    @cached_property
    def doubts(self) -> dict[str, tuple[str, ...]]:
        """Where the planner doubts: it took nobody of a group to be asked for, likelier than not.

        Returns:
            Such groups that take part and have several experts → the experts' own names, the
            likeliest first. Empty too where no likelihoods are known.
        """
        doubted: dict[str, tuple[str, ...]] = {}
        if self.likely is None:
            return doubted
        for group, experts in self.layout.groups:
            likely = self.likely[self.layout.members(group)].tolist()
            if len(experts) > 1 and group not in self.absent and max(likely) < 0.5:
                order = sorted(range(len(experts)), key=lambda i: -likely[i])
                doubted[group] = tuple(experts[i] for i in order)
        return doubted

    def _with_some(self, shares: Tensor) -> tuple[str, ...]:
        """The experts that have some of these shares, [layers, experts], in some layer."""
        some = (shares > 0).any(0).tolist()
        return tuple(name for name, has in zip(self.layout.expert_names, some) if has)

    @classmethod
    def uniform(cls, layout: Layout) -> RoutingPlan:
        """Equal shares for all groups, and for all experts inside each."""
        groups = torch.full((layout.layers, len(layout.groups)), 1 / len(layout.groups))
        sizes = torch.tensor([len(layout.groups[g][1]) for g in layout.group_of])
        return cls(layout, groups, (1 / sizes).expand(layout.layers, -1))

    @classmethod
    def off(cls, layout: Layout) -> RoutingPlan:
        """No weight anywhere: the base model, exactly."""
        return cls.choosing(layout, {}, {})

    @classmethod
    def of_layers(
        cls,
        layout: Layout,
        shares: Sequence[tuple[Tensor, Tensor]],
        first: Tensor | None = None,
        likely: Tensor | None = None,
    ) -> RoutingPlan:
        """A plan from what a router gave at each layer.

        Args:
            layout: of the plan.
            shares: of the groups [1, groups] and in-group [1, experts], one pair a layer.
            first: as the attribute.
            likely: as the attribute.
        """
        s, q = (torch.cat(parts) for parts in zip(*shares))
        return cls(layout, s, q, first=first, likely=likely)

    @classmethod
    def choosing(
        cls, layout: Layout, experts: Mapping[str, str], groups: Mapping[str, float] | None = None
    ) -> RoutingPlan:
        """All of a group's share on one named expert.

        Args:
            layout: of the plan.
            experts: group → its expert; a group not named keeps equal in-group shares.
            groups: group → its share in every layer; a group left out gets 0. None = equal shares.

        Raises:
            PlanError: a name is unknown, or the shares sum to more than 1.
        """
        plan = cls.uniform(layout)
        shares, inside = plan.group_shares.clone(), plan.expert_shares.clone()
        for group, expert in experts.items():
            column = layout.expert_index(f"{group}/{expert}")
            inside[:, layout.members(group)] = 0
            inside[:, column] = 1
        if groups is not None:
            shares.zero_()
            for group, share in groups.items():
                shares[:, layout.group_index(group)] = share
        return cls(layout, shares, inside)

    @classmethod
    def mean(cls, plans: Sequence[RoutingPlan]) -> RoutingPlan:
        """The plan whose shares are the average of several plans' shares, layer by layer.

        Raises:
            PlanError: no plan, or plans of different models.
        """
        if not plans:
            raise PlanError("An average needs at least one plan.")
        if any(p.layout != plans[0].layout for p in plans):
            raise PlanError(
                "An average needs plans of one model; route the prompts again with the same one."
            )
        stack = [
            torch.stack(parts).mean(0)
            for parts in zip(*((p.group_shares, p.expert_shares, p.strength) for p in plans))
        ]
        return cls(plans[0].layout, *stack)

    def close_to(self, other: RoutingPlan, atol: float = 1e-6) -> bool:
        """Whether two plans of one layout have the same shares and strength, to `atol`."""
        return self.layout == other.layout and all(
            torch.allclose(a, b, rtol=0, atol=atol)
            for a, b in (
                (self.group_shares, other.group_shares),
                (self.expert_shares, other.expert_shares),
                (self.strength, other.strength),
            )
        )

    def to_dict(self) -> dict:
        """The plan as JSON-ready lists.

        Numbers have nine significant digits, so that float32 shares come back exactly. Likelihoods
        that are not known are absent.
        """
        known = {} if self.likely is None else {"likely": _nine_digits(self.likely)}
        return {
            "layers": self.layout.layers,
            "groups": [
                {"name": name, "experts": list(experts)} for name, experts in self.layout.groups
            ],
            "group_shares": [_nine_digits(row) for row in self.group_shares],
            "expert_shares": [_nine_digits(row) for row in self.expert_shares],
            "team": list(self.team),
            "strength": _nine_digits(self.strength),
            **known,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoutingPlan:
        """The inverse of `to_dict`.

        Raises:
            PlanError: a field is missing or its shape does not fit the names.
        """
        checked(
            PlanJson,
            data,
            "This is not a routing plan",
            "use one saved by this program",
            PlanError,
        )
        groups = {group["name"]: group["experts"] for group in data["groups"]}
        if len(groups) != len(data["groups"]):
            raise PlanError("The plan names a group twice; names must differ.")
        strength: Any = data.get("strength")
        layout = Layout.of(data["layers"], groups)
        plan = cls(
            layout,
            data["group_shares"],
            data["expert_shares"],
            strength,
            likely=data.get("likely"),
        )
        # Records of before there were teams do not name one; those of before a group could take no
        # part name its experts although the group was off.
        team = data.get("team")
        if team is not None and set(team) not in (set(plan.team), set(plan.asked)):
            raise PlanError(
                "The plan's team and its shares disagree; use one saved by this program."
            )
        return plan


def _nine_digits(row: Tensor) -> list[float]:
    return [float(f"{x:.9g}") for x in row.tolist()]
