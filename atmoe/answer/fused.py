"""Linears that read the same input, as one product; and plans folded into a copy of them.

    q ┐                                            every plan alike   W' = W + Σ_e B_e · m_e (α_e / r_e) · A_e,  y = W' x
    k ├─ W = [q; k; v]   A = [A_q; A_k; A_v]       one plan a row     y = W x + B (m · A x)      (design: equation y)
    v ┘

The fused matrix is where the linears themselves live from then on: each keeps a view of its rows, so fusing costs no
memory. Folding does, a copy of the decoder's linears, so there is one at a time for all. Who decodes leases it, with others
of the same plan; a plan that finds it taken by another is computed beside the weights, which gives the same to rounding.
It is written from the clean weights for each plan, never added to and subtracted from, and gone with its last lease.

In bfloat16 on a CPU the copy is in oneDNN's own order, which is read about twice as fast at a few rows (float32 gains
nothing from it). Rows of different plans are worth a copy there too, of the clean weights with all B behind them:

    y = [W B] [x; m · A x]

Weights in int8 (see `atmoe.mixture.int8`) stay so, a plan folded in too; behind rows of different plans stands a bfloat16 copy of
them, for int8 is quick at few rows only.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.mixture.experts import ExpertBank, ExpertLinear
from atmoe.mixture.int8 import Int8Linear, product, quantised


class Fused:
    """Linears of one layer that read the same input. W: [out of all, in], in int8 with its S [out of all], which is None
    otherwise.  A: [ranks of all, in], None without experts.
    """

    def __init__(self, linears: Sequence[nn.Linear | ExpertLinear]):
        self._experts = [m if isinstance(m, ExpertLinear) else None for m in linears]
        self._plain = [e.linear if e else m for e, m in zip(self._experts, linears)]
        adapted = [e for e in self._experts if e]
        self.W = _house(self._plain, "weight")
        self.S = _house(self._plain, "scale") if isinstance(self._plain[0], Int8Linear) else None
        self.A = _house(adapted, "A") if adapted else None
        self.bias = None
        if any(linear.bias is not None for linear in self._plain):
            like = next(linear.bias.detach() for linear in self._plain if linear.bias is not None)
            self.bias = torch.cat(
                [
                    like.new_zeros(linear.out_features)
                    if linear.bias is None
                    else linear.bias.detach()
                    for linear in self._plain
                ]
            )
        self.layer = adapted[0].layer if adapted else None
        self.expert_of_rank = torch.cat([e.expert_of_rank for e in adapted]) if adapted else None
        outs = _spans([linear.out_features for linear in self._plain])
        ranks = iter(_spans([len(e.A) for e in adapted]))
        self.parts = [(out, next(ranks), e.B.detach()) for out, e in zip(outs, self._experts) if e]

    @property
    def fresh(self) -> bool:
        """Whether the linears still live here: not after they were moved, or given other experts."""
        return (
            _lives([linear.weight for linear in self._plain], self.W)
            and all(
                e.B.data_ptr() == B.data_ptr()
                for e, (_, _, B) in zip(filter(None, self._experts), self.parts)
            )
            and (self.A is None or _lives([e.A for e in self._experts if e], self.A))
        )

    def scale(self, weights: Tensor) -> Tensor | None:
        """weights: [rows, layers, experts], (α / r) included → [rows, ranks of all], None without experts"""
        return None if self.layer is None else self.scale_of(weights[:, self.layer])

    def scale_of(self, weights: Tensor) -> Tensor | None:
        """The same of this layer's own weights. [rows, experts]"""
        return (
            None
            if self.layer is None
            else weights.index_select(1, self.expert_of_rank).to(self.A.dtype)
        )

    def clean(self) -> Tensor:
        """W as floating numbers."""
        return self.W if self.S is None else self.W.to(self.S.dtype).mul_(self.S[:, None])

    def folded(self, weights: Tensor) -> Tensor:
        """W + Σ_e B_e · m_e (α_e / r_e) · A_e for one plan [1, layers, experts], (α / r) included."""
        merged, scale = self.clean() if self.S is not None else self.W.clone(), self.scale(weights)
        for out, rank, B in self.parts:
            merged[out].addmm_(B * scale[:, rank], self.A[rank])
        return merged


class Product:
    """A fused linear at work: calling it gives y for x [rows, in] → [rows, out of all]."""

    __slots__ = ("_scale", "copied", "fused")

    def __init__(self, fused: Fused, weights: Tensor | None, copied: _Copied | None):
        """weights: of plans that are not folded in.  copied: what to compute with instead of the clean weights."""
        self.fused, self.copied = fused, copied
        self._scale = None if weights is None else fused.scale(weights)

    def weigh(self, weights: Tensor) -> None:
        """Compute under these weights of its layer from now on. [rows or 1, experts], (α / r) included"""
        self._scale = self.fused.scale_of(weights)

    def __call__(self, x: Tensor) -> Tensor:
        fused, copied, scale = self.fused, self.copied, self._scale
        if copied and copied.packed:
            if scale is not None:
                x = torch.cat([x, packed_linear(x, copied.A) * scale], 1)
            return packed_linear(x, copied.W, fused.bias)
        W, S = (copied.W, copied.S) if copied else (fused.W, fused.S)
        y = F.linear(x, W, fused.bias) if S is None else product(x, W, S, fused.bias)
        if scale is not None:
            scaled = F.linear(x, fused.A) * scale
            for out, rank, B in fused.parts:
                y[:, out] += F.linear(scaled[:, rank], B)
        return y


