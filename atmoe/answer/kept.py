"""What the router's own reading of a prompt leaves for the steered ones that follow it.

A steered plan is the router's plan in every layer below the first one that was steered. Up to there
the hidden states, keys and values are the very same numbers, so a prefill can begin where the plans
part:

    layer        0 ........ k ........ L
    router's     ────────────────────────►   keeps what enters every layer, and its keys and values
    steered               └──────────────►   late layers only: a third of the work

It belongs to whoever asked: one `Kept` a question, given with each call. Nothing of it is on the
model. A base that the engine does not know leaves nothing.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor
from transformers import DynamicCache

from atmoe.answer.engine import Engine
from atmoe.answer.leases import Lease
from atmoe.prompt.template import Prompt
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan

LIMIT, TOGETHER = 128 * 2**20, 256 * 2**20
"""Bytes of one prompt, above which nothing of it is kept; and of everybody's.

SmolLM2-135M takes 56 kB a token in bfloat16, twice that in float32.
"""


@dataclass(eq=False)
class Kept:
    """Empty until the router reads a prompt of one row; then of that one, until it reads another.

    Attributes:
        limit: in bytes.
        reused: how many layers the last prefill that was given this did not compute.
        shares: the router's of each layer that it has read, ([1, groups], [1, experts]); grows
            while it reads, and any thread may look.
    """

    limit: int = LIMIT
    reused: int = 0
    shares: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _read: Read | None = None

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return 0 if self._read is None else self._read.bytes

    def drop(self) -> None:
        """Let it go: whoever needs it reads the prompt again. Any thread may."""
        self._read = None

    def so_far(self, layout: Layout) -> RoutingPlan | None:
        """The router's plan over the layers that it has read, however few; None before the first.

        Args:
            layout: of the whole plan.
        """
        read = tuple(self.shares)
        if not read:
            return None
        return RoutingPlan.of_layers(replace(layout, layers=len(read)), read)

    def of(self, engine: Engine, prompt: Prompt, lease: Lease | None) -> Read | None:
        """What is kept of this prompt, if it was read by this engine through these products.

        Others round otherwise.
        """
        read = self._read
        if (
            read is not None
            and read.engine is engine
            and read.lease is lease
            and read.prompt == prompt
        ):
            return read
        return None

    def keep(
        self,
        engine: Engine,
        prompt: Prompt,
        lease: Lease | None,
        plan: RoutingPlan,
        states: Sequence[Tensor],
        cache: DynamicCache,
    ) -> None:
        """Keep a prompt as the router read it, unless it is larger than the limit.

        Args:
            engine: what read it.
            prompt: what was read.
            lease: whose products it was read through, None = the engine's own.
            plan: the router's.
            states: what entered each layer, and what left the last, [tokens, hidden] each.
            cache: as those layers filled it.
        """
        read = Read(engine, prompt, lease, plan, tuple(states), tuple(map(copy.copy, cache.layers)))
        self._read = read if read.bytes <= self.limit else None


class Shelf:
    """All that is kept, within one limit; what was used longest ago goes first.

    Whoever asked holds what is theirs; with them it goes from here.

    Args:
        limit: of all together, in bytes.
    """

    def __init__(self, limit: int = TOGETHER):
        self.limit = limit
        self._held: weakref.WeakKeyDictionary[Kept, None] = weakref.WeakKeyDictionary()

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return sum(kept.bytes for kept in self._held)

    def put(self, kept: Kept) -> None:
        """It was used just now."""
        self._held.pop(kept, None)
        self._held[kept] = None
        total = self.bytes
        for oldest in list(self._held):
            if total <= self.limit:
                return
            total -= oldest.bytes
            oldest.drop()
            del self._held[oldest]


@dataclass(frozen=True)
class Read:
    """A prompt of one row, as the router read it.

    Tensors are shared with whoever decodes, who never writes to them.

    Attributes:
        engine: what read it.
        prompt: what was read.
        lease: whose products it was read through, None = the engine's own.
        plan: the router's.
        states: what entered each layer, and what left the last, [tokens, hidden] each.
        filled: the layers of the cache.
    """

    engine: Engine
    prompt: Prompt
    lease: Lease | None
    plan: RoutingPlan
    states: tuple[Tensor, ...]
    filled: tuple

    @property
    def bytes(self) -> int:
        """What all its tensors take."""
        states = sum(state.nbytes for state in self.states)
        return states + sum(layer.keys.nbytes + layer.values.nbytes for layer in self.filled)

    def layers(self, first: int) -> list:
        """The cache's, of the layers before `first`: objects that decoding may go on changing."""
        return [copy.copy(layer) for layer in self.filled[:first]]
