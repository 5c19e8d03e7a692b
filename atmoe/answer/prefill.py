"""One prompt read by the engine: where a decode step has rows, the tokens of the prompt stand.

    token ids ─ embed ─► layer 0 ────► layer 1 ────► … ─► the last token's state ─ norm ─► logits
                          ▲    └ keys and values, for the decoder
                          └ weights: of a given plan; or of the router, which reads what enters it

Padding stands behind the prompt, where none of its tokens looks. Several prompts at once, and bases
that the engine does not know, are read by transformers, which this must equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from atmoe.answer.causal import Causal
from atmoe.answer.engine import Engine, engine_of
from atmoe.answer.foreseeing import foresee
from atmoe.answer.kept import Kept
from atmoe.answer.layers import LINEARS
from atmoe.answer.leases import Lease, bare
from atmoe.answer.pieces import Pieces, through, whole
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.passes import parting
from atmoe.mixture.planning import First
from atmoe.prompt.batch import Batch
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan
from atmoe.routing.router import pool_instruction


class Prefilled(NamedTuple):
    """Prompts that were read.

    Attributes:
        logits: of the last token, [rows, vocabulary]; None where nothing is to be decoded.
        plans: those in force, one a row.
        cache: keys and values.
        batch: the prompts.
    """

    logits: Tensor | None
    plans: list[RoutingPlan]
    cache: Any
    batch: Batch


def prefill(
    mixture: Mixture,
    prompts: Sequence[Prompt],
    plans: Sequence[RoutingPlan] | None,
    use_cache: bool = True,
    kept: Kept | None = None,
    lease: Lease | None = None,
) -> Prefilled:
    """Run prompts through the model once.

    Args:
        mixture: what reads them.
        prompts: at least one.
        plans: one a prompt; None = the router's, read on the way.
        use_cache: False where nothing is to be decoded: neither logits nor a cache are made.
        kept: of one prompt: what the router's prefill of it leaves, and where a later one begins.
            A base that the engine does not know leaves nothing.
        lease: of a copy of the weights with no plan folded in, whose products one prompt is read
            by. In bfloat16 on a CPU they are the quicker, and round otherwise.

    Raises:
        PlanError: the plans do not fit.
    """
    return whole(in_pieces(mixture, prompts, plans, use_cache, kept, lease))


@torch.inference_mode()
def in_pieces(
    mixture: Mixture,
    prompts: Sequence[Prompt],
    plans: Sequence[RoutingPlan] | None,
    use_cache: bool = True,
    kept: Kept | None = None,
    lease: Lease | None = None,
) -> Pieces[Prefilled]:
    """`prefill`, in pieces where it is one prompt that the engine reads."""
    if plans is not None:
        mixture.weights_of(plans, len(prompts))  # refuses what does not fit
    engine = engine_of(mixture) if len(prompts) == 1 else None
    if kept is not None:
        kept.reused = 0
    if engine is not None:
        plan = plans[0] if plans else None
        return (yield from _read(engine, prompts[0], plan, use_cache, kept, lease))
    batch = mixture.collate(prompts)
    hidden, in_force, cache = mixture.forward(batch, plans, logits=False, use_cache=use_cache)
    logits = mixture.logits(hidden[:, -1]) if use_cache else None
    return Prefilled(logits, in_force, cache, batch)


def _read(
    engine: Engine,
    prompt: Prompt,
    plan: RoutingPlan | None,
    use_cache: bool,
    kept: Kept | None,
    lease: Lease | None,
) -> Pieces[Prefilled]:
    """One prompt, read by the engine; the arguments are those of `prefill`."""
    mixture, length = engine.model, len(prompt.ids)
    # 1. what the router's prefill left, up to the layer where the plans part
    padded = mixture.collate([prompt], side="right")
    reading = _Reading(engine, padded, length, lease)
    left = None if kept is None else kept.of(engine, prompt, lease)
    first = 0
    if left is None:
        x = engine.embed(padded.ids[0])
        in_force = plan
    else:
        in_force = left.plan if plan is None else plan
        weights = mixture.weights_of([in_force], 1)
        [first] = parting(weights, mixture.weights_of([left.plan], 1)[0])
        x = left.states[first]
        reading.cache.layers[:first] = left.layers(first)
    # 2. the layers from there on
    if in_force is None:
        if kept is not None:
            kept.shares = reading.shares
        reading.first = yield from foresee(engine, prompt)
    else:
        reading.weights = mixture.weights_of([in_force], 1) * mixture.bank.scaling
    x = yield from through(
        engine, x, reading.products, reading.turns, reading.attend, first, reading.enter
    )
    # 3. what was read by the router is left for others
    if kept is not None:
        kept.reused = first
        if in_force is None:
            states = [*reading.states, x]
            kept.keep(engine, prompt, lease, reading.plan(), states, reading.cache)
    # 4. the prompt's own, without its padding
    logits = engine.logits(engine.norm(x[length - 1 : length])) if use_cache else None
    plans = [reading.plan() if in_force is None else in_force]
    batch = Batch(
        padded.ids[:, :length],
        padded.attention[:, :length],
        padded.instruction[:, :length],
        padded.positions[:, :length],
        padded.texts,
    )
    return Prefilled(logits, plans, reading.cache, batch)


class _Reading:
    """What one pass over one prompt needs and leaves.

    Args:
        engine: what reads.
        padded: the prompt as a batch of one row, padding behind it.
        length: of the prompt, without padding.
        lease: whose products it is read by; None = over the weights themselves.

    Attributes:
        weights: of the plan in force, [1, layers, experts], (α / r) included; None where the router
            gives each layer's as it is entered.
        first: who takes part, where the router gives the weights, and what decided it.
        shares: the router's of each layer entered, ([1, groups], [1, experts]), where it gives the
            weights.
        states: what entered each layer, [tokens, hidden] each, where the router gives the weights.
        cache: keys and values of the prompt, without its padding.
    """

    def __init__(self, engine: Engine, padded: Batch, length: int, lease: Lease | None):
        self._engine = engine
        self._mixture = engine.model
        self._length = length
        self._instruction = padded.instruction
        self.shares: list[tuple[Tensor, Tensor]] = []
        self._causal = Causal()
        self.weights: Tensor | None = None
        self.first = First(None, None)
        self.states: list[Tensor] = []
        self.cache = DynamicCache(config=self._mixture.base.config)
        self.products = lease.again() if lease else bare(engine.fused)
        self.turns = engine.turns(padded.positions)

    def enter(self, index: int, x: Tensor) -> None:
        """Weigh the products of a layer, by the router where no plan was given.

        Args:
            index: of the layer.
            x: what enters it, [tokens, hidden].
        """
        weights = self.weights
        if weights is None:
            router = self._mixture.router
            s, q = router(pool_instruction(x[None], self._instruction), index, self.first.team)
            self.shares.append((s, q))
            weights = router.mixing(s, q, index) * self._mixture.bank.scaling
            self.states.append(x)
        else:
            weights = weights[:, index]
        for product in self.products[len(LINEARS) * index : len(LINEARS) * (index + 1)]:
            product.weigh(weights)

    def plan(self) -> RoutingPlan:
        """The router's, once it has read every layer."""
        return RoutingPlan.of_layers(self._mixture.layout, self.shares, *self.first.of(0))

    def attend(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Keep a layer's keys and values; each token looks back.

        Args:
            index: of the layer.
            q: [tokens, kv heads, queries, d]
            k: [tokens, kv heads, d]
            v: like k.

        Returns:
            What the queries saw, like q.
        """
        kept = (t.transpose(0, 1)[None, :, : self._length].contiguous() for t in (k, v))
        self.cache.update(*kept, index)
        return self._causal(self._engine.layers[index], q, k, v)
