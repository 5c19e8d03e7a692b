"""Linears that a base's file holds in 4 bits, read as such while tokens are decoded.

A 4-bit GGUF file has groups of 32 weights, each a scale and one of 16 whole numbers a weight:
w = s · q + m. Read into bfloat16 that is four times the bytes, into float32 eight times, and a
token of one row takes as long as its weights take to read. Where the groups are still to be seen in
the weights, q is found again, without loss, and s and m to bfloat16's rounding:

    reading a prompt, scoring   bfloat16 or float32, as without this
    one more token of each row  y = W₄ x + B (m · A x), W₄ in PyTorch's kernel for 4-bit groups

The kernel takes x in bfloat16 and adds up in float32, with instructions that any x86 processor of
the last ten years has; it wants no products in bfloat16.

No plan is folded into such weights, for it would not fit in the groups; experts stay beside them.

A matrix of more bits can be rounded to such groups (`rounded`), for what is not the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from atmoe.mixture.experts import replace_linears

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP, MOST = 32, 15
"""Weights in a group, and the largest whole number of 4 bits."""
ROWS, NARROWED = 256, (1.0, 0.92, 0.85, 0.78, 0.7)
"""How many rows are rounded at once, few enough for a processor's cache; and which parts of a
group's span its 16 numbers may cover."""
APART = 2**-7
"""How far, at most, weights may be from the groups found in them, in parts of their own size (root
mean square): bfloat16's rounding is below a half of that, and weights of more bits are at 0.09."""


Found = tuple[Tensor, Tensor, Tensor]
"""q, [out, in], and s and m, [out, in / 32], of a matrix: w = s · q + m."""


class Int4Linear(nn.Linear):
    """A frozen linear whose weights are in 4-bit groups, though they are kept as floating numbers.

    Attributes:
        weight: [out, in], as it was.
        bias: [out], or None; as it was.
    """

    def __init__(self, linear: nn.Linear, found: Found):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        q, s, m = found
        self._found: Found | None = (q.to(torch.uint8), s, m)

    def take(self) -> Found:
        """Its groups: as they were found, for the first who asks; then found again."""
        found, self._found = self._found, None
        found = found or groups_of(self.weight)
        assert found is not None  # or it would be no such linear
        return found


class Groups(NamedTuple):
    """A matrix in 4-bit groups, in the order of PyTorch's kernel.

    Attributes:
        packed: two whole numbers a byte, [out, in / 2].
        scales: s, and what stands for q = 8, [in / 32, out, 2].
    """

    packed: Tensor
    scales: Tensor


def groups_of(weight: Tensor) -> Found | None:
    """The 4-bit groups that a matrix is made of.

    Args:
        weight: [out, in].

    Returns:
        None where it is made of none.
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
    s, m = _line(q, w, torch.ones_like(w[:1]))
    apart = (s * q + m - w).square().sum().sqrt()
    if not apart <= APART * w.square().sum().sqrt():
        return None
    return q.view(out, width), s.squeeze(-1), m.squeeze(-1)


def _line(q: Tensor, w: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The line through a group's weights, s · q + m, by least squares.

    Args:
        q: whole numbers, [out, groups, 32].
        w: weights, like q.
        counts: how much each column counts, [1, groups, 32].

    Returns:
        s and m, [out, groups, 1] each.
    """
    whole = counts.sum(-1, keepdim=True)
    mean_q = (counts * q).sum(-1, keepdim=True) / whole
    mean_w = (counts * w).sum(-1, keepdim=True) / whole
    off = counts * (q - mean_q)
    # numbers that are all the same have no slope, but for rounding
    spread = (off * (q - mean_q)).sum(-1, keepdim=True).clamp_min_(1e-9 * whole)
    s = (off * (w - mean_w)).sum(-1, keepdim=True) / spread
    return s, mean_w - s * mean_q


