"""The first reading of a prompt, by which the router's planner decides who takes part.

layer      0 ..... depth ............ L
planner    ─────────┤                    the base model alone, then left
router     ──────────────────────────►   with the experts of the team
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from atmoe.mixture.experts import mixed_by
from atmoe.mixture.passes import entering
from atmoe.prompt.batch import Batch
from atmoe.routing.planner import Members, Planner
from atmoe.routing.router import pool_instruction


class First(NamedTuple):
    """A first reading of prompts; both are None where there is no planner.

    Attributes:
        states: what the planner read, [rows, depth, hidden], float32.
        team: who takes part; None = everybody.
    """

    states: Tensor | None
    team: Members | None

    def of(self, row: int) -> tuple[Tensor | None, Tensor | None]:
        """What the plan of one prompt tells of it: its `first` and its `likely`."""
        likely = None if self.team is None else self.team.likely
        states = None if self.states is None else self.states[row]
        return states, None if likely is None else likely[row]


def first_reading(base: PreTrainedModel, batch: Batch, planner: Planner | None) -> First:
    """What decides who takes part in each prompt.

    Args:
        base: is read without its experts.
        batch: the prompts.
        planner: the router's.
    """
    if planner is None:
        return First(None, None)
    states = first_states(base, batch, planner.depth)
    return First(states, planner.team(states, batch.texts))


def first_states(
    base: PreTrainedModel, batch: Batch, depth: int, cache: Cache | None = None
) -> Tensor:
    """What a planner reads: pooled states that leave the base model's first layers.

    Args:
        base: is read without its experts.
        batch: the prompts, or what follows in them what is in the cache.
        depth: how many layers are read.
        cache: keys and values of what all rows begin with; it is changed.

    Returns:
        [rows, depth, hidden], float32.
    """
    reading = _FirstLayers(batch.instruction, depth)
    with torch.no_grad(), entering(reading), mixed_by(None), suppress(_Left):
        base.base_model(
            input_ids=batch.ids,
            attention_mask=batch.attention,
            position_ids=batch.positions,
            use_cache=cache is not None,
            past_key_values=cache,
        )
    return torch.stack(reading.states, 1)


class _Left(Exception):
    """A forward pass was left on purpose."""


@dataclass
class _FirstLayers:
    """Pools what leaves the first layers, then leaves the pass."""

    instruction: Tensor
    depth: int
    states: list[Tensor] = field(default_factory=list)

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        """Take note of one decoder layer, before it runs; see `atmoe.mixture.passes`."""
        if layer > 0:
            self.states.append(pool_instruction(hidden, self.instruction))
        if layer == self.depth:
            raise _Left
