"""The decode step of our own: one more token a row through every layer, in plain tensor functions.

    prefill (where the router reads; see `atmoe.answer.prefill`)
       └─ its cache, copied once ─► keys, values [rows, kv heads, prompt + answer, d]
                                        ▲ each step writes one column and reads up to it
    token ─ embed ─┬─ norm ─ q/k/v ─ rotate ─ attend ─ o ─(norm)─ + ─ norm ─ gate/up ─ act · up ─ down ─(norm)─ + ─┐
                   └───────────────────────────────── every layer ───────────────────────────────────────────────┴─ norm ─ logits

Knows the layers of Llama, Qwen 2 and 3, and Gemma 2 and 3; any other base is decoded by transformers, which is also the
reference that this must equal: in float32 token for token (the shipped model: 20 prompts × 64 tokens, beside and folded,
logits to 1e-4). bfloat16 rounds elsewhere: over 6 prompts × 32 tokens its logits were 1.4% (beside) and 1.5% (folded) from
float32's where transformers' were 1.7%, and 98% of the greedy choices were the same as transformers' in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.answer.fused import Copy, Fused, Product, can_pack, give_back_memory, pack, packed_linear
from atmoe.mixture.experts import ExpertLinear, decoder_layers
from atmoe.mixture.int8 import Int8Linear
from atmoe.mixture.mixture import Mixture

KINDS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
LINEARS = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)
"""The four products of a layer, in the order they run."""
Turns = dict[str, tuple[Tensor, Tensor]]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""layer, q [rows, kv heads, queries, d], k and v [rows, kv heads, d] → what the queries saw, like q"""


@dataclass(frozen=True)
class _Layer:
    """What a layer does beside its four products.

    norms: before and after attention, before and after the MLP; None where a family has none.
    head_norm: of queries and keys, [heads + kv heads, d] in float32, or None.
    """

    norms: tuple[_Norm | None, _Norm | None, _Norm | None, _Norm | None]
    head_norm: Tensor | None
    eps: float
    activation: nn.Module
    d: int
    kv_heads: int
    scaling: float
    softcap: float | None
    window: int | None
    rope: str


class _Norm:
    """Root-mean-square norm. Gemma multiplies by 1 + its weight, in float32."""

    def __init__(self, module: nn.Module, gemma: bool):
        self._weight = 1 + module.weight.detach().float() if gemma else module.weight.detach()
        self._eps = module.eps if gemma else module.variance_epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.to(self._weight.dtype), x.shape[-1:], self._weight, self._eps).to(
            x.dtype
        )


