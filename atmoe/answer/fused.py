"""Linears that read the same input, as one matrix, and the experts beside it as one.

    q ┐
    k ├─ W = [q; k; v]   A = [A_q; A_k; A_v]
    v ┘

The fused matrix is where the linears themselves live from then on: each keeps a view of its rows,
so fusing costs no memory. What is computed with it: `atmoe.answer.leases`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.mixture import int4
from atmoe.mixture.experts import ExpertLinear
from atmoe.mixture.int4 import Groups, Int4Linear
from atmoe.mixture.int8 import Int8Linear


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
            self.groups = int4.joint(self._plain)
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
        return None if self.A is None else self._of_ranks(weights).to(self.A.dtype)

    def _of_ranks(self, weights: Tensor) -> Tensor:
        """What each rank is multiplied by, [rows, ranks of all], for experts' [rows, experts]."""
        scale = weights.index_select(1, self._expert_of_rank)
        return scale if self._factor_of_rank is None else scale * self._factor_of_rank

    def behind(self) -> Tensor:
        """All B as one matrix, zero where a linear has no part in a rank; only with experts.

        Returns:
            [out of all, ranks of all]
        """
        assert self.A is not None
        behind = self.A.new_zeros(len(self.W), len(self.A))
        for out, rank, B in self.parts:
            behind[out, rank] = B
        return behind

    def picked(self, weights: Tensor) -> Picked | None:
        """The experts of one plan that have a share here.

        Args:
            weights: [layers, experts], (α / r) included.

        Returns:
            None where none of them is beside this linear.
        """
        if self.A is None or self.layer is None:
            return None
        scale = self._of_ranks(weights[self.layer, None])[0]
        ranks = scale.nonzero()[:, 0]
        if not len(ranks):
            return None
        A = self.A[ranks].float() * scale[ranks, None]
        behind = []
        for _, rank, own in self.parts:
            among = ranks[(rank.start <= ranks) & (ranks < rank.stop)] - rank.start
            behind.append(own[:, among].T.float())
        alike = len({B.shape for B in behind}) == 1
        if alike and sum(B.shape[1] for B in behind) == len(self.W):
            return Picked(A, torch.stack(behind))
        B, first = A.new_zeros(1, len(ranks), len(self.W)), 0
        for (out, _, _), own in zip(self.parts, behind):
            B[0, first : first + len(own), out] = own
            first += len(own)
        return Picked(A, B)

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


@dataclass(frozen=True)
class Picked:
    """Those experts of one plan that have a share, beside one fused linear, in float32.

    Each row has its own, and is multiplied alone: what it comes to does not depend on who else is
    there, or whose experts are. So few numbers are multiplied sooner row by row, and sooner in
    float32, than they are handed to a library's kernel for many.

    Attributes:
        A: what they are multiplied by is in it, [ranks, in].
        B: of linears of one size and with as many ranks each, [linears, ranks of each, out of
            each]; of others together, zero where one has no part in a rank, [1, ranks, out of all].
    """

    A: Tensor
    B: Tensor

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """What is beside y, put to it: y + B A x of one row, [1, in], [1, out of all]; like x."""
        low = F.linear(x.float(), self.A)
        if len(self.B) == 1:
            return torch.addmm(y.float(), low, self.B[0]).to(x.dtype)
        return torch.bmm(low.view(len(self.B), 1, -1), self.B).view(y.shape).add_(y).to(x.dtype)


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
