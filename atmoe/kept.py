"""What the router's own reading of a prompt leaves for the steered ones that follow it.

A steered plan is the router's plan in every layer below the first one that was steered. Up to there the hidden states, keys and
values are the very same numbers, so a prefill can begin where the plans part:

    layer        0 ........ k ........ L
    router's     ────────────────────────►   keeps what enters every layer, and its keys and values
    steered               └──────────────►   late layers only: a third of the work

It belongs to whoever asked: one `Kept` a question, given with each call. Nothing of it is on the model.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor
from transformers import DynamicCache

from atmoe.experts import Mixing, decoder_layers, mixed_by
from atmoe.passes import Pass, parting
from atmoe.plan import RoutingPlan
from atmoe.prompt import Batch, Prompt

if TYPE_CHECKING:
    from atmoe.model import AtMoe

LIMIT = 128 * 2**20
"""Bytes of one prompt, above which nothing of it is kept: SmolLM2-135M takes 56 kB a token in bfloat16, twice that in float32."""


@dataclass
class Kept:
    """Empty until a prompt of one row was read by the router; then of that prompt, until another is.

    limit: in bytes.  reused: how many layers the last prefill that was given this did not compute.
    """

    limit: int = LIMIT
    reused: int = 0
    _read: _Read | None = None

    @property
    def bytes(self) -> int:
        return 0 if self._read is None else self._read.bytes

    def of(self, model: AtMoe, prompt: Prompt) -> _Read | None:
        """What is kept of this prompt, read by this model."""
        return self._read if self._read is not None and self._read.model is model and self._read.prompt == prompt else None

    def keep(self, read: _Read) -> None:
        self._read = read if read.bytes <= self.limit else None


@dataclass
class _Read:
    """A prompt of one row, as the router read it.

    passed: that pass; its states end with what the last layer gave, normed.  layers: the cache's.  Tensors are shared with
    whoever decodes, who never writes to them.
    """

    model: AtMoe
    prompt: Prompt
    batch: Batch
    plan: RoutingPlan | None = None
    passed: Pass = field(default_factory=Pass)
    layers: list = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(t.nbytes for t in (*self.passed.states, *(t for layer in self.layers for t in (layer.keys, layer.values))))

    def end(self, hidden: Tensor, plan: RoutingPlan, cache) -> None:
        """hidden: as the model gave it.  cache: of that pass; its layers are objects that decoding goes on changing."""
        self.plan, self.layers = plan, [copy.copy(layer) for layer in cache.layers]
        self.passed.states.append(hidden)

    def resume(self, plan: RoutingPlan) -> tuple[Tensor, DynamicCache, int]:
        """The same prompt under another plan. → what the model gives [1, tokens, hidden], its cache, the layers not computed"""
        model, layers = self.model, decoder_layers(self.model.base)[0]
        weights, before = model.weights_of([plan], 1), model.weights_of([self.plan], 1)
        [first] = parting(weights, before[0])
        cache = DynamicCache(config=model.base.config)
        cache.layers[:first] = [copy.copy(layer) for layer in self.layers[:first]]
        hidden = self.passed.states[first]
        with mixed_by(Mixing(model.bank, weights)):
            for index in range(first, len(layers)):
                hidden = self.passed.through(index, layers[index], hidden, past_key_values=cache)
        return hidden if first == len(layers) else model.base.base_model.norm(hidden), cache, first


def begin(model: AtMoe, prompt: Prompt, batch: Batch) -> _Read | None:
    """Something to keep a reading in; None for a base whose final norm this program does not know."""
    return _Read(model, prompt, batch) if hasattr(model.base.base_model, "norm") else None
