"""Linears whose weights are whole numbers from -127 to 127, one scale an output: y = s · (Q x).

Activations stay as they are. A single row is read about 1.5 times as fast as bfloat16 in oneDNN's
order, for it is half the bytes; from about eight rows on bfloat16 is the quicker. The experts keep
the model's floating precision: routing, prefill and scoring read s · Q + their LoRA beside it. A
plan that is folded in for decoding is rounded anew, from the same s · Q. That loses nothing of the
plan: on the shipped model what it adds to a weight is 1 to 3 steps of rounding wide, and answers
were as likely as under the plan beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.mixture.experts import replace_linears

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEW = 16
"""Up to so many rows PyTorch's int8 kernel is quicker than making floating numbers of the weights
first (by 4 times at one)."""


class Int8Linear(nn.Linear):
    """A frozen linear in int8.

    Attributes:
        weight: [out, in], int8.
        scale: [out], in the precision of the linear that it is made of.
        bias: [out], or None; as it was.
    """

    def __init__(self, linear: nn.Linear):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = quantised(linear.weight.detach())
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        bias = None
        if linear.bias is not None:
            bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
        self.register_parameter("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """What the linear makes of x: [..., in] to [..., out]."""
        return product(x, self.weight, self.scale, self.bias)


def quantised(weight: Tensor, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The whole numbers Q and the scales s with s · Q nearest to a weight.

    Each row's largest number is at ±127.

    Args:
        weight: [out, in].
        room: float32, flat, written over, for as many numbers at least. Without it one is
            allocated, which takes longer than to round.

    Returns:
        Q, [out, in], int8; and s, [out], in the weight's precision.
    """
    # 1. one scale a row, never 0
    tiny = torch.finfo(weight.dtype).tiny
    scale = (_largest(weight).float() / 127).to(weight.dtype).clamp_min(tiny)
    # 2. the weight in steps of it
    if room is None:
        steps = torch.empty_like(weight, dtype=torch.float32)
    else:
        steps = room[: weight.numel()].view(weight.shape)
    # In float32: of bfloat16's 8 bits none is left for a fraction near 127, and 127.5 would become
    # -128. Copied first, for a product of two precisions takes twice as long as the copy and the
    # product.
    steps.copy_(weight).mul_(scale.float().reciprocal()[:, None])
    return steps.round_().to(torch.int8), scale


def _largest(weight: Tensor) -> Tensor:
    """The largest magnitude in each row: [out, in] to [out].

    Read off the bits without their sign, which are whole numbers in the same order: seven times as
    quick in bfloat16.
    """
    whole = torch.int16 if weight.element_size() == 2 else torch.int32
    return (weight.view(whole) & torch.iinfo(whole).max).amax(1).view(weight.dtype)


def product(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear with an int8 weight: s · (Q x) + bias.

    Args:
        x: [..., in].
        weight: Q, [out, in], int8.
        scale: s, [out].
        bias: [out], or None.

    Returns:
        [..., out]
    """
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    # The kernel is slow in float32, and reads beyond rows that are no multiple of 16 long.
    if len(flat) <= FEW and x.dtype is torch.bfloat16 and x.is_cpu and weight.shape[1] % 16 == 0:
        y = torch._weight_int8pack_mm(flat.contiguous(), weight, scale)
        y = y if flat is x else y.view(*x.shape[:-1], -1)
    else:
        y = F.linear(x, weight.to(x.dtype)) * scale
    return y if bias is None else y + bias


def to_int8(model: PreTrainedModel) -> None:
    """Put the linears of a model's decoder layers, and its head, into int8, in place.

    Embeddings stay as they are.
    """
    replace_linears(model, Int8Linear)
    head = model.get_output_embeddings()
    if type(head) is nn.Linear:
        model.set_output_embeddings(Int8Linear(head))
