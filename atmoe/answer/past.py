"""What rows look back on while they are decoded: keys and values, with room for what is to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from atmoe.answer.engine import Engine, Turns
from atmoe.prompt.batch import Batch

if TYPE_CHECKING:
    from transformers import Cache


class Past:
    """What rows that were prefilled together look back on: their keys and values.

    A step calls `turns`, then `attend` for each layer, then `advance`. One that failed midway may
    be made again. Tokens that are only guessed are attended ahead, and advanced past if kept.

    Args:
        engine: what decodes.
        batch: the prompts, as prefilled.
        cache: keys and values, as that left them; they are copied.
        tokens: at most, to come.
    """

    def __init__(self, engine: Engine, batch: Batch, cache: Cache, tokens: int):
        with torch.inference_mode():
            # Columns that are padding in every row are not kept.
            padding = int(batch.attention.argmax(1).min())
            self._layers = engine.layers
            self._caches = [
                _Cache(held.keys, held.values, batch.attention, padding, tokens, layer.window)
                for held, layer in zip(cache.layers, engine.layers)
            ]
            ahead = torch.arange(1, tokens + 1, device=batch.positions.device)
            positions = batch.positions[:, -1:] + ahead
            like = batch.positions.new_empty(0, dtype=engine.stream)
            self._rotations = engine.rotations(like, positions)
        self._at = 0

    def turns(self, ahead: int = 0) -> Turns:
        """How the next token's queries and keys are rotated, by kind of rotation.

        Args:
            ahead: how many tokens after the next.

        Returns:
            Cos and sin, [rows, 1, d] each.
        """
        at = self._at + ahead
        return {rope: (cos[:, at], sin[:, at]) for rope, (cos, sin) in self._rotations.items()}

    def attend(self, index: int, q: Tensor, k: Tensor, v: Tensor, ahead: int = 0) -> Tensor:
        """Keep the new token's k, v in a layer and look back from it.

        Args:
            index: of the layer.
            q: [rows, kv heads, queries, d]
            k: [rows, kv heads, d]
            v: like k.
            ahead: how many tokens after the next; those between were attended before.

        Returns:
            What the queries saw, like q.
        """
        layer, at = self._layers[index], self._at + ahead
        return self._caches[index].attend(q, k, v, at, layer.scaling, layer.softcap)

    def advance(self) -> None:
        """Past the next token, which is there for good."""
        self._at += 1


class _Cache:
    """Keys and values of one layer, [rows, kv heads, tokens, d], with room for the whole answer.

    Args:
        keys: as prefilled, of the last columns of `attention` (a sliding layer keeps no more).
        values: like keys.
        attention: [rows, prompt], 0 where padding stands.
        padding: how many columns of the prompt are nobody's.
        tokens: at most, to come.
        window: of a sliding layer.
    """

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        attention: Tensor,
        padding: int,
        tokens: int,
        window: int | None,
    ):
        # 1. keys and values, without the columns that are nobody's
        rows, heads, columns, d = keys.shape
        drop = max(0, padding - (attention.shape[1] - columns))
        self.filled = columns - drop
        self._window = window
        shape = (rows, heads, self.filled + tokens, d)
        self.keys = keys.new_empty(shape)
        self.values = values.new_empty(shape)
        self.keys[:, :, : self.filled] = keys[:, :, drop:]
        self.values[:, :, : self.filled] = values[:, :, drop:]
        # 2. a mask, where a row is shorter than another
        real = attention[:, attention.shape[1] - self.filled :]
        self._mask: Tensor | None = None
        if not real.all():
            self._mask = keys.new_zeros(rows, 1, 1, self.filled + tokens)
            self._mask[..., : self.filled].masked_fill_(real[:, None, None] == 0, float("-inf"))

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, step: int, scaling: float, softcap: float | None
    ) -> Tensor:
        """Keep the new token's k, v and look back from it.

        Args:
            q: [rows, kv heads, queries, d]
            k: [rows, kv heads, d]
            v: like k.
            step: how many tokens came before it since the prefill.
            scaling: what the scores are multiplied by.
            softcap: of the scores, or None.

        Returns:
            What the queries saw, like q.
        """
        at = self.filled + step
        self.keys.select(2, at).copy_(k)
        self.values.select(2, at).copy_(v)
        first = max(0, at + 1 - self._window) if self._window else 0
        keys, values = (t.narrow(2, first, at + 1 - first) for t in (self.keys, self.values))
        mask = None if self._mask is None else self._mask[..., first : at + 1]
        dtype = q.dtype
        q = q.to(keys.dtype)
        if softcap is None:
            seen = F.scaled_dot_product_attention(q, keys, values, mask, scale=scaling)
            return seen.to(dtype)
        scores = softcap * torch.tanh(q @ keys.transpose(2, 3) * (scaling / softcap))
        if mask is not None:
            scores = scores + mask
        return (scores.softmax(-1, torch.float32).to(q.dtype) @ values).to(dtype)
