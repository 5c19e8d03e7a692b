"""Linears that a base's file holds in 4 bits, read as such while tokens are decoded.

A 4-bit GGUF file has groups of 32 weights, each a scale and one of 16 whole numbers a weight:
w = s · q + m. Read into bfloat16 that is four times the bytes, and a token of one row takes as long
as its weights take to read. Where the groups are still to be seen in the weights, q is found again,
without loss, and s and m to bfloat16's rounding, which is what the weights themselves have there:

    reading a prompt, scoring   bfloat16, as without this
    one more token of each row  y = W₄ x + B (m · A x), W₄ in PyTorch's kernel for 4-bit groups

No plan is folded into such weights, for it would not fit in the groups; experts stay beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from atmoe.mixture.experts import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP, MOST = 32, 15
"""Weights in a group, and the largest whole number of 4 bits."""
APART = 2**-7
"""How far, at most, weights may be from the groups found in them, in parts of their own size (root
mean square): bfloat16's rounding is below a half of that, and weights of more bits are at 0.09."""


class Int4Linear(nn.Linear):
    """A frozen linear whose weights are in 4-bit groups, though they are kept as floating numbers.

    Attributes:
        weight: [out, in], as it was.
        bias: [out], or None; as it was.
    """

    def __init__(self, linear: nn.Linear):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias


class Groups(NamedTuple):
    """A matrix in 4-bit groups, in the order of PyTorch's kernel.

    Attributes:
        packed: two whole numbers a byte, [out, in / 2].
        scales: s, and what stands for q = 8, [in / 32, out, 2].
    """

    packed: Tensor
    scales: Tensor


def groups_of(weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """The 4-bit groups that a matrix is made of.

    Args:
        weight: [out, in].

    Returns:
        q, [out, in], and s and m, [out, in / 32], with w = s · q + m; None where it is made of
        none.
    """
    out, width = weight.shape
    if width % GROUP:
        return None
    # 1. the smallest and the largest of a group are 0 and 15
    w = weight.detach().float().view(out, -1, GROUP)
    least, most = w.aminmax(dim=-1, keepdim=True)
    step = ((most - least) / MOST).clamp_min(torch.finfo(torch.float32).tiny)
    q = ((w - least) / step).round_()
    # 2. the line through all of them, for those two may be rounded
    mean_q, mean_w = q.mean(-1, keepdim=True), w.mean(-1, keepdim=True)
    spread = (q - mean_q).square().sum(-1, keepdim=True).clamp_min(1)
    s = ((q - mean_q) * (w - mean_w)).sum(-1, keepdim=True) / spread
    m = mean_w - s * mean_q
    apart = (s * q + m - w).square().sum().sqrt()
    if not apart <= APART * w.square().sum().sqrt():
        return None
    return q.view(out, width), s.squeeze(-1), m.squeeze(-1)


def packed(weight: Tensor) -> Groups:
    """A matrix that is made of 4-bit groups, for `product`.

    Args:
        weight: [out, in], bfloat16.
    """
    found = groups_of(weight)
    assert found is not None  # or it would be no `Int4Linear`
    q, s, m = found
    scales = torch.stack([s, m + 8 * s], -1).transpose(0, 1).contiguous().to(weight.dtype)
    return Groups(torch.ops.aten._convert_weight_to_int4pack_for_cpu(q.int(), 1), scales)


def product(x: Tensor, groups: Groups) -> Tensor:
    """[rows, in] → [rows, out]."""
    return torch.ops.aten._weight_int4pack_mm_for_cpu(x, groups.packed, GROUP, groups.scales)


def can_pack(weight: Tensor) -> bool:
    """Whether this machine has the kernel for a matrix of that kind: bfloat16, on the CPU.

    It is tried out, for these operators are PyTorch's own and may go.
    """
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16:
        return False
    try:
        # one group of each of 16 rows: q is 0 … 15 twice over, and comes out again
        q = (torch.arange(GROUP) % 16).expand(16, -1).to(torch.bfloat16)
        one = torch.eye(GROUP, dtype=torch.bfloat16)
        return torch.equal(product(one, packed(q)).T, q)
    except (AttributeError, RuntimeError):  # NotImplementedError is one
        return False


def to_int4(model: PreTrainedModel) -> None:
    """Have the linears of a model's decoder layers that are in 4-bit groups known as such.

    None is on a machine without the kernel. The head and the embeddings stay as they are.
    """
    layers = decoder_layers(model)[0]
    if not can_pack(next(iter(model.parameters()))):
        return
    for layer in layers:
        for parent in list(layer.modules()):
            for name, module in list(parent.named_children()):
                if isinstance(module, nn.Linear) and _is_made_of_groups(module):
                    setattr(parent, name, Int4Linear(module))


def _is_made_of_groups(linear: nn.Linear) -> bool:
    """Whether it is a plain one of which the kernel takes the shape, in 4-bit groups."""
    fits = type(linear) is nn.Linear and linear.out_features % 16 == 0
    return fits and groups_of(linear.weight) is not None
