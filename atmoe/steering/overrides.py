"""Steering: what a person wants changed in a plan, as a value that is passed with each call.

Every group, and every expert inside a group, is in one of three states at each layer:

    Router   untouched
    Fixed    at a share. The fixed ones sum to S ≤ 1; the others share what is left in the router's proportions
    Off      dropped: the weight becomes 0 and nobody takes it over (an ablation, not a redistribution)

Overrides compose: at each layer the one with the narrower scope wins. Two of equal width that say different
things about one layer contradict each other and are refused, so the order of overrides never matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from atmoe.errors import PlanError, SteeringError
from atmoe.routing.plan import Layout, RoutingPlan

MAX_STRENGTH = 2.0
BANDS = ("early", "middle", "late")
ROUNDING = 1e-6


class State(StrEnum):
    ROUTER = "router"
    FIXED = "fixed"
    OFF = "off"


def layer_range(scope: str, layers: int) -> range:
    """The layers a scope names: "all", a band ("early", "middle", "late": thirds), "A-B" or "A" (0-based,
    both ends included).

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
                f"A model of {layers} layers has no {scope} third; write a range such as 0-{layers - 1}."
            )
        return third
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", scope) if isinstance(scope, str) else None
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
    """One change: `target` ("group" or "group/expert") is put into `state` at the layers of `scope`.

    share: for Fixed, the share of the layer (a group) or of the group (an expert), between 0 and 1.
    """

    target: str
    state: State
    share: float | None = None
    scope: str = "all"

    def __post_init__(self):
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
                f"{self.target} is set to {self.share:.0%}; a share is at most 100% "
                f"(write 0.6 or 60% for sixty percent)."
            )


@dataclass(frozen=True)
class Steering:
    """All overrides of one call, and the strength that multiplies the experts' gain (0 = base model)."""

    overrides: tuple[Override, ...] = ()
    strength: float = 1.0

    def __post_init__(self):
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
            SteeringError: an unknown name or layer; fixed shares of a layer above 100%, or below it with
                nothing left to take the rest; two equally narrow overrides that contradict each other.
        """
        layout = plan.layout
        chosen = self.by_layer(layout)
        groups, experts = plan.group_shares.clone(), plan.expert_shares.clone()
        for layer, overrides in enumerate(chosen):
            if not overrides:
                continue
            where = f"layer {layer}"
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
        return RoutingPlan(layout, groups, experts, strength)

    def by_layer(self, layout: Layout) -> list[dict[str, Override]]:
        """For each layer, the override in force for each target: the narrowest.

        Raises:
            SteeringError: an unknown name or layer; two equally narrow overrides that contradict each other.
        """
        chosen: list[dict[str, Override]] = [{} for _ in range(layout.layers)]
        width = lambda o: len(layer_range(o.scope, layout.layers))
        for override in sorted(
            self.overrides, key=width
        ):  # narrowest first, whatever the order given
            try:
                (layout.expert_index if "/" in override.target else layout.group_index)(
                    override.target
                )
            except PlanError as error:
                raise SteeringError(str(error)) from None
            for layer in layer_range(override.scope, layout.layers):
                rival = chosen[layer].get(override.target)
                if rival is None:
                    chosen[layer][override.target] = override
                elif width(override) == width(rival) and (rival.state, rival.share) != (
                    override.state,
                    override.share,
                ):
                    raise SteeringError(
                        f"{override.target} is set twice for layer {layer} ({_say(rival)} and "
                        f"{_say(override)}); keep one of them, or give one a narrower range."
                    )
        return chosen

    def to_dict(self) -> dict:
        return {
            "strength": self.strength,
            "overrides": [
                {"target": o.target, "state": str(o.state), "share": o.share, "layers": o.scope}
                for o in self.overrides
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> Steering:
        """The inverse of `to_dict`.

        Raises:
            SteeringError: a field is missing or has a value that means nothing.
        """
        try:
            return cls(
                tuple(
                    Override(
                        str(o["target"]),
                        State(o["state"]),
                        o.get("share"),
                        str(o.get("layers", "all")),
                    )
                    for o in data["overrides"]
                ),
                float(data["strength"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, SteeringError):
                raise
            raise SteeringError(
                f"This is not a steering ({error!r}); use one saved by this program."
            ) from error


def parse_target(text: str, state: State, scope: str = "all") -> Override:
    """An override from its written form: "GROUP=SHARE" or "GROUP/EXPERT=SHARE" (0.6 or 60%) when `state` is
    Fixed, else "GROUP" or "GROUP/EXPERT".

    Raises:
        SteeringError: the text is not of that form.
    """
    if state is not State.FIXED:
        return Override(text.strip(), state, None, scope)
    target, _, share = (part.strip() for part in text.partition("="))
    try:
        value = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError:
        raise SteeringError(
            f"{text!r} is not GROUP=SHARE; write for example task=0.6 or task/treatment=60%."
        ) from None
    return Override(target, state, value, scope)


def _settle(
    shares: Tensor, names: tuple[str, ...], overrides: Mapping[str, Override], where: str
) -> None:
    """Put one layer's siblings [n] (all groups, or one group's experts) into their states, in place.

    The router's total T is 1, or less where something was dropped already; what is fixed comes out of T, so that
    applying the same steering twice is applying it once.
    """
    fixed = [
        i
        for i, name in enumerate(names)
        if name in overrides and overrides[name].state is State.FIXED
    ]
    off = [
        i
        for i, name in enumerate(names)
        if name in overrides and overrides[name].state is State.OFF
    ]
    if fixed:
        free = [i for i in range(len(names)) if i not in fixed]
        total, taken = float(shares.sum()), sum(overrides[names[i]].share for i in fixed)
        if taken > 1 + ROUNDING:
            raise SteeringError(
                f"The fixed shares sum to {taken:.0%} ({where}); lower them to 100% or less."
            )
        held = float(shares[free].sum()) if free else 0.0
        if taken < 1 - ROUNDING and not free:
            raise SteeringError(
                f"The fixed shares sum to {taken:.0%} ({where}) and nothing is left to take the rest; "
                f"raise them to 100% or leave one to the router."
            )
        if taken < total - ROUNDING and held == 0.0 and not set(off) & set(free):
            raise SteeringError(
                f"The fixed shares sum to {taken:.0%} ({where}) and all others are at 0, so nothing "
                f"can take the rest; raise them to 100%."
            )
        if held > 0:
            shares[free] = shares[free] / held * max(total - taken, 0.0)
        for i in fixed:
            shares[i] = overrides[names[i]].share
    for i in off:
        shares[i] = 0.0


def _say(override: Override) -> str:
    return (
        f"fixed at {override.share:.0%}" if override.state is State.FIXED else str(override.state)
    )
