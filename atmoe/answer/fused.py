"""Linears that read the same input, as one product; and plans folded into a copy of them.

    q ┐
    k ├─ W = [q; k; v]   A = [A_q; A_k; A_v]
    v ┘

    every plan alike     W' = W + Σ_e B_e · m_e (α_e / r_e) · A_e,   y = W' x
    one plan a row       y = W x + B (m · A x)

The fused matrix is where the linears themselves live from then on: each keeps a view of its rows,
so fusing costs no memory. Folding does, a copy of the decoder's linears, so there is one at a time
for all. Who decodes leases it, with others of the same plan; a plan that finds it taken by another
is computed beside the weights, which gives the same to rounding. It is written from the clean
weights for each plan, never added to and subtracted from, and gone with its last lease.

In bfloat16 on a CPU the copy is in oneDNN's own order, which is read about twice as fast at a few
rows (float32 gains nothing from it). Rows of different plans are worth a copy there too, of the
clean weights with all B behind them:

    y = [W B] [x; m · A x]

Weights in 4-bit groups (`atmoe.mixture.int4`) are read so in steps of one token a row, and nothing
is folded into them:

    y = W₄ x + B (m · A x)

with A and B of those experts alone that have a share in one of the rows: W₄ is so quickly read that
the others would take as long again.

Weights in int8 (`atmoe.mixture.int8`) stay so, a plan folded in too; behind rows of different plans
stands a bfloat16 copy of them, for int8 is quick at few rows only.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.mixture import int4
from atmoe.mixture.experts import ExpertBank, ExpertLinear
from atmoe.mixture.int4 import Groups, Int4Linear
from atmoe.mixture.int8 import Int8Linear, quantised
from atmoe.mixture.int8 import product as int8_product

SIDE = 8


class Fused:
    """Linears of one layer that read the same input.

    Attributes:
        W: [out of all, in]
        S: the scales of W where it is int8, [out of all]; None otherwise.
        groups: W in 4-bit groups besides, where it is made of such; None otherwise.
        A: [ranks of all, in]; None without experts.
        bias: [out of all], or None.
        layer: which one it is; None without experts.
        parts: of each linear with experts: its rows of W, its ranks of A, and its B.
    """

    def __init__(self, linears: Sequence[nn.Linear | ExpertLinear]):
        experts = [m if isinstance(m, ExpertLinear) else None for m in linears]
        # 1. the weights, with or without experts beside them
        self._plain: list[Any] = [e.linear if e else m for e, m in zip(experts, linears)]
        self.W = _share_storage(self._plain, "weight")
        self.S: Tensor | None = None
        if isinstance(self._plain[0], Int8Linear):
            self.S = _share_storage(self._plain, "scale")
        self.bias = _joint_bias(self._plain)
        self.groups: Groups | None = None
        if all(isinstance(linear, Int4Linear) for linear in self._plain):
            self.groups = int4.packed(self.W)
        # 2. the experts
        self._adapted = [e for e in experts if e]
        self.A: Tensor | None = None
        self.layer: int | None = None
        self._expert_of_rank = torch.empty(0, dtype=torch.long)
        self._factor_of_rank: Tensor | None = None
        if self._adapted:
            self.A = _share_storage(self._adapted, "A")
            self.layer = self._adapted[0].layer
            self._expert_of_rank = torch.cat([e.expert_of_rank for e in self._adapted])
            self._factor_of_rank = _joint_factor(self._adapted)
        outs = _spans([linear.out_features for linear in self._plain])
        ranks = iter(_spans([len(e.A) for e in self._adapted]))
        self.parts = [(out, next(ranks), e.B.detach()) for out, e in zip(outs, experts) if e]

    @property
    def fresh(self) -> bool:
        """Whether the linears still live here: not if they were moved, or given others."""
        return (
            _share_still([linear.weight for linear in self._plain], self.W)
            and all(
                e.B.data_ptr() == B.data_ptr() for e, (_, _, B) in zip(self._adapted, self.parts)
            )
            and (self.A is None or _share_still([e.A for e in self._adapted], self.A))
        )

    def scale(self, weights: Tensor) -> Tensor | None:
        """What the experts' part is multiplied by, rank by rank.

        Args:
            weights: [rows, layers, experts], (α / r) included.

        Returns:
            [rows, ranks of all]; None without experts.
        """
        return None if self.layer is None else self.scale_of(weights[:, self.layer])

    def scale_of(self, weights: Tensor) -> Tensor | None:
        """As `scale`, of this layer's own weights, [rows, experts]."""
        if self.A is None:
            return None
        scale = weights.index_select(1, self._expert_of_rank)
        if self._factor_of_rank is not None:
            scale = scale * self._factor_of_rank
        return scale.to(self.A.dtype)

    def behind(self, ranks: Tensor | None = None) -> Tensor:
        """All B as one matrix, zero where a linear has no part in a rank; only with experts.

        Args:
            ranks: of these alone.

        Returns:
            [out of all, ranks]
        """
        assert self.A is not None
        behind = self.A.new_zeros(len(self.W), len(self.A))
        for out, rank, B in self.parts:
            behind[out, rank] = B
        return behind if ranks is None else behind[:, ranks]

    def picked(self, experts: Tensor) -> Picked | None:
        """Some of the experts.

        Args:
            experts: which, [experts], bool.

        Returns:
            None where none of them is beside this linear.
        """
        ranks = experts[self._expert_of_rank].nonzero()[:, 0]
        if self.A is None or not len(ranks):
            return None
        block = math.gcd(*self._expert_of_rank.bincount().tolist())
        A, B = self.A[ranks].float(), self.behind(ranks).float()
        return Picked(ranks, A.view(-1, block, A.shape[1]), B.T.contiguous())

    def clean(self) -> Tensor:
        """W as floating numbers."""
        return self.W if self.S is None else self.W.to(self.S.dtype).mul_(self.S[:, None])

    def folded(self, weights: Tensor) -> Tensor:
        """W + Σ_e B_e · m_e (α_e / r_e) · A_e for one plan.

        Args:
            weights: [1, layers, experts], (α / r) included.
        """
        merged = self.clean() if self.S is not None else self.W.clone()
        scale = self.scale(weights)
        if scale is None or self.A is None:
            return merged
        for out, rank, B in self.parts:
            merged[out].addmm_(B * scale[:, rank], self.A[rank])
        return merged