@dataclass(frozen=True)
class _Copied:
    """W of one fused linear with a plan folded in, S with it where it is int8; or [W B] and A, for plans beside it (packed only)."""

    W: Tensor
    S: Tensor | None = None
    packed: bool = False
    A: Tensor | None = None


class Copy:
    """The one copy of all fused weights at a time, leased to those who decode under what is folded into it."""

    def __init__(self, fused: Sequence[Fused], bank: ExpertBank):
        self._fused, self._bank = fused, bank
        self._packs = can_pack(fused[0].W if fused[0].S is None else fused[0].S)
        self._lock = threading.Lock()
        self._leases = 0
        self._plan: Tensor | None = (
            None  # [1, layers, experts], what is folded in; None = nothing, for plans beside
        )
        self._copied: list[_Copied] = []

    def lease(self, weights: Tensor, fold: bool = True) -> Lease:
        """The products for these weights [rows, layers, experts], gain included. Close the lease when done.

        fold: False computes every row beside the weights, though all have one plan, so that who else is there decides nothing.
        """
        weights = weights * self._bank.scaling
        alike = fold and bool((weights == weights[:1]).all())
        clean = fold and not weights.any()
        if not self._packs and (clean or not alike):
            return self._lease(None if clean else weights, [None] * len(self._fused), clean)
        with self._lock:
            if not self._leases:
                self._plan = weights[:1] if alike else None
                with torch.inference_mode():
                    room = (
                        None
                        if self._fused[0].S is None
                        else torch.empty(
                            max(f.W.numel() for f in self._fused), device=self._fused[0].W.device
                        )
                    )
                    self._copied = [self._copy(f, room) for f in self._fused]
            elif self._plan is not None and not (alike and torch.equal(self._plan, weights[:1])):
                return self._lease(weights, [None] * len(self._fused), False)
            self._leases += 1
            folded = self._plan is not None
            return self._lease(None if folded else weights, self._copied, folded, self._give_back)

    def _copy(self, fused: Fused, room: Tensor | None) -> _Copied | None:
        if self._plan is not None:
            if fused.S is not None:
                return (
                    _Copied(*quantised(fused.folded(self._plan), room))
                    if self._plan.any()
                    else None
                )
            weight = fused.folded(self._plan) if self._plan.any() else fused.W
            return _Copied(pack(weight), packed=True) if self._packs else _Copied(weight)
        if fused.A is None:
            return _Copied(pack(fused.clean()), packed=True)
        behind = fused.A.new_zeros(len(fused.W), len(fused.A))
        for out, rank, B in fused.parts:
            behind[out, rank] = B
        return _Copied(pack(torch.cat([fused.clean(), behind], 1)), packed=True, A=pack(fused.A))

    def _lease(
        self,
        weights: Tensor | None,
        copied: Sequence[_Copied | None],
        folded: bool,
        give_back: Callable[[], None] = lambda: None,
    ) -> Lease:
        return Lease(
            [Product(f, weights, c) for f, c in zip(self._fused, copied)], folded, give_back
        )

    def _give_back(self) -> None:
        with self._lock:
            self._leases -= 1
            if not self._leases:
                self._plan, self._copied = None, []


class Lease:
    """products: one for each fused linear.  folded: whether the plan is in the weights."""

    def __init__(self, products: list[Product], folded: bool, give_back: Callable[[], None]):
        self.products, self.folded, self._give_back = products, folded, give_back

    def again(self) -> list[Product]:
        """Products over the same copy, to be weighed anew; the lease must outlive them."""
        return [Product(product.fused, None, product.copied) for product in self.products]

    def close(self) -> None:
        if self.products:
            self.products = []
            self._give_back()


def pack(weight: Tensor) -> Tensor:
    """A matrix in oneDNN's order, for `packed_linear` alone."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, 1)


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def can_pack(weight: Tensor) -> bool:
    """bfloat16 on a CPU whose oneDNN multiplies it; tried out, for these operators are PyTorch's own and may go."""
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16:
        return False
    try:
        one = torch.eye(16, dtype=torch.bfloat16)
        return torch.equal(packed_linear(one, pack(one)), one)
    except (AttributeError, RuntimeError):  # NotImplementedError is one
        return False


def give_back_memory() -> None:
    """Let the system have what was freed, where the C library can be asked to (glibc). Fusing leaves holes of the weights' size,
    which it would keep for the thread that made them.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _house(modules: Sequence[nn.Module], name: str) -> Tensor:
    """One matrix of all rows of the modules' parameters of that name, which become views of it. They are replaced, not
    changed: another thread may be computing with what they were.
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
    ):  # a parameter must not become an inference tensor
        parameters = [getattr(module, name) for module in modules]
        together = torch.cat(parameters)
        for module, rows in zip(modules, _spans([len(p) for p in parameters])):
            setattr(module, name, nn.Parameter(together[rows], requires_grad=False))
    return together


def _lives(parameters: Sequence[Tensor], together: Tensor) -> bool:
    """Whether each still begins where `_house` put it. Asked before every prompt, so addresses are added up, not views made."""
    at, row = together.data_ptr(), together.stride(0) * together.element_size()
    for parameter in parameters:
        if parameter.data_ptr() != at:
            return False
        at += len(parameter) * row
    return True


def _spans(sizes: Sequence[int]) -> list[slice]:
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [slice(a, b) for a, b in zip(ends, ends[1:])]
