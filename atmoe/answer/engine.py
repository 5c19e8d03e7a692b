"""The decode step of our own: one more token a row through every layer, in plain tensor functions.

    prefill (`atmoe.answer.prefill`, where the router reads)
       └─ its cache, copied once ─► keys, values [rows, kv heads, prompt + answer, d]
                                                ▲ each step writes one column and reads up to it
    token ─ embed ─┬─ norm ─ q/k/v ─ rotate ─ attend ─ o ─(norm)─ + ─┐
                   │  ┌──────────────────────────────────────────────┘
                   │  └─ norm ─ gate/up ─ act · up ─ down ─(norm)─ + ─┬─ norm ─ logits
                   └────────────────── every layer ───────────────────┘

Knows the layers of Llama, Qwen 2 and 3, and Gemma 2 and 3; any other base is decoded by
transformers, which is also the reference that this must equal: in float32 token for token (the
shipped model: 20 prompts × 64 tokens, beside and folded, logits to 1e-4). bfloat16 rounds
elsewhere: over 6 prompts × 32 tokens its logits were 1.4% (beside) and 1.5% (folded) from float32's
where transformers' were 1.7%, and 98% of the greedy choices were the same as transformers' in
bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from atmoe.answer.fused import Fused
from atmoe.answer.head import Head
from atmoe.answer.layers import LINEARS, Norm, described, linears_of, simple
from atmoe.answer.leases import Copy
from atmoe.mixture.experts import decoder_layers
from atmoe.mixture.memory import give_back_memory
from atmoe.mixture.mixture import Mixture

KINDS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
Turns = dict[str, tuple[Tensor, Tensor]]
"""By kind of rotation, cos and sin."""
Products = Sequence[Callable[[Tensor], Tensor]]
"""Four a layer, of all layers: x [rows, in] → y [rows, out]."""
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""layer, q [rows, kv heads, queries, d], k and v [rows, kv heads, d] → what the queries saw."""


