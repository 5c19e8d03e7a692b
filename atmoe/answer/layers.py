"""What one layer of a base model is made of: its four products, and what it does beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from atmoe.mixture.experts import ExpertLinear
from atmoe.mixture.int4 import Int4Linear
from atmoe.mixture.int8 import Int8Linear

LINEARS = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)
"""The four products of a layer, in the order they run."""


@dataclass(frozen=True)
class Layer:
    """What a layer does beside its four products.

    Attributes:
        norms: before and after attention, before and after the MLP; None where a family has none.
        head_norm: of queries and keys, [rows, heads + kv heads, d], or None.
        d: the width of a head.
        scaling: what the scores of attention are multiplied by.
        softcap: of the scores, or None.
        window: how many tokens a sliding layer looks back on, or None.
        rope: the kind of rotation; "" where a base has but one.
    """

    norms: tuple[Norm, Norm | None, Norm, Norm | None]
    head_norm: Norm | None
    activation: nn.Module
    d: int
    kv_heads: int
    scaling: float
    softcap: float | None
    window: int | None
    rope: str


class Norm:
    """Root-mean-square norm, x w / √(|x|² / n + ε), in float32.

    As w √n times x over the hypotenuse of |x| and √(n ε), which is half as many small operations as
    PyTorch makes of it. Gemma multiplies by 1 + its weight.

    Attributes:
        scales: w √n, [n]; of several modules [modules, n].
    """

    def __init__(self, modules: Sequence[Any], gemma: bool):
        """Of one module; or of several, each of a row of what is normed."""
        rows = [module.weight.detach().float() + gemma for module in modules]
        eps: float = modules[0].eps if gemma else modules[0].variance_epsilon
        n = len(rows[0])
        self.scales = torch.stack(rows).squeeze(0) * math.sqrt(n)
        self._floor = rows[0].new_tensor(math.sqrt(n * eps))

    def __call__(self, x: Tensor) -> Tensor:
        """Of each row's last dimension; like x."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x * self.scales).div_(size.hypot_(self._floor)).to(x.dtype)


def linears_of(layer: nn.Module) -> Iterator[list[Any]]:
    """The linears of each of a layer's four products."""
    for part, names in LINEARS:
        module = getattr(layer, part)
        yield [getattr(module, name) for name in names]


def described(layer: Any, kind: str) -> Layer:
    """What a layer of a model of that type does beside its products."""
    attention, gemma = layer.self_attn, kind.startswith("gemma")
    norms: tuple[Norm, Norm | None, Norm, Norm | None]
    if gemma:
        norms = (
            Norm([layer.input_layernorm], gemma),
            Norm([layer.post_attention_layernorm], gemma),
            Norm([layer.pre_feedforward_layernorm], gemma),
            Norm([layer.post_feedforward_layernorm], gemma),
        )
    else:  # what stands after attention is, there, what stands before the MLP
        norms = (
            Norm([layer.input_layernorm], gemma),
            None,
            Norm([layer.post_attention_layernorm], gemma),
            None,
        )
    d = attention.head_dim
    heads, kv_heads = _width(attention.q_proj) // d, _width(attention.k_proj) // d
    head_norm = None
    if hasattr(attention, "q_norm"):
        modules = [attention.q_norm] * heads + [attention.k_norm] * kv_heads
        head_norm = Norm(modules, gemma)
    return Layer(
        norms=norms,
        head_norm=head_norm,
        activation=layer.mlp.act_fn,
        d=d,
        kv_heads=kv_heads,
        scaling=attention.scaling,
        softcap=attention.attn_logit_softcapping if kind == "gemma2" else None,
        window=getattr(attention, "sliding_window", None),
        rope=attention.layer_type if kind == "gemma3_text" else "",
    )


def _plain(module: nn.Module) -> Any:
    """A linear without the experts beside it, where it has some."""
    return module.linear if isinstance(module, ExpertLinear) else module


def _width(module: nn.Module) -> int:
    return _plain(module).out_features


def simple(module: nn.Module, dtype: torch.dtype) -> bool:
    """A plain linear, with experts or without, all in one precision, and not in training."""
    return type(_plain(module)) in (nn.Linear, Int8Linear, Int4Linear) and all(
        p.dtype in (dtype, torch.int8) and not p.requires_grad for p in module.parameters()
    )
