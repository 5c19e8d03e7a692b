"""When a training stops: once the loss on topics held back falls no more.

    every so many answer tokens ─► the loss on unseen topics
        lowest so far?  its weights are kept
        not so?         after `patience` of them in a row it is over, and the kept weights return

What was measured is in the checkpoint, so an interrupted training stops where it would have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stopping:
    """What is watched, and for how long.

    Attributes:
        loss: which of the validation's losses.
        every: answer tokens from one measurement to the next.
        patience: so many measurements in a row without a lower loss are the end.
    """

    loss: str
    every: int
    patience: int = 2


class Seen(TypedDict):
    """What was measured so far.

    Attributes:
        before: the validation before the first step.
        lowest: the validation of the lowest loss.
        step: taken until then.
        tokens: seen until then.
        measured_at: answer tokens seen until the last measurement; -1 = there was none.
        since: measurements in a row without a lower loss.
    """

    before: dict[str, float]
    lowest: dict[str, float]
    step: int
    tokens: int
    measured_at: int
    since: int


class Watch:
    """The lowest loss on unseen topics so far, and the weights that had it.

    Args:
        stopping: when to measure, and when it is over.
        parameters: those that are trained.
    """

    def __init__(self, stopping: Stopping, parameters: Sequence[Tensor]):
        self._stopping, self._parameters = stopping, parameters
        self._kept: list[Tensor] = []
        self._seen: Seen = {
            "before": {},
            "lowest": {},
            "step": 0,
            "tokens": 0,
            "measured_at": -1,
            "since": 0,
        }

    def due(self, tokens: int) -> bool:
        """Whether to measure, after so many answer tokens."""
        at = self._seen["measured_at"]
        return at < 0 or tokens - at >= self._stopping.every

    def measured(self, tokens: int) -> bool:
        """Whether it was measured after so many answer tokens."""
        return self._seen["measured_at"] == tokens

    @property
    def over(self) -> bool:
        """Whether the loss has not fallen for too long."""
        return self._seen["since"] >= self._stopping.patience

    def take(self, validation: Mapping[str, float], step: int, tokens: int) -> None:
        """Take note of a measurement; where it is the lowest, of the weights."""
        seen, name = self._seen, self._stopping.loss
        if seen["measured_at"] < 0:
            seen["before"] = dict(validation)
        seen["measured_at"] = tokens
        if validation[name] < seen["lowest"].get(name, math.inf):
            seen |= {"lowest": dict(validation), "step": step, "tokens": tokens, "since": 0}
            self._kept = [p.detach().clone() for p in self._parameters]
        else:
            seen["since"] += 1

    def restore(self) -> None:
        """Put the kept weights back."""
        with torch.no_grad():
            for p, kept in zip(self._parameters, self._kept, strict=True):
                p.copy_(kept)

    def report(self) -> dict[str, Any]:
        """The validation of the weights kept, and how it came to them."""
        seen = self._seen
        return {
            **seen["lowest"],
            "before": seen["before"],
            "kept_step": seen["step"],
            "kept_tokens": seen["tokens"],
            "stopped_early": self.over,
        }

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"seen": self._seen, "kept": self._kept}

    def resume(self, content: Mapping[str, Any]) -> None:
        """Take up what a checkpoint holds.

        Raises:
            Exception: of any type, where it is not what `content` gave.
        """
        seen, kept = content["seen"], content["kept"]
        if set(seen) != set(self._seen):
            raise ValueError("it does not say what was measured on unseen topics")
        for p, value in zip(self._parameters, kept, strict=True):
            if p.shape != value.shape:
                raise ValueError("the weights it keeps are of another shape")
        self._seen = seen
        self._kept = [value.to(p.device) for p, value in zip(self._parameters, kept)]