class Product:
    """A fused linear at work, with experts or without.

    Args:
        fused: the linear.
        weights: [rows, layers, experts] of plans that are not folded in, (α / r) included; None
            leaves the experts out, unless they are in the copy.
        copied: what to compute with instead of the clean weights.
        steps: for one token a row: in 4-bit groups, where the linear has them.
        picked: then, the experts beside them.
    """

    __slots__ = ("_picked", "_scale", "_steps", "copied", "fused")

    def __init__(
        self,
        fused: Fused,
        weights: Tensor | None,
        copied: _Copied | None,
        steps: bool = False,
        picked: Picked | None = None,
    ):
        self.fused = fused
        self.copied = copied
        self._steps = steps
        self._scale = None if weights is None else fused.scale(weights)
        self._picked: Callable[[Tensor], Tensor] | None = None
        if picked is not None and self._scale is not None:
            self._picked = partial(picked, scale=self._scale[:, picked.ranks])

    def weigh(self, weights: Tensor) -> None:
        """Compute under other weights from now on.

        Args:
            weights: of its layer, [rows or 1, experts], (α / r) included.
        """
        self._scale = self.fused.scale_of(weights)

    def __call__(self, x: Tensor) -> Tensor:
        """What the linears give for x, [rows, in] → [rows, out of all]."""
        fused, copied, scale = self.fused, self.copied, self._scale
        if self._steps and fused.groups:
            y = int4.product(x, fused.groups)
            if fused.bias is not None:
                y += fused.bias
            if self._picked is not None:
                y += self._picked(x)
            return y
        if copied and copied.packed:
            if scale is not None:
                x = torch.cat([x, self.low(x) * scale], 1)
            return packed_linear(x, copied.W, fused.bias)
        W, S = (copied.W, copied.S) if copied else (fused.W, fused.S)
        y = F.linear(x, W, fused.bias) if S is None else int8_product(x, W, S, fused.bias)
        if scale is not None:
            low = self.low(x) * scale
            for out, rank, B in fused.parts:
                y[:, out] += F.linear(low[:, rank], B)
        return y

    def low(self, x: Tensor) -> Tensor:
        """What the experts' A give for x, [rows, in] → [rows, ranks of all]; only with experts."""
        if self.copied and self.copied.packed:
            return packed_linear(x, self.copied.A)  # type: ignore[arg-type]  # it has experts
        return F.linear(x, self.fused.A)  # type: ignore[arg-type]  # it has experts


@dataclass(frozen=True)
class _Copied:
    """What stands for one fused linear in the copy.

    Attributes:
        W: with a plan folded in; or [W B], for plans beside it (packed only).
        S: the scales of W where it is int8.
        packed: whether both are in oneDNN's order.
        A: for plans beside.
    """

    W: Tensor
    S: Tensor | None = None
    packed: bool = False
    A: Tensor | None = None


