"""What the steering controls are set to, as a value.

The browser sends it, links and presets hold it, undo goes back to it. What a setting does not name
is left to the router. A lock says only that moving another one leaves this one alone; it never
reaches the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from atmoe import Layout, Override, RoutingPlan, State, Steering
from atmoe.errors import SteeringError
from atmoe.schema import ControlsJson, checked
from atmoe.steering.overrides import BANDS, layer_range

SCOPES = ("all", *BANDS)


@dataclass(frozen=True)
class Setting:
    """One group or expert taken from the router.

    Attributes:
        percent: its share when Fixed, kept while it is Off.
    """

    state: State
    percent: float
    locked: bool = False


@dataclass(frozen=True)
class Cells:
    """A group or expert in a range of layers, set apart from whatever it is set to elsewhere.

    Attributes:
        first: layer of the range.
        last: layer of the range, included.
        state: Router leaves it to the router where its setting would reach.
        percent: its share when Fixed, else 0.
    """

    target: str
    first: int
    last: int
    state: State
    percent: float = 0.0

    @property
    def scope(self) -> str:
        """These layers, as a steering writes them."""
        return _scope_of(self.first, self.last)


@dataclass(frozen=True)
class Controls:
    """All that is set.

    Attributes:
        settings: target ("group" or "group/expert") → setting, at the layers of `scope`.
        cells: settings of ranges of layers; they win over `settings`, and those of one target do
            not overlap.
        on: False shows the router's answer and keeps the rest.
        layers: how many the model has; known once checked.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    strength: float = 1.0
    scope: str = "all"
    on: bool = True
    cells: tuple[Cells, ...] = ()
    layers: int = field(default=0, compare=False)

    @property
    def changes(self) -> int:
        """How many things are changed, whether or not they are switched on."""
        return len(self.settings) + len(self.cells) + (self.strength != 1)

    @property
    def steering(self) -> Steering:
        """The steering that is in force.

        Raises:
            SteeringError: a value out of range.
        """
        return self.steering_when_on if self.on else Steering()

    @property
    def steering_when_on(self) -> Steering:
        """The steering that is set, whether or not it is switched on."""
        overrides = [
            Override(target, s.state, _share(s), scope)
            for target, s in self.settings.items()
            for scope in self._scopes(target)
        ]
        overrides += [Override(c.target, c.state, _share(c), c.scope) for c in self.cells]
        return Steering(tuple(overrides), self.strength)

    def checked(self, layout: Layout) -> Controls:
        """These controls, in the layout's order.

        Raises:
            SteeringError: something the layout lacks, a value out of range, or settings that
                contradict each other.
        """
        if self.scope not in SCOPES:
            raise SteeringError(f"{self.scope!r} names no layers; choose {', '.join(SCOPES)}.")
        percents = [s.percent for s in self.settings.values()] + [c.percent for c in self.cells]
        if not all(0 <= percent <= 100 for percent in percents):
            raise SteeringError("A share is between 0% and 100%; lower it.")
        for cells in self.cells:
            layer_range(cells.scope, layout.layers)
        set_apart = sorted(
            (c for c in self.cells if c.state is not State.ROUTER or c.target in self.settings),
            key=lambda c: (c.target, c.first),
        )
        for one, other in pairwise(set_apart):
            if one.target == other.target and other.first <= one.last:
                raise SteeringError(
                    f"{one.target} is set twice for layer {other.first}; reset one of the two."
                )
        controls = replace(self, cells=tuple(set_apart), layers=layout.layers)
        controls.steering_when_on.apply(RoutingPlan.uniform(layout))
        order = [*layout.group_names, *layout.expert_names].index
        return replace(
            controls,
            settings={t: self.settings[t] for t in sorted(self.settings, key=order)},
            cells=tuple(sorted(set_apart, key=lambda c: (order(c.target), c.first))),
        )

    def to_dict(self) -> dict[str, Any]:
        """The form in which the browser, a link's page and a record hold them."""
        return {
            "set": {
                target: [str(s.state), s.percent, s.locked] for target, s in self.settings.items()
            },
            "strength": self.strength,
            "scope": self.scope,
            "on": self.on,
            "cells": [[c.target, c.first, c.last, str(c.state), c.percent] for c in self.cells],
        }

    @classmethod
    def from_dict(cls, data: Any, layout: Layout) -> Controls:
        """The inverse of `to_dict`.

        Args:
            data: whatever a browser may have sent. Records of before hold no cells.
            layout: the model's.

        Raises:
            SteeringError: not of that form, or impossible for this model.
        """
        # 1. the form, and no more than a model of this size has a use for
        checked(
            ControlsJson,
            data,
            "These settings cannot be read",
            "reset the steering and set it again",
            SteeringError,
        )
        targets = {*layout.group_names, *layout.expert_names}
        cells = data.get("cells", ())
        for target in (*data["set"], *(cell[0] for cell in cells)):
            if target not in targets:
                # Whatever is missing, the layout says it as it does everywhere.
                Steering((Override(target, State.OFF),)).by_layer(layout)
        if len(cells) > len(targets) * layout.layers:
            raise SteeringError(
                f"{len(cells):,} ranges of cells are set, and this model has no room for so many; "
                f"reset the steering and set it again."
            )
        # 2. the value
        settings = {
            target: Setting(State(state), float(percent), locked)
            for target, (state, percent, locked) in data["set"].items()
        }
        controls = cls(
            {t: s for t, s in settings.items() if s.state is not State.ROUTER},
            float(data["strength"]),
            data["scope"],
            data["on"],
            tuple(
                Cells(target, first, last, State(state), float(percent))
                for target, first, last, state, percent in cells
            ),
        )
        return controls.checked(layout)

    def _scopes(self, target: str) -> list[str]:
        """Where a target's setting is in force.

        Its whole scope as long as its cells, being narrower, win there by themselves; else the
        scope without them.
        """
        own = [c for c in self.cells if c.target == target]
        if not own:
            return [self.scope]
        scope = layer_range(self.scope, self.layers)
        met = [c for c in own if c.first < scope.stop and c.last >= scope.start]
        if all(c.last - c.first + 1 < len(scope) for c in met):
            return [self.scope]
        return runs([layer for layer in scope if not any(c.first <= layer <= c.last for c in met)])


