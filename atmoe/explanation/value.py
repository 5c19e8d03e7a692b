"""An explanation as a value: what was measured of one answer, to and from JSON.

How it is measured: `atmoe.explanation.measure`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from atmoe.errors import AtMoeError, PlanError
from atmoe.explanation.spans import Span
from atmoe.explanation.units import part_of
from atmoe.routing.layout import Layout
from atmoe.schema import ExplanationJson, checked


@dataclass(frozen=True)
class Unit:
    """A part of the mixture, and what was measured of it.

    Attributes:
        name: "task", "task/treatment", or "task@late" for a group in a third of the layers.
        kind: "group", "expert" or "band".
        weight: its share of the routing weight, mean over layers.
        contribution: the size of its update beside that of the layers' own output.
        effect: how much likelier the answer is with it, in nats per answer token.
        token_effects: the same of each answer token; their mean is the effect.
    """

    name: str
    kind: str
    weight: float
    contribution: float
    effect: float
    token_effects: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times less likely, per token, the answer is without it; below 1: more likely."""
        return math.exp(self.effect)

    @property
    def group(self) -> str:
        """The group it is or belongs to."""
        if self.kind == "band":
            return self.name.removesuffix("=").rpartition("@")[0]
        return self.name.partition("/")[0] if self.kind == "expert" else self.name

    @property
    def band(self) -> str | None:
        """The third of the layers that it is in; None where it is in all."""
        return self.name.removesuffix("=").rpartition("@")[2] if self.kind == "band" else None

    @property
    def plain(self) -> str:
        """Its name as it is said: "treatment", or "task in the late layers"."""
        if self.kind == "band":
            return f"{self.group} in the {self.band} layers"
        return self.name.rpartition("/")[2]

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes, without the effects by token."""
        return {
            "name": self.name,
            "kind": self.kind,
            "weight": self.weight,
            "contribution": self.contribution,
            "effect": self.effect,
            "ratio": self.ratio,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], token_effects: Sequence[float]) -> Unit:
        """The inverse of `to_dict`."""
        return cls(
            data["name"],
            data["kind"],
            data["weight"],
            data["contribution"],
            data["effect"],
            tuple(token_effects),
        )


@dataclass(frozen=True)
class Change:
    """The smallest move of one group's share at which the greedy answer's first sentence changes.

    Found by bisection (`atmoe.explanation.smallest_change` says how the share is moved).

    Attributes:
        share: the group's, as a lever sets it, mean over layers; its experts weigh less together
            where one of them is off.
        before: the sentence.
        to: the mean share at which it changes; None where neither 0% nor 100% changes it.
        after: the sentence there.
        at: the token at which the two part, counted from 0.
        token_before: it, as text.
        token_after: the one in its place; "" where the answer ends.
    """

    group: str
    share: float
    before: str
    to: float | None = None
    after: str = ""
    at: int | None = None
    token_before: str = ""
    token_after: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Change:
        """The inverse of `dataclasses.asdict`; what is not of a change is left out."""
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})


@dataclass(frozen=True)
class Explanation:
    """What was measured of one answer.

    Attributes:
        tokens: the answer's, as text.
        sentences: where each begins and ends among them.
        logp: mean log-probability per token under the plan in force, in nats.
        base_logp: the same under the base model alone.
        shapley: each group's exact Shapley value of the mean log-probability; they add up to
            logp − base_logp. None with many groups.
        rows: full passes through the layers that it cost.
        seconds: that it took, on this machine.
        changes: the smallest change that alters the answer, group by group; None where it was not
            looked for.
        floor: an effect up to this size tells nothing of the part removed, in nats per token
            (`atmoe.explanation.measure` says how it is measured); None where it was not.
    """

    layout: Layout
    units: tuple[Unit, ...]
    tokens: tuple[str, ...]
    sentences: tuple[Span, ...]
    logp: float
    base_logp: float
    shapley: Mapping[str, float] | None
    rows: float
    seconds: float
    changes: tuple[Change, ...] | None = None
    floor: float | None = None

    @property
    def complete(self) -> bool:
        """Whether all is measured, or only what is asked for first. Old ones have no floor."""
        return bool(self.of("band")) or self.floor is not None

    @property
    def mixed(self) -> bool:
        """Whether the experts added anything: not at strength 0, nor with all of them off."""
        return any(unit.weight and unit.contribution for unit in self.of("group"))

    def of(self, kind: str) -> tuple[Unit, ...]:
        """The units of one kind: "group", "expert" or "band"."""
        return tuple(u for u in self.units if u.kind == kind)

    def unit(self, name: str) -> Unit:
        """The unit of that name.

        Raises:
            KeyError: there is none.
        """
        return {u.name: u for u in self.units}[name]

    def mattered_most(self, sentence: Span) -> tuple[Unit, float]:
        """The group whose drop costs a sentence most.

        Returns:
            It, and its effect on the sentence, in nats per token of the sentence.
        """
        effects = []
        for unit in self.of("group"):
            part = unit.token_effects[sentence.start : sentence.end]
            if part:
                effects.append((unit, sum(part) / len(part)))
        return max(effects, key=lambda pair: pair[1])

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes."""
        return {
            "groups": [{"name": g, "experts": list(experts)} for g, experts in self.layout.groups],
            "layers": self.layout.layers,
            "units": [u.to_dict() for u in self.units],
            "token_effects": {u.name: list(u.token_effects) for u in self.units},
            "tokens": list(self.tokens),
            "sentences": [asdict(s) for s in self.sentences],
            "logp": self.logp,
            "base_logp": self.base_logp,
            "shapley": None if self.shapley is None else dict(self.shapley),
            "rows": self.rows,
            "seconds": self.seconds,
            "smallest_change": None if self.changes is None else [asdict(c) for c in self.changes],
            "noise_floor": self.floor,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanation:
        """The inverse of `to_dict`.

        Raises:
            AtMoeError: a field is missing or of another kind.
        """
        what, fix = "This is no explanation", "use one saved by this program"
        checked(ExplanationJson, data, what, fix, AtMoeError)
        token_effects, changes = data["token_effects"], data["smallest_change"]
        try:
            layout = Layout.of(data["layers"], {g["name"]: g["experts"] for g in data["groups"]})
            for unit in data["units"]:
                if part_of(unit["name"], layout).kind != unit["kind"]:
                    raise PlanError(f"{unit['name']!r} is no {unit['kind']}")
        except PlanError as error:
            raise AtMoeError(f"{what} ({error}); {fix}.") from error
        return cls(
            layout,
            tuple(Unit.from_dict(u, token_effects[u["name"]]) for u in data["units"]),
            tuple(data["tokens"]),
            tuple(Span(s["start"], s["end"], s["text"]) for s in data["sentences"]),
            data["logp"],
            data["base_logp"],
            data["shapley"],
            data["rows"],
            data["seconds"],
            None if changes is None else tuple(Change.from_dict(c) for c in changes),
            data.get("noise_floor"),
        )