@dataclass(frozen=True)
class Picked:
    """Some of the experts beside one fused linear, in float32.

    So few numbers are multiplied sooner in float32 than they are handed to oneDNN (3 of 25
    microseconds). What a row comes to must not depend on who else is there, or whose experts are:
    `SIDE` rows at least, and A in blocks of one shape.

    Attributes:
        ranks: theirs, of the ranks of all.
        A: [blocks, ranks of a block, in]
        B: [ranks, out of all]
    """

    ranks: Tensor
    A: Tensor
    B: Tensor

    def __call__(self, x: Tensor, scale: Tensor) -> Tensor:
        """B (scale · A x): [rows, in], and [rows, ranks], → [rows, out of all]."""
        rows = len(x)
        side = self.B.new_zeros(x.shape[1], rows + -rows % SIDE)
        side[:, :rows] = x.T
        low = torch.bmm(self.A, side.expand(len(self.A), -1, -1)).flatten(0, 1).T
        low[:rows] *= scale
        return (low @ self.B)[:rows]


class Copy:
    """The one copy of all fused weights at a time, leased to those who decode under its plan.

    Attributes:
        picks: whether experts without a share are left out beside 4-bit groups; false where it was
            seen that this changes a bit of the others.
    """

    def __init__(self, fused: Sequence[Fused], bank: ExpertBank):
        self._fused = fused
        self._bank = bank
        self._packs = can_pack(fused[0].W if fused[0].S is None else fused[0].S)
        self._groups = any(each.groups for each in fused)
        self.picks = True
        self._picked: tuple[Tensor, list[Picked | None]] | None = None  # the last, and for whom
        self._lock = threading.Lock()
        self._leases = 0
        # What is folded in, [1, layers, experts]; None = nothing, the copy is for plans beside it.
        self._plan: Tensor | None = None
        self._copied: list[_Copied | None] = []

    def lease(self, weights: Tensor, fold: bool = True, steps: bool = False) -> Lease:
        """The products for the plans of some rows. Close the lease when done.

        Args:
            weights: [rows, layers, experts], gain included.
            fold: False computes every row beside the weights, though all have one plan, so that who
                else is there decides nothing.
            steps: for one token a row at a time.
        """
        fold = fold and not (steps and self._groups)
        weights = weights * self._bank.scaling
        alike = fold and bool((weights == weights[:1]).all())
        clean = fold and not weights.any()
        # 1. 4-bit groups need no copy; without packing it serves no rows of several plans, and none
        # without experts
        if steps and all(fused.groups for fused in self._fused):
            return self._uncopied(weights, steps)
        if not self._packs and (clean or not alike):
            return self._uncopied(None if clean else weights)
        with self._lock:
            # 2. nobody's: it is written anew; another plan's: this one is computed beside it
            if not self._leases:
                self._write(weights[:1] if alike else None)
            elif self._plan is not None and not (alike and torch.equal(self._plan, weights[:1])):
                return self._uncopied(weights, steps)
            # 3. this plan's by now, or nobody's plan is in it
            self._leases += 1
            folded = self._plan is not None
            return self._lease(
                None if folded else weights, self._copied, folded, self._give_back, steps
            )

    def _write(self, plan: Tensor | None) -> None:
        """Fill the copy, with a plan [1, layers, experts] folded in or for plans beside it."""
        self._plan = plan
        with torch.inference_mode():
            first, room = self._fused[0], None
            if first.S is not None:
                room = torch.empty(max(f.W.numel() for f in self._fused), device=first.W.device)
            self._copied = [
                _beside(fused) if plan is None else self._with(plan, fused, room)
                for fused in self._fused
            ]

    def _with(self, plan: Tensor, fused: Fused, room: Tensor | None) -> _Copied | None:
        """A linear with a plan folded in; None where the clean weights in int8 are that already."""
        if fused.S is not None:
            return _Copied(*quantised(fused.folded(plan), room)) if plan.any() else None
        weight = fused.folded(plan) if plan.any() else fused.W
        return _Copied(pack(weight), packed=True) if self._packs else _Copied(weight)

    def _uncopied(self, weights: Tensor | None, steps: bool = False) -> Lease:
        """Products over the clean weights; None leaves the experts out, as if folded in."""
        uncopied = [None] * len(self._fused)
        return self._lease(weights, uncopied, folded=weights is None, steps=steps)

    def _lease(
        self,
        weights: Tensor | None,
        copied: Sequence[_Copied | None],
        folded: bool,
        give_back: Callable[[], None] = lambda: None,
        steps: bool = False,
    ) -> Lease:
        picked: list[Picked | None] = [None] * len(self._fused)
        if steps and self._groups and weights is not None:
            picked = self._pick(weights)
        products = [
            Product(f, weights, c, steps, p) for f, c, p in zip(self._fused, copied, picked)
        ]
        return Lease(products, folded, give_back)

    def _pick(self, weights: Tensor) -> list[Picked | None]:
        """The experts that have a share in one of these rows, beside each linear."""
        experts = (weights != 0).any(0).any(0)
        if not self.picks:
            experts = torch.ones_like(experts)
        if self._picked is None or not torch.equal(self._picked[0], experts):
            with torch.inference_mode():
                self._picked = experts, [fused.picked(experts) for fused in self._fused]
        return self._picked[1]

    def _give_back(self) -> None:
        with self._lock:
            self._leases -= 1
            if not self._leases:
                self._plan, self._copied, self._picked = None, [], None


