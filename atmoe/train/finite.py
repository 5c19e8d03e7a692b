"""What a training must end as: with losses and weights that are numbers, or with one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from atmoe.errors import TrainingError


def losses(measured: Mapping[str, float], step: int) -> None:
    """Nothing, where all losses on unseen topics are numbers.

    Args:
        measured: by name.
        step: after which.

    Raises:
        TrainingError: one is not.
    """
    if not all(map(math.isfinite, measured.values())):
        raise TrainingError(
            f"The loss on unseen topics is not a number after {step} steps; lower --learning-rate "
            f"and start again."
        )


def weights(trained: Iterable[Tensor], out: Path) -> None:
    """Nothing, where all weights are numbers.

    Args:
        trained: what is to be saved.
        out: where; nothing has been written.

    Raises:
        TrainingError: one is not.
    """
    if not all(bool(weight.isfinite().all()) for weight in trained):
        raise TrainingError(
            f"Not all weights are finite numbers, so the model in {out} stays as it is; lower "
            f"--learning-rate, or what is set by hand, and start again."
        )
