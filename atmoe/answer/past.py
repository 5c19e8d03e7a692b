"""What rows look back on while they are decoded: keys and values, with room for what is to come."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atmoe.answer.engine import Engine, Turns
from atmoe.prompt import Batch


class Past:
    """What rows that were prefilled together look back on: their keys and values, with room for what is to come.

    A step calls `turns`, then `attend` for each layer. One that failed midway may be made again.
    """

    def __init__(self, engine: Engine, batch: Batch, cache, tokens: int):
        """batch, cache, tokens: see `Decoder`."""
        with torch.inference_mode():
            # Columns that are padding in every row are not kept.
            padding = int(batch.attention.argmax(1).min())
            self._layers = engine.layers
            self._caches = [
                _Cache(
                    layer.keys,
                    layer.values,
                    batch.attention,
                    padding,
                    tokens,
                    engine.layers[i].window,
                )
                for i, layer in enumerate(cache.layers)
            ]
            positions = batch.positions[:, -1:] + torch.arange(
                1, tokens + 1, device=batch.positions.device
            )
            self._rotations = engine.rotations(self._caches[0].keys, positions)
        self._at = 0

    def turns(self) -> Turns:
        """How the next token's queries and keys are rotated: cos and sin [rows, 1, d], by kind of rotation."""
        return {
            rope: (cos[:, self._at], sin[:, self._at])
            for rope, (cos, sin) in self._rotations.items()
        }

    def attend(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`_Cache.attend` of layer `index`; the last layer's ends the step."""
        layer, at = self._layers[index], self._at
        if index == len(self._layers) - 1:
            self._at += 1
        return self._caches[index].attend(q, k, v, at, layer.scaling, layer.softcap)


class _Cache:
    """Keys and values of one layer, with room for the whole answer. [rows, kv heads, tokens, d]"""

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        attention: Tensor,
        padding: int,
        tokens: int,
        window: int | None,
    ):
        """keys, values: as prefilled, the last ones of `attention` [rows, prompt] (a sliding layer keeps no more).
        padding: how many columns of the prompt are nobody's.
        """
        rows, heads, kept, d = keys.shape
        drop = max(0, padding - (attention.shape[1] - kept))
        self.filled, self._window = kept - drop, window
        self.keys, self.values = (
            t.new_empty(rows, heads, self.filled + tokens, d) for t in (keys, values)
        )
        self.keys[:, :, : self.filled], self.values[:, :, : self.filled] = (
            keys[:, :, drop:],
            values[:, :, drop:],
        )
        real = attention[:, attention.shape[1] - self.filled :]
        self._mask = None
        if not real.all():
            self._mask = keys.new_zeros(rows, 1, 1, self.filled + tokens)
            self._mask[..., : self.filled].masked_fill_(real[:, None, None] == 0, float("-inf"))

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, step: int, scaling: float, softcap: float | None
    ) -> Tensor:
        """Keep the new token's k, v [rows, kv heads, d] and look back from it. q: [rows, kv heads, queries, d] → the same"""
        at = self.filled + step
        self.keys.select(2, at).copy_(k)
        self.values.select(2, at).copy_(v)
        first = max(0, at + 1 - self._window) if self._window else 0
        keys, values = (t.narrow(2, first, at + 1 - first) for t in (self.keys, self.values))
        mask = None if self._mask is None else self._mask[..., first : at + 1]
        if softcap is None:
            return F.scaled_dot_product_attention(q, keys, values, mask, scale=scaling)
        scores = softcap * torch.tanh(q @ keys.transpose(2, 3) * (scaling / softcap))
        return (scores if mask is None else scores + mask).softmax(-1, torch.float32).to(
            q.dtype
        ) @ values
