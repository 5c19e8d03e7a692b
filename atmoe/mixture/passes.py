"""One forward pass watched layer by layer, and gone through again from any layer on.

with entering(who): …            who.enter(layer, …) as the pass enters each decoder layer
passed = Pass()                  as `who`, keeps what entered each layer and what it was called with
passed.through(layer, …)         the same layer, called as then, with other hidden states
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Entering(Protocol):
    """Who is told of each decoder layer that a forward pass enters."""

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        """Take note of one decoder layer, before it runs.

        Args:
            layer: its index.
            hidden: what enters it, [rows, tokens, hidden].
            args: all that it was called with by place, `hidden` among them or in `kwargs`.
            kwargs: all that it was called with by name.
        """


_entered: ContextVar[Entering | None] = ContextVar("atmoe_entered", default=None)


@contextmanager
def entering(who: Entering | None) -> Iterator[None]:
    """Tell one party of the layers that one forward pass enters. Never hold it across a yield.

    Args:
        who: is told; None = nobody.
    """
    token = _entered.set(who)
    try:
        yield
    finally:
        _entered.reset(token)


def entry_hook(layer: int) -> Callable[[nn.Module, tuple, dict], None]:
    """A forward pre-hook, with keyword arguments, for the decoder layer of that index."""

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
        who = _entered.get()
        if who is not None:
            who.enter(layer, args[0] if args else kwargs["hidden_states"], args, kwargs)

    return hook


@dataclass
class Pass:
    """What entered each layer of one forward pass, and what the layer was called with.

    Attributes:
        states: the hidden states that enter each layer, [rows, tokens, hidden].
        calls: the other arguments of each layer, by place and by name, without a cache.
    """

    states: list[Tensor] = field(default_factory=list)
    calls: list[tuple[tuple, dict]] = field(default_factory=list)

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        """Keep what enters a layer; `entering` calls it, layer after layer."""
        left_out = ("hidden_states", "past_key_values")
        self.states.append(hidden)
        by_name = {name: value for name, value in kwargs.items() if name not in left_out}
        self.calls.append((args[1:], by_name))

    def through(self, index: int, layer: nn.Module, hidden: Tensor, **cache: Any) -> Tensor:
        """What a layer makes of other hidden states, called as it was in this pass.

        Args:
            index: which call to repeat.
            layer: the decoder layer of that index.
            hidden: [rows, tokens, hidden].
            **cache: a cache, under the names by which the layer takes it.

        Returns:
            [rows, tokens, hidden]
        """
        args, kwargs = self.calls[index]
        out = layer(hidden, *args, **kwargs, **cache)
        return out[0] if isinstance(out, tuple) else out


def parting(weights: Tensor, reference: Tensor) -> list[int]:
    """The first layer at which each row's expert weights differ from the reference's.

    Args:
        weights: [rows, layers, experts].
        reference: [layers, experts].

    Returns:
        An index a row; the number of layers where none differs.
    """
    differs = torch.ne(weights, reference).any(-1)  # [rows, layers]
    return [int(row.float().argmax()) if row.any() else len(row) for row in differs]
