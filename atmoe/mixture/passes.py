"""One forward pass watched layer by layer, and gone through again from any layer on.

with entering(who): …            who.enter(layer, …) as the pass enters each decoder layer
passed = Pass()                  as `who`, keeps what entered each layer and what it was called with
passed.through(layer, …)         the same layer, called as then, with other hidden states
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn


class Entering(Protocol):
    """Who is told of each decoder layer that a forward pass enters."""

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        """hidden: [rows, tokens, hidden].  args, kwargs: all that the layer was called with, hidden among them."""


_entered: ContextVar[Entering | None] = ContextVar("atmoe_entered", default=None)


@contextmanager
def entering(who: Entering | None) -> Iterator[None]:
    """Tell `who` of the layers that one forward pass enters. Never hold it across a yield."""
    token = _entered.set(who)
    try:
        yield
    finally:
        _entered.reset(token)


def telling_of(layer: int):
    """A forward pre-hook, with keyword arguments, for the decoder layer of that index."""

    def hook(module, args, kwargs):
        who = _entered.get()
        if who is not None:
            who.enter(layer, args[0] if args else kwargs["hidden_states"], args, kwargs)

    return hook


@dataclass
class Pass:
    """states: hidden states that enter each layer [rows, tokens, hidden].  calls: what each layer was called with beside them
    and a cache.
    """

    states: list[Tensor] = field(default_factory=list)
    calls: list[tuple[tuple, dict]] = field(default_factory=list)

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        self.states.append(hidden)
        self.calls.append(
            (
                args[1:] if args else (),
                {k: v for k, v in kwargs.items() if k not in ("hidden_states", "past_key_values")},
            )
        )

    def through(self, index: int, layer: nn.Module, hidden: Tensor, **cache) -> Tensor:
        """What the layer of that index makes of other hidden states."""
        args, kwargs = self.calls[index]
        out = layer(hidden, *args, **kwargs, **cache)
        return out[0] if isinstance(out, tuple) else out


def parting(weights: Tensor, reference: Tensor) -> list[int]:
    """The first layer at which each row's expert weights differ from the reference's; the number of layers where none does.
    weights: [rows, layers, experts].  reference: [layers, experts]
    """
    return [
        int(row.float().argmax()) if row.any() else len(row)
        for row in (weights != reference).any(-1)
    ]
