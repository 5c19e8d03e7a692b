"""What the steering controls are set to, as a value: the browser sends it, links and presets hold it, undo goes back to it.

What a setting does not name is left to the router. A lock says only that moving another one leaves this one alone; it
never reaches the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atmoe import Layout, Override, RoutingPlan, State, Steering
from atmoe.errors import SteeringError
from atmoe.steering import BANDS

SCOPES = ("all", *BANDS)


@dataclass(frozen=True)
class Setting:
    """One group or expert taken from the router.  percent: its share when Fixed, kept while it is Off."""

    state: State
    percent: float
    locked: bool = False


@dataclass(frozen=True)
class Controls:
    """settings: target ("group" or "group/expert") → setting.  on: False shows the router's answer and keeps the rest."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    strength: float = 1.0
    scope: str = "all"
    on: bool = True

    @property
    def steering(self) -> Steering:
        """The steering that is in force.

        Raises:
            SteeringError: a value out of range.
        """
        return self.kept if self.on else Steering()

    @property
    def kept(self) -> Steering:
        """The steering that is set, whether or not it is switched on."""
        return Steering(tuple(Override(target, s.state, s.percent / 100 if s.state is State.FIXED else None, self.scope)
                              for target, s in self.settings.items()), self.strength)

    def checked(self, layout: Layout) -> Controls:
        """These controls, in the layout's order.

        Raises:
            SteeringError: something the layout lacks, a value out of range, or settings that contradict each other.
        """
        if self.scope not in SCOPES:
            raise SteeringError(f"{self.scope!r} names no layers; choose {', '.join(SCOPES)}.")
        if not all(0 <= s.percent <= 100 for s in self.settings.values()):
            raise SteeringError("A share is between 0% and 100%; lower it.")
        self.kept.apply(RoutingPlan.uniform(layout))
        order = [*layout.group_names, *layout.expert_names].index
        return Controls({t: self.settings[t] for t in sorted(self.settings, key=order)}, self.strength, self.scope, self.on)

    def to_dict(self) -> dict[str, Any]:
        return {"set": {target: [str(s.state), s.percent, s.locked] for target, s in self.settings.items()},
                "strength": self.strength, "scope": self.scope, "on": self.on}

    @classmethod
    def from_dict(cls, data: Any, layout: Layout) -> Controls:
        """The inverse of `to_dict`, for whatever a browser may have sent.

        Raises:
            SteeringError: not of that form, or impossible for this model.
        """
        try:
            settings = {str(target): Setting(State(state), float(percent), bool(locked))
                        for target, (state, percent, locked) in data["set"].items()}
            made = cls({t: s for t, s in settings.items() if s.state is not State.ROUTER}, float(data["strength"]),
                       str(data["scope"]), bool(data["on"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise SteeringError(f"These settings cannot be read ({error!r}); reset the steering and set it again.") from error
        return made.checked(layout)


def of_steering(steering: Steering, layout: Layout) -> Controls:
    """The controls that stand for a steering, as found in a record.

    Raises:
        SteeringError: the page has no controls for it (several scopes), or it does not fit the model.
    """
    overrides = [o for o in steering.overrides if o.state is not State.ROUTER]
    scopes = {o.scope for o in overrides} or {"all"}
    if len(scopes) > 1:
        raise SteeringError("This steering sets several ranges of layers, which these controls cannot show; "
                            "use the command line for it.")
    return Controls({o.target: Setting(o.state, 100 * (o.share or 0)) for o in overrides}, steering.strength,
                    scopes.pop()).checked(layout)
