"""What a decoder's products are computed with: a plan folded into a copy, or plans beside.

    every plan alike     W' = W + Σ_e B_e · m_e (α_e / r_e) · A_e,   y = W' x
    one plan a row       y = W x + B (m · A x)

The copy is of all the decoder's linears, so there is one at a time for all. Who decodes leases it,
with others of the same plan; a plan that finds it taken by another is computed beside the weights,
which gives the same to rounding. It is written from the clean weights for each plan, never added to
and subtracted from, and gone with its last lease.

In bfloat16 on a CPU the copy is in oneDNN's own order, which is read about twice as fast at a few
rows (float32 gains nothing from it). Rows of different plans are worth a copy there too, of the
clean weights with all B behind them:

    y = [W B] [x; m · A x]

Weights in 4-bit groups (`atmoe.mixture.int4`) are read so in steps of one token a row; they need no
copy, and nothing is folded into them:

    y = W₄ x + B (m · A x)

with A and B of those experts alone that have a share in a row, and each row's experts by
themselves: W₄ is so quickly read that the others would take as long again.

Weights in int8 (`atmoe.mixture.int8`) stay so, a plan folded in too; behind rows of different plans
stands a bfloat16 copy of them, for int8 is quick at few rows only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from atmoe.answer.fused import Fused, Picked
from atmoe.answer.packing import can_pack, pack, packed_linear
from atmoe.mixture import int4
from atmoe.mixture.experts import ExpertBank
from atmoe.mixture.int8 import product as int8_product
from atmoe.mixture.int8 import quantised


class Product:
    """A fused linear at work, with experts or without.

    Args:
        fused: the linear.
        weights: [rows, layers, experts] of plans that are not folded in, (α / r) included; None
            leaves the experts out, unless they are in the copy.
        copied: what to compute with instead of the clean weights.
        steps: for one token a row: in 4-bit groups, where the linear has them.
        picked: then, each row's experts beside them.
    """

    __slots__ = ("_scale", "_steps", "copied", "fused", "picked")

    def __init__(
        self,
        fused: Fused,
        weights: Tensor | None,
        copied: _Copied | None,
        steps: bool = False,
        picked: Sequence[Picked | None] = (),
    ):
        self.fused = fused
        self.copied = copied
        self.picked = picked if any(picked) else ()
        self._steps = steps
        self._scale: Tensor | None = None
        if weights is not None and not (steps and fused.groups):  # there, it is in `picked`
            self._scale = fused.scale(weights)

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
                y = y.to(x.dtype) + fused.bias
            if not self.picked:
                return y.to(x.dtype)
            if len(self.picked) == 1:
                own = self.picked[0]
                assert own is not None  # or it would not be kept
                return own(x, y)
            rows = zip(self.picked, x.split(1), y.split(1))
            return torch.cat([own(row, y) if own else y.to(x.dtype) for own, row, y in rows])
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


class _Picks(list[Picked | None]):
    """One plan's experts beside each linear. A class, for to a list nobody can refer weakly."""


class Copy:
    """The one copy of all fused weights at a time, leased to those who decode under its plan.

    Attributes:
        spared: whether steps read all weights in 4-bit groups, so that they need no copy.
    """

    def __init__(self, fused: Sequence[Fused], bank: ExpertBank):
        self._fused = fused
        self._bank = bank
        self._packs = can_pack(fused[0].W if fused[0].S is None else fused[0].S)
        self._groups = any(each.groups for each in fused)
        self.spared = all(each.groups for each in fused)
        # Experts that were picked, by the plan: as long as somebody decodes under it.
        self._picked: WeakValueDictionary[bytes, _Picks] = WeakValueDictionary()
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
        if steps and self.spared:
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
        picks = []
        if steps and self._groups and weights is not None:
            picks = [self._pick(row) for row in weights]
        of_each = zip(*picks) if picks else repeat(())
        products = [
            Product(f, weights, c, steps, p) for f, c, p in zip(self._fused, copied, of_each)
        ]
        return Lease(products, folded, give_back, picks)

    def _pick(self, weights: Tensor) -> _Picks:
        """The experts that have a share under one plan, [layers, experts], beside each linear."""
        key = weights.detach().float().contiguous().numpy().tobytes()
        picks = self._picked.get(key)
        if picks is None:
            with torch.inference_mode():
                picks = _Picks(f.picked(weights) if f.groups else None for f in self._fused)
            self._picked[key] = picks
        return picks

    def _give_back(self) -> None:
        with self._lock:
            self._leases -= 1
            if not self._leases:
                self._plan, self._copied = None, []


class Lease:
    """The right to compute with the copy of the weights, or with the weights themselves.

    Attributes:
        products: one for each fused linear; none once it is closed.
        folded: whether the plan is in the weights.
    """

    def __init__(
        self,
        products: list[Product],
        folded: bool,
        give_back: Callable[[], None],
        picks: Sequence[_Picks] = (),
    ):
        self.products = products
        self.folded = folded
        self._give_back = give_back
        self._picks = picks  # held for others under the same plan

    def again(self) -> list[Product]:
        """Products over the same copy, to be weighed anew; the lease must outlive them."""
        return [Product(product.fused, None, product.copied) for product in self.products]

    def close(self) -> None:
        """Give the copy back; a second time does nothing."""
        if self.products:
            self.products, self._picks = [], ()
            self._give_back()


def bare(fused: Sequence[Fused]) -> list[Product]:
    """Products over the weights themselves, without experts until they are weighed."""
    return [Product(each, None, None) for each in fused]


def _beside(fused: Fused) -> _Copied:
    """[W B] and A in oneDNN's order, for rows of different plans."""
    if fused.A is None:
        return _Copied(pack(fused.clean()), packed=True)
    return _Copied(
        pack(torch.cat([fused.clean(), fused.behind()], 1)), packed=True, A=pack(fused.A)
    )