class Engine:
    """The layers of one model, fused. Holds nothing of any request; see `Decoder`."""

    def __init__(self, model: Mixture):
        """Fuses the model's linears in place; see `atmoe.answer.fused`."""
        self.model, body = model, model.base.base_model
        layers = decoder_layers(model.base)[0]
        gemma = model.base.config.model_type.startswith("gemma")
        self.layers = [_describe(layer, model.base.config.model_type) for layer in layers]
        self.fused = [
            Fused([getattr(getattr(layer, part), name) for name in names])
            for layer in layers
            for part, names in LINEARS
        ]
        self.copy = Copy(self.fused, model.bank)
        self.norm = _Norm(body.norm, gemma)
        self.embed, self.rotary = model.base.get_input_embeddings(), body.rotary_emb
        head = model.base.get_output_embeddings()
        self.head = (
            pack(head.weight.detach()) if can_pack(head.weight) and head.bias is None else None
        )
        give_back_memory()

    @staticmethod
    def knows(model: Mixture) -> bool:
        """Whether this model's layers are of a kind that is computed here."""
        config, body = model.base.config, model.base.base_model
        if config.model_type not in KINDS or not all(
            hasattr(body, name) for name in ("norm", "rotary_emb")
        ):
            return False
        scaled = config.rope_parameters
        kinds = {r.get("rope_type") for r in (scaled, *scaled.values()) if isinstance(r, dict)}
        if kinds & {"dynamic", "longrope"} or getattr(config, "use_bidirectional_attention", False):
            return False  # angles that change with the length; attention that looks ahead
        dtype = model.bank.dtype
        return all(
            _simple(getattr(getattr(layer, part), name), dtype)
            for layer in decoder_layers(model.base)[0]
            for part, names in LINEARS
            for name in names
        )

    @property
    def fresh(self) -> bool:
        """Whether the model is still the one that was fused: not after it was moved, or given other experts."""
        return all(f.fresh for f in self.fused)

    def step(
        self, products: Sequence[Product], tokens: Sequence[int], turns: Turns, attend: Attend
    ) -> Tensor:
        """One more token of each row through every layer → the logits of the next. [rows, vocabulary]

        products: as leased for these rows.  turns: see `Past.turns`.
        """
        with torch.inference_mode():
            x = self.embed(torch.tensor(tokens, device=self.embed.weight.device))
            return self.logits(self.norm(self.through(x, products, turns, attend)))

    def through(
        self,
        x: Tensor,
        products: Sequence[Product],
        turns: Turns,
        attend: Attend,
        first: int = 0,
        enter: Callable[[int, Tensor], None] = lambda index, x: None,
    ) -> Tensor:
        """Rows through the layers from `first` on: one token each of many people's, or all tokens of one prompt. x: [rows, hidden]
        → the same, before the final norm.

        products: four a layer, of all layers.  turns: cos and sin of each row [rows, 1, d], by kind of rotation.
        enter: told of each layer, and of what enters it.
        """
        rows = len(x)
        for index, layer in enumerate(self.layers[first:], first):
            enter(index, x)
            to_heads, to_hidden, to_mlp, from_mlp = products[
                len(LINEARS) * index : len(LINEARS) * (index + 1)
            ]
            before, after, before_mlp, after_mlp = layer.norms
            heads = to_heads(before(x)).view(rows, -1, layer.d)
            qk, v = heads[:, : -layer.kv_heads], heads[:, -layer.kv_heads :]
            if layer.head_norm is not None:
                qk = (F.rms_norm(qk.float(), (layer.d,), None, layer.eps) * layer.head_norm).to(
                    x.dtype
                )
            cos, sin = turns[layer.rope]
            qk = torch.addcmul(qk * cos, qk.roll(layer.d // 2, -1), sin)
            # Queries that share a key head stand in for a sequence of queries: nothing is repeated.
            q = qk[:, : -layer.kv_heads].reshape(rows, layer.kv_heads, -1, layer.d)
            y = to_hidden(attend(index, q, qk[:, -layer.kv_heads :], v).reshape(rows, -1))
            x = x + (after(y) if after else y)
            gate, up = to_mlp(before_mlp(x)).chunk(2, -1)
            y = from_mlp(layer.activation(gate) * up)
            x = x + (after_mlp(y) if after_mlp else y)
        return x

    def rotations(self, like: Tensor, positions: Tensor) -> Turns:
        """For each kind of rotation cos and sin [rows, tokens, 1, d] such that x rotated is x · cos + (x's halves swapped) · sin.

        like: of the wanted precision and device.  positions: [rows, tokens]
        """
        found = {}
        for rope in {layer.rope for layer in self.layers}:
            cos, sin = self.rotary(like, positions, rope) if rope else self.rotary(like, positions)
            left, right = sin.chunk(2, -1)
            found[rope] = cos[:, :, None], torch.cat([-left, right], -1)[:, :, None]
        return found

    def logits(self, states: Tensor) -> Tensor:
        """states: [rows, hidden] → [rows, vocabulary]"""
        return (
            self.model.logits(states)
            if self.head is None
            else self.model.capped(packed_linear(states, self.head))
        )


def engine_of(mixture: Mixture) -> Engine | None:
    """What decodes fast, made once a model; None where the base is of a kind that the engine does not know."""
    with mixture.fusing:
        if not Engine.knows(mixture):
            return None
        if mixture.engine is None or not mixture.engine.fresh:
            mixture.engine = Engine(mixture)
        return mixture.engine


def _describe(layer: nn.Module, kind: str) -> _Layer:
    attention, gemma = layer.self_attn, kind.startswith("gemma")
    norm = lambda name: _Norm(getattr(layer, name), gemma)
    norms = (
        (
            norm("input_layernorm"),
            norm("post_attention_layernorm"),
            norm("pre_feedforward_layernorm"),
            norm("post_feedforward_layernorm"),
        )
        if gemma
        else (norm("input_layernorm"), None, norm("post_attention_layernorm"), None)
    )
    width = lambda m: (
        (m.linear if isinstance(m, ExpertLinear) else m).out_features // attention.head_dim
    )
    heads, kv_heads = width(attention.q_proj), width(attention.k_proj)
    head_norm, eps = None, 0.0
    if hasattr(attention, "q_norm"):
        weights = [m.weight.detach().float() + gemma for m in (attention.q_norm, attention.k_norm)]
        head_norm = torch.stack([weights[0]] * heads + [weights[1]] * kv_heads)
        eps = attention.q_norm.eps if gemma else attention.q_norm.variance_epsilon
    return _Layer(
        norms,
        head_norm,
        eps,
        layer.mlp.act_fn,
        attention.head_dim,
        kv_heads,
        attention.scaling,
        attention.attn_logit_softcapping if kind == "gemma2" else None,
        getattr(attention, "sliding_window", None),
        attention.layer_type if kind == "gemma3_text" else "",
    )


def _simple(module: nn.Module, dtype: torch.dtype) -> bool:
    """A plain linear, with experts or without, all in one precision, and not in training."""
    linear = module.linear if isinstance(module, ExpertLinear) else module
    return type(linear) in (nn.Linear, Int8Linear) and all(
        p.dtype in (dtype, torch.int8) and not p.requires_grad for p in module.parameters()
    )
