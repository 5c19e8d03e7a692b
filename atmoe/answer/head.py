"""The vocabulary projection of a step: the dearest product there is, and the one that chooses.

    a norm's output x ─► W x                                       any base
                         W₄ x ─► those within reach of the best     where a base's file is in 4-bit
                                 again, W x in float32              groups (its head seldom is)

A head in 4-bit groups is read in a third of the time, and errs by half a nat. So it only says which
tokens can be chosen at all: of those the logits are then computed from the weights themselves, more
exactly than bfloat16 would. What is far behind keeps the 4-bit logit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atmoe.answer.packing import can_pack, pack, packed_linear
from atmoe.mixture import int4
from atmoe.mixture.int4 import GROUP, Groups
from atmoe.mixture.mixture import Mixture

REACH = 9.0
"""How far behind the best logit one is still computed exactly: to an 8,000th of the likeliest
token's probability. Over 390 steps of the shipped model those were 300 tokens on average, and 112
in the median; the distribution was 0.0012 nats from float32's (Kullback-Leibler), and the likeliest
token the same in all."""


class Head:
    """Final hidden states to logits.

    Args:
        mixture: whose.
        scales: of the norm before it, [hidden].
        groups: whether to read it in 4-bit groups, if this machine can.
    """

    def __init__(self, mixture: Mixture, scales: Tensor, groups: bool):
        self._mixture = mixture
        head = mixture.base.get_output_embeddings()
        self._weight = head.weight.detach()
        self._packed: Tensor | None = None
        self._groups: Groups | None = None
        if head.bias is not None:
            return
        out, width = self._weight.shape
        if groups and out % 16 == 0 and width % GROUP == 0 and int4.can_pack(self._weight):
            self._groups = int4.rounded(self._weight, scales)
        elif can_pack(self._weight):
            self._packed = pack(self._weight)

    def __call__(self, states: Tensor) -> Tensor:
        """[rows, hidden] → [rows, vocabulary]."""
        if self._groups is not None:
            return self._mixture.capped(self._screened(states, self._groups))
        if self._packed is not None:
            return self._mixture.capped(packed_linear(states, self._packed))
        return self._mixture.logits(states)

    def _screened(self, states: Tensor, groups: Groups) -> Tensor:
        """Logits in float32, of which those within reach of each row's best are exact."""
        logits = int4.product(states, groups).float()
        for row, state in zip(logits, states.float()):
            near = (row > row.max() - REACH).nonzero()[:, 0]
            row[near] = torch.mv(self._weight[near].float(), state)
        return logits
