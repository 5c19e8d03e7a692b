"""An explanation as a value: what was measured of one answer, to and from JSON. How: `atmoe.explanation.measure`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from atmoe.errors import AtMoeError, PlanError
from atmoe.explanation.spans import Span
from atmoe.routing.plan import Layout


@dataclass(frozen=True)
class Unit:
    """A part of the mixture. name: "task", "task/treatment", or "task@late" for a group in a third of the layers.

    kind: "group", "expert" or "band".  weight, contribution, effect: see the module; effect in nats per answer token.
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
        return self.name.partition("/")[0].partition("@")[0]

    @property
    def band(self) -> str | None:
        return self.name.partition("@")[2] or None


@dataclass(frozen=True)
class Change:
    """The smallest move of one group's share, found by bisection, at which the greedy answer's first sentence changes.

    share: what the group received, mean over layers.  to: the mean share at which the sentence changes (how it is moved:
    `atmoe.explanation.smallest_change`); None where neither 0% nor 100% changes it.
    before, after: the sentences.  at: the token at which they part, counted from 0; token_before, token_after: it, as text.
    """

    group: str
    share: float
    before: str
    to: float | None = None
    after: str = ""
    at: int | None = None
    token_before: str = ""
    token_after: str = ""


@dataclass(frozen=True)
class Explanation:
    """What was measured of one answer.

    tokens: the answer's, as text.  sentences: where each begins and ends among them.
    logp, base_logp: mean log-probability per token under the plan in force, and under the base model alone.
    shapley: each group's exact Shapley value of f; they add up to logp − base_logp. None with many groups.
    rows: full passes through the layers that it cost.  seconds: on this machine.
    changes: the smallest change that alters the answer, group by group; None where it was not looked for.
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

    def of(self, kind: str) -> tuple[Unit, ...]:
        """The units of one kind: "group", "expert" or "band"."""
        return tuple(u for u in self.units if u.kind == kind)

    def unit(self, name: str) -> Unit:
        """Raises: KeyError, where there is none of that name."""
        return {u.name: u for u in self.units}[name]

    def mattered_most(self, sentence: Span) -> tuple[Unit, float]:
        """The group whose drop costs a sentence most, and that effect: nats per token of the sentence."""
        effects = [
            (sum(part) / len(part), u)
            for u in self.of("group")
            if (part := u.token_effects[sentence.start : sentence.end])
        ]
        effect, unit = max(effects, key=lambda pair: pair[0])
        return unit, effect

    def to_dict(self) -> dict[str, Any]:
        units = [
            {
                "name": u.name,
                "kind": u.kind,
                "weight": u.weight,
                "contribution": u.contribution,
                "effect": u.effect,
                "ratio": u.ratio,
            }
            for u in self.units
        ]
        return {
            "groups": [{"name": g, "experts": list(experts)} for g, experts in self.layout.groups],
            "layers": self.layout.layers,
            "units": units,
            "token_effects": {u.name: list(u.token_effects) for u in self.units},
            "tokens": list(self.tokens),
            "sentences": [asdict(s) for s in self.sentences],
            "logp": self.logp,
            "base_logp": self.base_logp,
            "shapley": None if self.shapley is None else dict(self.shapley),
            "rows": self.rows,
            "seconds": self.seconds,
            "smallest_change": None if self.changes is None else [asdict(c) for c in self.changes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanation:
        """The inverse of `to_dict`.

        Raises:
            AtMoeError: a field is missing or of another kind.
        """
        try:
            units = tuple(
                Unit(
                    u["name"],
                    u["kind"],
                    u["weight"],
                    u["contribution"],
                    u["effect"],
                    tuple(data["token_effects"][u["name"]]),
                )
                for u in data["units"]
            )
            return cls(
                Layout.of(data["layers"], {g["name"]: g["experts"] for g in data["groups"]}),
                units,
                tuple(data["tokens"]),
                tuple(Span(**s) for s in data["sentences"]),
                data["logp"],
                data["base_logp"],
                data["shapley"],
                data["rows"],
                data["seconds"],
                None
                if (found := data["smallest_change"]) is None
                else tuple(Change(**c) for c in found),
            )
        except (KeyError, TypeError, PlanError) as error:
            raise AtMoeError(
                f"This is no explanation ({error!r}); use one saved by this program."
            ) from error