class Lease:
    """The right to compute with the copy of the weights, or with the weights themselves.

    Attributes:
        products: one for each fused linear; none once it is closed.
        folded: whether the plan is in the weights.
    """

    def __init__(self, products: list[Product], folded: bool, give_back: Callable[[], None]):
        self.products = products
        self.folded = folded
        self._give_back = give_back

    def again(self) -> list[Product]:
        """Products over the same copy, to be weighed anew; the lease must outlive them."""
        return [Product(product.fused, None, product.copied) for product in self.products]

    def close(self) -> None:
        """Give the copy back; a second time does nothing."""
        if self.products:
            self.products = []
            self._give_back()


def pack(weight: Tensor) -> Tensor:
    """A matrix in oneDNN's order, for `packed_linear` alone."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, 1)


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` with a packed matrix."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def can_pack(weight: Tensor) -> bool:
    """Whether it is bfloat16 on a CPU whose oneDNN multiplies that.

    It is tried out, for these operators are PyTorch's own and may go.
    """
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16:
        return False
    try:
        one = torch.eye(16, dtype=torch.bfloat16)
        return torch.equal(packed_linear(one, pack(one)), one)
    except (AttributeError, RuntimeError):  # NotImplementedError is one
        return False


def give_back_memory() -> None:
    """Let the system have what was freed, where the C library can be asked to (glibc).

    Fusing leaves holes of the weights' size, which it would keep for the thread that made them.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _beside(fused: Fused) -> _Copied:
    """[W B] and A in oneDNN's order, for rows of different plans."""
    if fused.A is None:
        return _Copied(pack(fused.clean()), packed=True)
    return _Copied(
        pack(torch.cat([fused.clean(), fused.behind()], 1)), packed=True, A=pack(fused.A)
    )


def _joint_factor(linears: Sequence[ExpertLinear]) -> Tensor | None:
    """What each rank is multiplied by beside its expert's scaling; None where that is 1 everywhere.

    Returns:
        [ranks of all]
    """
    if all(linear.factor_of_rank is None for linear in linears):
        return None
    parts = [
        torch.ones(len(linear.A), device=linear.A.device)
        if linear.factor_of_rank is None
        else linear.factor_of_rank
        for linear in linears
    ]
    return torch.cat(parts)


def _joint_bias(linears: Sequence[nn.Linear]) -> Tensor | None:
    """The bias of all, [out of all], zero where a linear has none; None where none has one."""
    biases = [None if linear.bias is None else linear.bias.detach() for linear in linears]
    like = next((bias for bias in biases if bias is not None), None)
    if like is None:
        return None
    return torch.cat(
        [
            like.new_zeros(linear.out_features) if bias is None else bias
            for linear, bias in zip(linears, biases)
        ]
    )


def _share_storage(modules: Sequence[nn.Module], name: str) -> Tensor:
    """One matrix of all rows of the modules' parameters of that name, which become views of it.

    They are replaced, not changed: another thread may be computing with what they were.
    """
    # A parameter must not become an inference tensor.
    with torch.inference_mode(False), torch.no_grad():
        parameters = [getattr(module, name) for module in modules]
        together = torch.cat(parameters)
        for module, rows in zip(modules, _spans([len(p) for p in parameters])):
            setattr(module, name, nn.Parameter(together[rows], requires_grad=False))
    return together


def _share_still(parameters: Sequence[Tensor], together: Tensor) -> bool:
    """Whether each still begins where `_share_storage` put it.

    Asked before every prompt, so addresses are added up, not views made.
    """
    at, row = together.data_ptr(), together.stride(0) * together.element_size()
    for parameter in parameters:
        if parameter.data_ptr() != at:
            return False
        at += len(parameter) * row
    return True


def _spans(sizes: Sequence[int]) -> list[slice]:
    """Where each begins and ends, one behind the other."""
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]