def of_steering(steering: Steering, layout: Layout) -> Controls:
    """The controls that stand for a steering, as found in a record or on the command line.

    What is set in one scope that has a name becomes their settings, and the rest cells.

    Raises:
        SteeringError: it does not fit the model.
    """
    overrides = [o for o in steering.overrides if o.state is not State.ROUTER]
    scope = next((name for name in SCOPES if any(o.scope == name for o in overrides)), "all")
    settings = {o.target: Setting(o.state, _percent(o)) for o in overrides if o.scope == scope}
    apart: dict[Override, list[int]] = {}
    for layer, chosen in enumerate(steering.by_layer(layout)):
        for o in chosen.values():
            if o.scope != scope or o.state is State.ROUTER:
                apart.setdefault(o, []).append(layer)
    cells = []
    for o, layers in apart.items():
        for run in runs(layers):
            where = layer_range(run, layout.layers)
            cells.append(Cells(o.target, where[0], where[-1], o.state, _percent(o)))
    return Controls(settings, steering.strength, scope, cells=tuple(cells)).checked(layout)


def _percent(override: Override) -> float:
    """A share in percent, as somebody typed it: 100 · 0.29 is a hair less than 29."""
    return round(100 * (override.share or 0), 10)


def runs(layers: Sequence[int]) -> list[str]:
    """Layers in ascending order → the scopes that hold them and no other.

    [3, 4, 5, 9] → ["3-5", "9"].
    """
    starts = [layer for layer in layers if layer - 1 not in layers]
    ends = [layer for layer in layers if layer + 1 not in layers]
    return [_scope_of(first, last) for first, last in zip(starts, ends)]


def _scope_of(first: int, last: int) -> str:
    return f"{first}-{last}" if first != last else f"{first}"


def _share(setting: Setting | Cells) -> float | None:
    return setting.percent / 100 if setting.state is State.FIXED else None
