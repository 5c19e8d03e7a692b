"""What goes on after a prefill: one more token of each row, by the engine or by transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from atmoe.answer.engine import Engine, engine_of
from atmoe.answer.past import Past
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.batch import Batch

if TYPE_CHECKING:
    from transformers import Cache


def decoder(
    mixture: Mixture, batch: Batch, cache: Cache, weights: Tensor, tokens: int
) -> Decoder | Plain:
    """What goes on after a prefill: called with one token a row, it gives the logits of the next.

    Args:
        mixture: what prefilled.
        batch: the prompts, as prefilled.
        cache: keys and values, as that left them; they are used up.
        weights: [rows, layers, experts], gain included.
        tokens: at most, to come.

    Returns:
        A decoder; close it when done.
    """
    engine = engine_of(mixture)
    if engine is None:
        return Plain(mixture, batch, cache, weights)
    return Decoder(engine, batch, cache, weights, tokens)


class Plain:
    """Decodes through transformers, as the prefill ran.

    It is for bases of other kinds, and what `Decoder` must equal.

    Args:
        mixture: what prefilled.
        batch: the prompts, as prefilled.
        cache: keys and values, as that left them; they are used up.
        weights: [rows, layers, experts], gain included.
    """

    name = "plain"

    def __init__(self, mixture: Mixture, batch: Batch, cache: Cache, weights: Tensor):
        self._mixture = mixture
        self._batch = batch
        self._cache = cache
        self._weights = weights

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """One more token of each row.

        Returns:
            The logits of the next, [rows, vocabulary].
        """
        batch, device = self._batch, self._batch.ids.device
        attention = torch.cat(
            [batch.attention, torch.ones(len(tokens), 1, dtype=torch.long, device=device)], 1
        )
        self._batch = Batch(
            torch.tensor(tokens, device=device)[:, None],
            attention,
            batch.instruction,
            batch.positions[:, -1:] + 1,
            batch.texts,
        )
        with torch.inference_mode():
            hidden, _, self._cache = self._mixture.forward(
                self._batch, weights=self._weights, logits=False, use_cache=True, cache=self._cache
            )
            return self._mixture.logits(hidden[:, -1])

    def close(self) -> None:
        """Nothing is held but what goes with it."""


class Decoder:
    """Rows that were prefilled together, to their end under the plans that they began with.

    Args:
        engine: what decodes.
        batch: the prompts, as prefilled.
        cache: keys and values, as that left them; they are copied.
        weights: [rows, layers, experts], gain included.
        tokens: at most, to come.

    Attributes:
        name: "lean, folded" where one plan is in the weights; "lean" where each row's is computed
            beside them.
    """

    def __init__(self, engine: Engine, batch: Batch, cache: Cache, weights: Tensor, tokens: int):
        self._engine = engine
        self._past = Past(engine, batch, cache, tokens)
        with torch.inference_mode():
            self._lease = engine.copy.lease(weights, steps=True)
        self.name = "lean, folded" if self._lease.folded else "lean"

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """One more token of each row.

        Returns:
            The logits of the next, [rows, vocabulary].
        """
        past = self._past
        logits = self._engine.step(self._lease.products, tokens, past.turns(), past.attend)
        past.advance()
        return logits

    def close(self) -> None:
        """Give the copy of the weights back to others."""
        self._lease.close()