class Engine:
    """The layers of one mixture, fused. Holds nothing of any request; that is `Decoder`'s.

    Making one moves the linears' weights together, in place (`atmoe.answer.fused`).

    Attributes:
        model: the mixture that was fused.
        fused: its products, four a layer.
        copy: the one copy of them, to be leased.
        logits: the vocabulary projection, of final hidden states after the norm.
        opening: what the planner keeps of the template (`atmoe.answer.foreseeing`), once it has
            read a prompt.
        stream: what rows are between the products of a step. Experts beside 4-bit groups are
            computed in float32, and turning rows back and forth took longer than keeping them so.
    """

    def __init__(self, mixture: Mixture):
        self.model = mixture
        base: Any = mixture.base
        kind = base.config.model_type
        layers = decoder_layers(base)[0]
        self.layers = [described(layer, kind) for layer in layers]
        self.fused: list[Fused] = []
        for layer in layers:
            self.fused += [Fused(linears) for linears in linears_of(layer)]
            give_back_memory()  # or all layers' would be there twice at once
        self.copy = Copy(self.fused, mixture.bank)
        self.norm = Norm([base.base_model.norm], kind.startswith("gemma"))
        self.embed = base.get_input_embeddings()
        self.rotary = base.base_model.rotary_emb
        self.logits = Head(mixture, self.norm.scales, self.copy.spared)
        self.opening: Any = None
        self.stream = torch.float32 if self.copy.spared else mixture.bank.dtype

    @staticmethod
    def knows(mixture: Mixture) -> bool:
        """Whether the layers of this base are of a kind that is computed here."""
        config, body = mixture.base.config, mixture.base.base_model
        if config.model_type not in KINDS:
            return False
        if not (hasattr(body, "norm") and hasattr(body, "rotary_emb")):
            return False
        # Angles that change with the length, and attention that looks ahead, are not.
        rope = config.rope_parameters
        ropes = [r for r in (rope, *rope.values()) if isinstance(r, dict)]
        if {r.get("rope_type") for r in ropes} & {"dynamic", "longrope"}:
            return False
        if getattr(config, "use_bidirectional_attention", False):
            return False
        dtype = mixture.bank.dtype
        return all(
            simple(linear, dtype)
            for layer in decoder_layers(mixture.base)[0]
            for linears in linears_of(layer)
            for linear in linears
        )

    @property
    def fresh(self) -> bool:
        """Whether the mixture is still the one that was fused.

        It is not after it was moved, or given other experts.
        """
        return all(fused.fresh for fused in self.fused)

    def step(
        self, products: Products, tokens: Sequence[int], turns: Turns, attend: Attend
    ) -> Tensor:
        """One more token of each row through every layer.

        Args:
            products: as leased for these rows.
            tokens: the last of each row.
            turns: how each row's token is rotated, [rows, 1, d] each.
            attend: keeps a layer's keys and values, and looks back on all there are.

        Returns:
            The logits of the next, [rows, vocabulary].
        """
        with torch.inference_mode():
            x = self.embed(torch.tensor(tokens, device=self.embed.weight.device)).to(self.stream)
            return self.logits(self.norm(self.through(x, products, turns, attend)))

    def through(
        self,
        x: Tensor,
        products: Products,
        turns: Turns,
        attend: Attend,
        first: int = 0,
        enter: Callable[[int, Tensor], None] = lambda index, x: None,
        last: int | None = None,
    ) -> Tensor:
        """Rows through the layers from `first` on.

        They are one token each of many people's, or all tokens of one prompt.

        Args:
            x: [rows, hidden]
            products: those of all layers.
            turns: how each row is rotated, [rows, 1, d] each.
            attend: keeps a layer's keys and values, and looks back on all there are.
            first: the layer that x enters.
            enter: called with the index of each layer, and what enters it.
            last: the layer before which it ends; None = it goes through all.

        Returns:
            Like x, before the final norm.
        """
        rows = len(x)
        for index, layer in enumerate(self.layers[first:last], first):
            enter(index, x)
            to_heads, to_hidden, to_mlp, from_mlp = products[
                len(LINEARS) * index : len(LINEARS) * (index + 1)
            ]
            before, after, before_mlp, after_mlp = layer.norms
            # 1. queries, keys and values
            heads = to_heads(before(x)).view(rows, -1, layer.d)
            qk, v = heads[:, : -layer.kv_heads], heads[:, -layer.kv_heads :]
            if layer.head_norm is not None:
                qk = layer.head_norm(qk)
            cos, sin = turns[layer.rope]
            swapped = qk.view(rows, -1, 2, layer.d // 2).flip(2).view(qk.shape)
            qk = torch.addcmul(qk * cos, swapped, sin)
            # 2. attention; queries that share a key head stand in for a sequence of queries, so
            # that nothing is repeated
            q = qk[:, : -layer.kv_heads].reshape(rows, layer.kv_heads, -1, layer.d)
            y = to_hidden(attend(index, q, qk[:, -layer.kv_heads :], v).reshape(rows, -1))
            x = x + (after(y) if after else y)
            # 3. the MLP
            gate, up = to_mlp(before_mlp(x)).chunk(2, -1)
            y = from_mlp(layer.activation(gate) * up)
            x = x + (after_mlp(y) if after_mlp else y)
        return x

    def turns(self, positions: Tensor) -> Turns:
        """How the tokens of one prompt are rotated.

        Args:
            positions: [1, tokens]

        Returns:
            Cos and sin, [tokens, 1, d] each, as `through` takes them.
        """
        rotations = self.rotations(self.embed.weight, positions)
        return {rope: (cos[0], sin[0]) for rope, (cos, sin) in rotations.items()}

    def rotations(self, like: Tensor, positions: Tensor) -> Turns:
        """How queries and keys at these positions are rotated, by kind of rotation.

        x rotated is x · cos + (x's halves swapped) · sin.

        Args:
            like: of the wanted precision and device.
            positions: [rows, tokens]

        Returns:
            Cos and sin, [rows, tokens, 1, d] each.
        """
        turns = {}
        for rope in {layer.rope for layer in self.layers}:
            cos, sin = self.rotary(like, positions, rope) if rope else self.rotary(like, positions)
            left, right = sin.chunk(2, -1)
            turns[rope] = cos[:, :, None], torch.cat([-left, right], -1)[:, :, None]
        return turns


def engine_of(mixture: Mixture) -> Engine | None:
    """What decodes fast, made once a mixture.

    Returns:
        None where the base is of a kind that the engine does not know.
    """
    with mixture.fusing:
        if not Engine.knows(mixture):
            return None
        if mixture.engine is None or not mixture.engine.fresh:
            mixture.engine = Engine(mixture)
        return mixture.engine