def rounded(weight: Tensor, scales: Tensor) -> Groups:
    """The nearest 4-bit groups of a matrix that is made of none, for `product`.

    A group's 16 numbers span all of its weights or less, whichever leaves the least squared error;
    columns count by the square of what stands before them. After AWQ (arXiv 2306.00978), which
    measures that on a text; here the weights of the norm before the matrix are taken for it.

    Args:
        weight: [out, in], out a multiple of 16, in of 32.
        scales: how large each column's input is, [in].
    """
    counts = scales.detach().float().square().view(1, -1, GROUP).clamp_min(1e-12)
    parts = [_nearest(rows, counts) for rows in weight.detach().split(ROWS)]
    return Groups(*(torch.cat(part, dim) for part, dim in zip(zip(*parts), (0, 1))))


def _nearest(weight: Tensor, counts: Tensor) -> Groups:
    """`rounded`, of some rows."""
    w = weight.float().view(len(weight), -1, GROUP)
    least, most = w.aminmax(dim=-1, keepdim=True)
    best: tuple[Tensor, ...] = ()
    for part in NARROWED:
        s = ((most - least) * (part / MOST)).clamp_min(torch.finfo(torch.float32).tiny)
        m = least * part
        for _ in range(2):  # numbers of the line, the line of those numbers, and once more
            q = ((w - m) / s).round_().clamp_(0, MOST)
            s, m = _line(q, w, counts)
        error = (counts * (s * q + m - w).square()).sum(-1, keepdim=True)
        tried: tuple[Tensor, ...] = (error, q, s, m)
        if best:
            better = error < best[0]
            tried = tuple(torch.where(better, new, old) for new, old in zip(tried, best))
        best = tried
    _, q, s, m = best
    return _in_order(q.view(weight.shape), s.squeeze(-1), m.squeeze(-1))


def packed(weight: Tensor) -> Groups:
    """A matrix that is made of 4-bit groups, for `product`.

    Args:
        weight: [out, in]
    """
    found = groups_of(weight)
    assert found is not None
    return _in_order(*found)


def joint(linears: Sequence[Int4Linear]) -> Groups:
    """Several linears that read the same input, one below the other, for `product`."""
    q, s, m = map(torch.cat, zip(*(linear.take() for linear in linears)))
    return _in_order(q, s, m)


def _in_order(q: Tensor, s: Tensor, m: Tensor) -> Groups:
    scales = torch.stack([s, m + 8 * s], -1).transpose(0, 1).contiguous().bfloat16()
    return Groups(torch.ops.aten._convert_weight_to_int4pack_for_cpu(q.int(), 1), scales)


def product(x: Tensor, groups: Groups) -> Tensor:
    """[rows, in] → [rows, out], in bfloat16."""
    return torch.ops.aten._weight_int4pack_mm_for_cpu(
        x.bfloat16(), groups.packed, GROUP, groups.scales
    )


def tried_out(weight: Tensor, trial: Callable[[], bool]) -> bool:
    """Whether operators for the CPU serve a matrix; they are PyTorch's own and may go.

    Args:
        weight: the matrix.
        trial: whether they give what they ought to.
    """
    if weight.device.type != "cpu":
        return False
    try:
        return trial()
    except (AttributeError, RuntimeError):  # NotImplementedError is one
        return False


def can_pack(weight: Tensor) -> bool:
    """Whether this machine has the kernel for a matrix of that kind, on the CPU."""

    def comes_out() -> bool:
        # one group of each of 16 rows: q is 0 … 15 twice over, and comes out again
        q = (torch.arange(GROUP) % 16).expand(16, -1).bfloat16()
        one = torch.eye(GROUP, dtype=torch.bfloat16)
        return torch.equal(product(one, packed(q)).T, q)

    return tried_out(weight, comes_out)


def to_int4(model: PreTrainedModel) -> None:
    """Have the linears of a model's decoder layers that are in 4-bit groups known as such.

    None is on a machine without the kernel. The head and the embeddings stay as they are
    (how a step reads the head: `atmoe.answer.head`).
    """
    if can_pack(next(iter(model.parameters()))):
        replace_linears(model, _known)


def _known(linear: nn.Linear) -> nn.Linear:
    """A linear known to be in groups; itself, where it is not or the kernel does not take it."""
    found = groups_of(linear.weight) if linear.out_features % 16 == 0 else None
    return linear if found is None else Int4Linear(linear, found)
