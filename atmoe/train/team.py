"""The processes that train together: one, or what `accelerate launch --num_processes N` started.

Every process forms the same batches from the same seed and computes its own rows of each; the
gradients are summed. So N processes take the same steps as one, and end at the same weights but for
the order of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, reduce
from torch import Tensor

from atmoe.mixture.precision import placed

T = TypeVar("T")


class Team:
    """Which process this is, and what the processes say to one another.

    Alone, every method is a no-op.

    Attributes:
        rank: of this process, from 0.
        size: the number of processes.
        device: what this one computes on.
    """

    def __init__(self):
        # Whatever $ATMOE_DEVICE names; it reaches every process, as an argument would not.
        # Without a GPU, accelerate would overlook the other processes unless told to use CPUs.
        self._state = PartialState(cpu=placed() == "cpu")
        self.rank: int = self._state.process_index
        self.size: int = self._state.num_processes
        self.device: torch.device = self._state.device

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of something that all processes hold."""
        return list(items[self.rank :: self.size])

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes; gradients flow into this process's own addend."""
        if self.size == 1:
            return value
        return value + (reduce(value.detach().clone(), "sum") - value.detach())

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by the sum over all processes.

        A process without rows has none, which counts as 0.
        """
        if self.size == 1:
            return
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([grad.flatten() for grad in own])
        sums = reduce(flat, "sum").split([p.numel() for p in parameters])
        for p, grad in zip(parameters, sums):
            p.grad = grad.view_as(p).clone()

    def gather(self, shared: Sequence[T]) -> list[T]:
        """The whole of which every process holds its `share`, in its first order."""
        if self.size == 1:
            return list(shared)
        parts = gather_object([list(shared)])
        return [part[i] for i in range(max(map(len, parts))) for part in parts if i < len(part)]

    def agree(self, value: T) -> T:
        """What the leading process holds."""
        if self.size == 1:
            return value
        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Until all processes have come here."""
        self._state.wait_for_everyone()
