"""One prompt read by the engine: where a decode step has rows, the tokens of the prompt stand.

    token ids ─ embed ─► layer 0 ────► layer 1 ────► … ─► the last token's state ─ norm ─► logits
                          ▲    └ keys and values, for the decoder
                          └ weights: of a given plan; or of the router, which reads what enters the layer

Padding stands behind the prompt, where none of its tokens looks. Several prompts at once, and bases that the engine does not
know, are read by transformers, which this must equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from atmoe.answer.engine import LINEARS, Engine, engine_of
from atmoe.answer.fused import Lease, Product
from atmoe.answer.kept import Kept
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.passes import parting
from atmoe.prompt import Batch, Prompt
from atmoe.routing.plan import RoutingPlan
from atmoe.routing.router import pool_instruction


class Prefilled(NamedTuple):
    """logits: of the last token [rows, vocabulary], None where nothing is to be decoded.  plans: one a row.  cache: keys and values.
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
        plans: one a prompt; None = the router's, read on the way.
        use_cache: False where nothing is to be decoded: neither logits nor a cache are made.
        kept: what an earlier prefill of the same prompt left, see `atmoe.answer.kept`.
        lease: see `read`. Both are for one prompt, and a base that the engine knows.

    Raises:
        PlanError: the plans do not fit.
    """
    if plans is not None:
        mixture.weights_of(plans, len(prompts))  # refuses what does not fit
    engine = engine_of(mixture) if len(prompts) == 1 else None
    if kept is not None:
        kept.reused = 0
    with torch.inference_mode():
        if engine is not None:
            state, plan, cache, batch = read(
                engine, prompts[0], plans[0] if plans else None, kept, lease
            )
            return Prefilled(engine.logits(state) if use_cache else None, [plan], cache, batch)
        batch = mixture.collate(prompts)
        hidden, plans, cache = mixture.forward(batch, plans, logits=False, use_cache=use_cache)
        return Prefilled(mixture.logits(hidden[:, -1]) if use_cache else None, plans, cache, batch)


def read(
    engine: Engine,
    prompt: Prompt,
    plan: RoutingPlan | None,
    kept: Kept | None = None,
    lease: Lease | None = None,
) -> tuple[Tensor, RoutingPlan, DynamicCache, Batch]:
    """→ the last token's state [1, hidden], the plan in force, keys and values, and the prompt as a batch of one row

    plan: None = the router's, read on the way.  kept: see `AtMoe.generate`.  lease: of a copy of the weights with no plan folded
    in, whose products to read by; in bfloat16 on a CPU they are the quicker, and round otherwise.
    """
    model, length = engine.model, len(prompt.ids)
    padded = model.collate([prompt], side="right")
    reading = _Reading(engine, padded, length, lease)
    found, first = None if kept is None else kept.of(engine, prompt, lease), 0
    if found is not None:
        plan = found.plan if plan is None else plan
        [first] = parting(model.weights_of([plan], 1), model.weights_of([found.plan], 1)[0])
        x = found.states[first]
        reading.cache.layers[:first] = found.layers(first)
    else:
        x = engine.embed(padded.ids[0])
    if plan is not None:
        reading.weights = model.weights_of([plan], 1) * model.bank.scaling
    x = engine.through(x, reading.products, reading.turns, reading.attend, first, reading.enter)
    if kept is not None:
        kept.reused = first
        if plan is None:
            kept.keep(engine, prompt, lease, reading.plan(), [*reading.states, x], reading.cache)
    whole = Batch(
        *(
            t[:, :length]
            for t in (padded.ids, padded.attention, padded.instruction, padded.positions)
        )
    )
    return (
        engine.norm(x[length - 1 : length]),
        reading.plan() if plan is None else plan,
        reading.cache,
        whole,
    )


class _Reading:
    """What one pass needs and leaves. weights: [1, layers, experts], (α / r) included; filled layer by layer where the router
    gives them.  states: what entered each layer [tokens, hidden].  cache: keys and values of the prompt, without its padding.
    """

    def __init__(self, engine: Engine, padded: Batch, length: int, lease: Lease | None):
        self._engine, self._model, self._length = engine, engine.model, length
        self._instruction = padded.instruction
        self._shares: list[tuple[Tensor, Tensor]] = []
        self._masks: dict[int | None, Tensor] = {}
        self.weights: Tensor | None = None
        self.states: list[Tensor] = []
        self.cache = DynamicCache(config=self._model.base.config)
        self.products = (
            lease.again() if lease else [Product(fused, None, None) for fused in engine.fused]
        )
        rotations = engine.rotations(engine.embed.weight, padded.positions)
        self.turns = {rope: (cos[0], sin[0]) for rope, (cos, sin) in rotations.items()}

    def enter(self, index: int, x: Tensor) -> None:
        """Weigh the products of a layer, by the router where no plan was given. x: [tokens, hidden]"""
        weights = self.weights
        if weights is None:
            router = self._model.router
            s, q = router(pool_instruction(x[None], self._instruction), index)
            self._shares.append((s, q))
            weights = router.mixing(s, q, index) * self._model.bank.scaling
            self.states.append(x)
        else:
            weights = weights[:, index]
        for product in self.products[len(LINEARS) * index : len(LINEARS) * (index + 1)]:
            product.weigh(weights)

    def plan(self) -> RoutingPlan:
        """The router's, once it has read every layer."""
        s, q = (torch.cat(parts) for parts in zip(*self._shares))
        return RoutingPlan(self._model.layout, s, q)

    def attend(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Keep a layer's k, v [tokens, kv heads, d]; each token looks back from q [tokens, kv heads, queries, d] → the same"""
        layer = self._engine.layers[index]
        k, v = (t.transpose(0, 1)[None] for t in (k, v))
        self.cache.update(*(t[:, :, : self._length].contiguous() for t in (k, v)), index)
        queries = q.permute(1, 2, 0, 3)
        keys, values = (t.transpose(0, 1).expand_as(queries) for t in (k, v))
        window = layer.window if layer.window and layer.window < len(q) else None
        if layer.softcap is not None:
            scores = layer.softcap * torch.tanh(
                queries @ keys.transpose(2, 3) * (layer.scaling / layer.softcap)
            )
            seen = (
                scores.masked_fill(~self._mask(window, len(q)), float("-inf"))
                .softmax(-1, torch.float32)
                .to(q.dtype)
                @ values
            )
        elif window:
            seen = F.scaled_dot_product_attention(
                queries, keys, values, self._mask(window, len(q)), scale=layer.scaling
            )
        else:
            seen = F.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, scale=layer.scaling
            )
        return seen.permute(2, 0, 1, 3)

    def _mask(self, window: int | None, tokens: int) -> Tensor:
        """Whom each token sees: itself and those before it, of the last `window`. [tokens, tokens]"""
        if window not in self._masks:
            seen = torch.ones(
                tokens, tokens, dtype=torch.bool, device=self._instruction.device
            ).tril()
            self._masks[window] = seen if window is None else seen.triu(1 - window)
        return self._masks[window]
