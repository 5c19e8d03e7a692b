"""What a planner reads of the letters of a question: pieces of words, that speak for experts.

    r_i  = log((1 + N) / (1 + n_i)) + 1          how rare piece i is, in n_i of N instructions
    read = Σ_i W_i r_i / √(Σ_i r_i²) + b         over the pieces of a text, [rows, experts]

A base model knows little of a name that it never met; "-carcin-" in it says much.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

_LENGTHS = (4, 5)
"""Letters of a piece."""
_WORD = re.compile(r"[^\W_]+")


def plain(text: str) -> str:
    """A text in small letters, without accents and the 's of a name."""
    text = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in text if not unicodedata.combining(c)).replace("'s", "")


def pieces_of(words: Iterable[str], numbers: int) -> list[int]:
    """Words and their pieces of four and five letters, as numbers; several pieces may share one.

    Names of diseases are built of such pieces ("-carcin-", "neur-"), and a slip of the pen leaves
    most of them whole.

    Args:
        words: in small letters.
        numbers: how many there are.

    Returns:
        Each once, the least first.
    """
    pieces = set()
    for word in words:
        marked = f"_{word}_"
        pieces.add(marked)
        for length in _LENGTHS:
            pieces |= {marked[i : i + length] for i in range(len(marked) - length + 1)}
    return sorted({zlib.crc32(piece.encode()) % numbers for piece in pieces})


class Bags(NamedTuple):
    """Numbers of several rows, one after the other.

    Attributes:
        numbers: [all], int64.
        starts: where each row begins among them, [rows], int64.
        counts: what each counts, [all]; the squares of a row add up to 1.
    """

    numbers: Tensor
    starts: Tensor
    counts: Tensor


class Spelling(nn.Module):
    """A linear head over the pieces of a text. It starts with none of them saying anything.

    Args:
        pieces: how many numbers stand for pieces.
        experts: for whom they speak.
    """

    rarity: Tensor

    def __init__(self, pieces: int, experts: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(pieces, experts))
        self.bias = nn.Parameter(torch.zeros(experts))
        self.register_buffer("rarity", torch.ones(pieces))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """What the letters of each text say.

        Args:
            texts: what a person typed, one a row.

        Returns:
            [rows, experts], to be added to logits; the bias alone where a text has no word.
        """
        return self.of(self.bags(self.numbers(texts)))

    def of(self, bags: Bags) -> Tensor:
        """The same, of what `bags` gave."""
        read = nn.functional.embedding_bag(
            bags.numbers, self.weight, bags.starts, mode="sum", per_sample_weights=bags.counts
        )
        return read + self.bias

    def bags(self, rows: Sequence[Sequence[int]]) -> Bags:
        """What `numbers` gave, by its rarity."""
        lengths = torch.tensor([len(row) for row in rows])
        numbers = torch.tensor([number for row in rows for number in row], dtype=torch.long)
        numbers = numbers.to(self.rarity.device)
        counts = self.rarity[numbers]
        of_row = torch.repeat_interleave(lengths).to(counts.device)
        squares = counts.new_zeros(len(rows)).index_add_(0, of_row, counts.square())
        starts = (lengths.cumsum(0) - lengths).to(counts.device)
        return Bags(numbers, starts, counts / squares.sqrt()[of_row])

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of each text."""
        return [pieces_of(_WORD.findall(plain(text)), len(self.rarity)) for text in texts]

    @torch.no_grad()
    def take_rarity(self, rows: Sequence[Sequence[int]]) -> None:
        """How rare each piece is among the texts of which `numbers` gave these."""
        found = torch.zeros_like(self.rarity)
        for row in rows:
            found[row] += 1
        self.rarity.copy_(((1 + len(rows)) / (1 + found)).log() + 1)
