"""Prompts as tensors: rows of one length, with what stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atmoe.prompt.template import Prompt


@dataclass(frozen=True)
class Batch:
    """Rows of equal length. All tensors are [rows, tokens], int64.

    Attributes:
        ids: token ids.
        attention: 1 where there is text, 0 where there is padding.
        instruction: 1 where the token is of the words a person typed, else 0.
        positions: of each token in its own text, from 0; 0 on padding to the left of it.
        texts: the words a person typed, one a row.
    """

    ids: Tensor
    attention: Tensor
    instruction: Tensor
    positions: Tensor
    texts: tuple[str, ...]


def collate(
    prompts: Sequence[Prompt],
    tails: Sequence[Sequence[int]] | None = None,
    *,
    pad: int,
    side: str = "left",
    multiple: int = 1,
    device: torch.device | str = "cpu",
) -> Batch:
    """Prompts, each followed by its tail of answer tokens if any, padded to one length.

    Args:
        prompts: at least one.
        tails: token ids, one tail a prompt.
        pad: the token id that fills a row.
        side: where padding goes, "left" or "right"; the result of a model must not depend on it.
        multiple: lengths are rounded up to it (bfloat16 kernels on a CPU pay for every new shape).
        device: where the tensors are put.
    """
    rows = [[*p.ids, *(tails[i] if tails else ())] for i, p in enumerate(prompts)]
    length = -(-max(map(len, rows)) // multiple) * multiple
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    attention, instruction = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (row, prompt) in enumerate(zip(rows, prompts)):
        first = length - len(row) if side == "left" else 0
        ids[i, first : first + len(row)] = torch.tensor(row)
        attention[i, first : first + len(row)] = 1
        instruction[i, first + prompt.start : first + prompt.end] = 1
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    return Batch(
        ids.to(device),
        attention.to(device),
        instruction.to(device),
        positions.to(device),
        tuple(prompt.text for prompt in prompts),
    )
