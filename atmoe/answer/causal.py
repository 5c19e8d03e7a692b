"""How the tokens of one prompt look back: each on itself and on those before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atmoe.answer.layers import Layer


class Causal:
    """Attention of a prompt's tokens, or of its last ones on all; masks are made once."""

    def __init__(self) -> None:
        self._masks: dict[tuple[int | None, int, int], Tensor] = {}

    def __call__(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What the queries see.

        Args:
            layer: whose window, scaling and cap it is.
            q: [tokens, kv heads, queries, d]
            k: [all tokens, kv heads, d], of which the last are those of q.
            v: like k.

        Returns:
            Like q.
        """
        queries = q.permute(1, 2, 0, 3)
        shape = (*queries.shape[:2], *k.shape[::2])
        keys, values = (t.transpose(0, 1)[:, None].expand(shape) for t in (k, v))
        window = layer.window if layer.window and layer.window < len(k) else None
        if layer.softcap is not None:
            scaled = queries @ keys.transpose(2, 3) * (layer.scaling / layer.softcap)
            scores = layer.softcap * torch.tanh(scaled)
            scores = scores.masked_fill(~self._mask(window, q, k), float("-inf"))
            seen = scores.softmax(-1, torch.float32).to(q.dtype) @ values
        elif window or len(q) < len(k):
            mask = self._mask(window, q, k)
            seen = F.scaled_dot_product_attention(queries, keys, values, mask, scale=layer.scaling)
        else:
            seen = F.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, scale=layer.scaling
            )
        return seen.permute(2, 0, 1, 3)

    def _mask(self, window: int | None, q: Tensor, k: Tensor) -> Tensor:
        """Whom each token sees: itself and those before it, of the last `window`.

        Returns:
            [tokens, all tokens], True where it does.
        """
        kind = window, len(q), len(k)
        if kind not in self._masks:
            before = len(k) - len(q)
            seen = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).tril(before)
            self._masks[kind] = seen if window is None else seen.triu(before + 1 - window)
        return self._masks[kind]
