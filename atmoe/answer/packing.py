"""Matrices in oneDNN's own order, where it has one that is quicker to read."""

from __future__ import annotations

import torch
from torch import Tensor

from atmoe.mixture.int4 import tried_out


def pack(weight: Tensor) -> Tensor:
    """A matrix in oneDNN's order, for `packed_linear` alone."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, 1)


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` with a packed matrix."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def can_pack(weight: Tensor) -> bool:
    """Whether it is bfloat16 on a CPU whose oneDNN multiplies that."""

    def comes_out() -> bool:
        one = torch.eye(16, dtype=torch.bfloat16)
        return torch.equal(packed_linear(one, pack(one)), one)

    return weight.dtype is torch.bfloat16 and tried_out(weight, comes_out)
