"""Steering: what a person wants changed in a plan, as a value that is passed with each call.

Every group, and every expert inside a group, is in one of three states at each layer:

    Router   untouched
    Fixed    at a share. The fixed ones sum to S ≤ 1; the others share what is left, in the
             router's proportions; where the router gave all of them 0 (they take no part), nobody
             takes it. An expert that is given a share calls its group in, where that takes no part
             and is not set itself: at an equal share, or what others that are set leave of it
    Off      dropped: the weight becomes 0 and nobody takes it over (an ablation, not a
             redistribution)

Overrides compose: at each layer the one with the narrower scope wins. Two of equal width that say
different things about one layer contradict each other and are refused, so the order of overrides
never matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from atmoe.errors import PlanError, SteeringError
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.schema import SteeringJson, checked
from atmoe.wording import percent

MAX_STRENGTH = 2.0
BANDS = ("early", "middle", "late")
"""A scope's names for the thirds of the layers, from the first to the last."""
ROUNDING = 1e-6
"""How far a sum of shares may be from another and count as the same."""


class State(StrEnum):
    """What is done to a group or an expert; the values are what a saved steering says."""

    ROUTER = "router"
    FIXED = "fixed"
    OFF = "off"


def layer_range(scope: str, layers: int) -> range:
    """The layers that a scope names.

    Args:
        scope: "all", a band ("early", "middle", "late": thirds), "A-B" or "A", counted from 0,
            both ends included.
        layers: how many the model has.

    Raises:
        SteeringError: the scope cannot be read or lies outside the model.
    """
    if scope == "all":
        return range(layers)
    if scope in BANDS:
        band = BANDS.index(scope)
        third = range(layers * band // 3, layers * (band + 1) // 3)
        if not third:
            raise SteeringError(
                f"A model of {layers} layers has no {scope} third; write a range such as "
                f"0-{layers - 1}."
            )
        return third
    match = (
        re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", scope) if isinstance(scope, str) else None
    )
    if not match:
        raise SteeringError(
            f"{scope!r} names no layers; write all, early, middle, late or a range such as 0-9."
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < layers:
        raise SteeringError(f"Layers {scope} do not exist; this model has layers 0-{layers - 1}.")
    return range(first, last + 1)


@dataclass(frozen=True)
class Override:
    """One change: a target is put into a state at the layers of a scope.

    Attributes:
        target: "group" or "group/expert".
        state: what it is put into.
        share: where that is Fixed, the share of the layer (a group) or of the group (an expert),
            between 0 and 1; else None, whatever was given.
        scope: the layers, as `layer_range` reads them.

    Raises:
        SteeringError: the target is no text, there is no such state, or Fixed has no share from 0
            to 1. Names and scopes are checked where the override meets a plan.
    """

    target: str
    state: State
    share: float | None = None
    scope: str = "all"

    def __post_init__(self) -> None:
        if not isinstance(self.target, str):
            raise SteeringError(
                f"{self.target!r} is no target; write the name of a group, or group/expert."
            )
        if self.state not in list(State):
            raise SteeringError(f"{self.state!r} is no state; use {', '.join(State)}.")
        object.__setattr__(self, "state", State(self.state))
        if self.state is not State.FIXED:
            object.__setattr__(self, "share", None)
        elif not isinstance(self.share, int | float) or not self.share >= 0:
            raise SteeringError(f"{self.target} needs a share between 0% and 100%.")
        elif self.share > 1 + ROUNDING:
            raise SteeringError(
                f"{self.target} is set to {percent(self.share)}; a share is at most 100% "
                f"(write 0.6 or 60% for sixty percent)."
            )

    @property
    def change(self) -> str:
        """What is done, without to whom and where: "left to the router", "off", "fixed at 60%"."""
        if self.state is State.ROUTER:
            return "left to the router"
        return "off" if self.state is State.OFF else f"fixed at {percent(self.share or 0)}"


@dataclass(frozen=True)
class Steering:
    """All overrides of one call, and the strength of the experts.

    Attributes:
        overrides: in any order.
        strength: multiplies the experts' gain: 0 = the base model, 1 = as trained, at most
            `MAX_STRENGTH`.

    Raises:
        SteeringError: something else than overrides, or a strength out of its range.
    """

    overrides: tuple[Override, ...] = ()
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "overrides", tuple(self.overrides))
        if not all(isinstance(o, Override) for o in self.overrides):
            raise SteeringError(
                "Steering takes a tuple of overrides; write Steering((Override(...),))."
            )
        if not isinstance(self.strength, int | float) or not 0 <= self.strength <= MAX_STRENGTH:
            raise SteeringError(
                f"Strength is {self.strength}; it goes from 0 (base model) to {MAX_STRENGTH:g}."
            )

    @property
    def untouched(self) -> bool:
        """True where applying this changes nothing, whatever the plan."""
        return self.strength == 1.0 and all(o.state is State.ROUTER for o in self.overrides)

    def apply(self, plan: RoutingPlan) -> RoutingPlan:
        """The plan that these overrides make of `plan`; `plan` itself stays as it is.

        Raises:
            SteeringError: an unknown name or layer; fixed shares of a layer above 100%, or below it
                with nothing left to take the rest; two equally narrow overrides that contradict
                each other.
        """
        layout = plan.layout
        groups, experts = plan.group_shares.clone(), plan.expert_shares.clone()
        for layer, overrides in enumerate(self.by_layer(layout)):
            if not overrides:
                continue
            where = f"layer {layer}"
            overrides = overrides | _called_in(groups[layer], layout, overrides)
            _settle(groups[layer], layout.group_names, overrides, where)
            for group in layout.group_names:
                members = layout.members(group)
                _settle(
                    experts[layer, members],
                    layout.expert_names[members],
                    overrides,
                    f"{where}, {group}",
                )
        # Set, not multiplied: applying one steering twice is applying it once.
        strength = (
            plan.strength if self.strength == 1.0 else torch.full_like(plan.strength, self.strength)
        )
        return RoutingPlan(layout, groups, experts, strength, plan.first, plan.likely)

    def by_layer(self, layout: Layout) -> list[dict[str, Override]]:
        """For each layer, the override in force for each target: the narrowest.

        Returns:
            One dictionary a layer, target → override; a target that no override names is not in it.

        Raises:
            SteeringError: an unknown name or layer; two equally narrow overrides that contradict
                each other.
        """

        def width(override: Override) -> int:
            return len(layer_range(override.scope, layout.layers))

        in_force: list[dict[str, Override]] = [{} for _ in range(layout.layers)]
        # Narrowest first, whatever the order given.
        for override in sorted(self.overrides, key=width):
            _check_name(override.target, layout)
            for layer in layer_range(override.scope, layout.layers):
                rival = in_force[layer].get(override.target)
                if rival is None:
                    in_force[layer][override.target] = override
                    continue
                same = (rival.state, rival.share) == (override.state, override.share)
                if width(override) == width(rival) and not same:
                    raise SteeringError(
                        f"{override.target} is set twice for layer {layer} ({rival.change} and "
                        f"{override.change}); keep one of them, or give one a narrower range."
                    )
        return in_force

    def to_dict(self) -> dict[str, Any]:
        """The steering as JSON-ready values."""
        return {
            "strength": self.strength,
            "overrides": [
                {"target": o.target, "state": str(o.state), "share": o.share, "layers": o.scope}
                for o in self.overrides
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Steering:
        """The inverse of `to_dict`.

        Raises:
            SteeringError: a field is missing, has a value that means nothing, or is not known.
        """
        checked(
            SteeringJson,
            data,
            "This is not a steering",
            "use one saved by this program",
            SteeringError,
        )
        overrides = tuple(
            Override(o["target"], State(o["state"]), o.get("share"), o.get("layers", "all"))
            for o in data["overrides"]
        )
        return cls(overrides, float(data.get("strength", 1.0)))


def parse_target(text: str, state: State, scope: str = "all") -> Override:
    """An override from its written form.

    Args:
        text: "GROUP=SHARE" or "GROUP/EXPERT=SHARE" (0.6 or 60%) where `state` is Fixed, else
            "GROUP" or "GROUP/EXPERT".
        state: what the target is put into.
        scope: the layers, as `layer_range` reads them.

    Raises:
        SteeringError: the text is not of that form.
    """
    if state is not State.FIXED:
        return Override(text.strip(), state, None, scope)
    target, _, share = (part.strip() for part in text.partition("="))
    try:
        if "_" in share or not share.isascii():  # Python reads more numbers than people write
            raise ValueError(share)
        value = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError:
        raise SteeringError(
            f"{text!r} is not GROUP=SHARE; write for example task=0.6 or task/treatment=60%."
        ) from None
    return Override(target, state, value, scope)


def _called_in(
    shares: Tensor, layout: Layout, overrides: Mapping[str, Override]
) -> dict[str, Override]:
    """What one layer's groups of share 0 are set to, of which an expert is given a share.

    Args:
        shares: of the groups, [groups].
        layout: of the plan.
        overrides: those in force at this layer, by target.
    """
    called = [
        group
        for group, share in zip(layout.group_names, shares.tolist())
        if not share
        and group not in overrides
        and any(o.share for target, o in overrides.items() if target.startswith(f"{group}/"))
    ]
    if not called:
        return {}
    fixed = [o.share for g in layout.group_names if (o := overrides.get(g)) and o.share is not None]
    equal, each = 1 / len(shares), _left(1.0, sum(fixed)) / len(called)
    others = len(fixed) + len(called) < len(shares)
    share = min(equal, each) if others else each
    return {group: Override(group, State.FIXED, share) for group in called}


def _left(total: float, taken: float) -> float:
    """What is left to share out; who got the rounding of a sum would seem to take part."""
    return total - taken if total - taken > ROUNDING else 0.0


def _settle(
    shares: Tensor, names: tuple[str, ...], overrides: Mapping[str, Override], where: str
) -> None:
    """Put one layer's siblings (all groups, or one group's experts) into their states, in place.

    The router's total T is 1, or less where something was dropped already; what is fixed comes out
    of T, so that applying the same steering twice is applying it once.

    Args:
        shares: [siblings], written over.
        names: the siblings' names, as an override's target gives them.
        overrides: those in force at this layer, by target.
        where: how a message calls this layer.

    Raises:
        SteeringError: the fixed shares sum to more than 1, or to less with nothing left to take
            the rest.
    """
    # 1. who is fixed and who is off
    fixed: dict[int, float] = {}
    off: list[int] = []
    for i, name in enumerate(names):
        override = overrides.get(name)
        if override is None:
            continue
        if override.state is State.OFF:
            off.append(i)
        elif override.share is not None:  # Fixed: no other state holds a share
            fixed[i] = override.share
    # 2. the fixed ones take theirs, the others what is left
    if fixed:
        free = [i for i in range(len(names)) if i not in fixed]
        total, taken = float(shares.sum()), sum(fixed.values())
        if taken > 1 + ROUNDING:
            raise SteeringError(
                f"The fixed shares sum to {percent(taken)} ({where}); lower them to 100% or less."
            )
        others = float(shares[free].sum()) if free else 0.0
        if taken < 1 - ROUNDING and not free:
            raise SteeringError(
                f"The fixed shares sum to {percent(taken)} ({where}) and nothing is left to take "
                f"the rest; raise them to 100% or leave one to the router."
            )
        if others > 0:
            shares[free] = shares[free] / others * _left(total, taken)
        for i, share in fixed.items():
            shares[i] = share
    # 3. what is off is dropped last, so that nobody has taken it over
    for i in off:
        shares[i] = 0.0


def _check_name(target: str, layout: Layout) -> None:
    """Refuse a target that the layout does not have."""
    try:
        if "/" in target:
            layout.expert_index(target)
        else:
            layout.group_index(target)
    except PlanError as error:
        raise SteeringError(str(error)) from None
