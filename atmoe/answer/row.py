"""One answer of a batch, a row of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from atmoe.answer.decoder import Plain
from atmoe.answer.engine import engine_of
from atmoe.answer.generation import Step, end_tokens, grow
from atmoe.answer.guessing import Guess
from atmoe.answer.past import Past
from atmoe.answer.prefill import Prefilled
from atmoe.answer.sampling import Chooser, Sampling, logp_of
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.template import Prompt


class Rows(Protocol):
    """What a row knows of its batch, a `Batching`."""

    model: Mixture
    rows: list[Decoding]

    def step(self) -> None:
        """One more token of every row."""

    def remove(self, row: Decoding) -> None:
        """Free a row's place."""


class Decoding:
    """One answer of a batch, a row of it.

    Iterating gives its steps, made for all rows whenever this one has none left unread.

    Args:
        batch: whose row it is.
        prompt: as encoded.
        read: the prompt, once it was read.
        seconds: what reading it took, others' steps in between included.
        sampling: how its tokens are chosen.
        others: as of `Batching.add`.

    Attributes:
        plans: the one in force.
        sampling: how its tokens are chosen.
        prefill_seconds: what reading its prompt took, others' steps in between included.
        decoded: how many tokens came after the first, which the prefill gives; the end of the turn
            is one.
        tokens_per_second: of these, while other rows were decoded too; None = there is none.
        engine: "lean" or "plain", as of a `Generation`; no plan is ever folded.
        past: what it looks back on, a `Past` for the engine or a `Plain` where transformers
            decodes; None once it has left the batch.
        weights: of its plan, [1, layers, experts], gain included.
        last: the token that was chosen last.
        tokens: chosen so far.
        logp: of each of them under the plan, in nats: as of the model itself, without penalty or
            temperature.
        finish: how it ended, None while it goes on.
    """

    past: Any

    def __init__(
        self,
        batch: Rows,
        prompt: Prompt,
        read: Prefilled,
        seconds: float,
        sampling: Sampling,
        others: Sequence[Sequence[int]],
    ):
        mixture = batch.model
        self._batch = batch
        self.sampling = sampling
        self.plans, self.prefill_seconds = read.plans, seconds
        self._first: float | None = None
        self.decoded = 0
        self.tokens_per_second: float | None = None
        # 1. what it is decoded with
        self.weights = mixture.weights_of(self.plans, 1)
        self._choose = Chooser(sampling, [prompt])
        self._ends = end_tokens(mixture)
        self.tokens: list[int] = []
        self.logp: list[float] = []
        self._guess = Guess(others)
        self._unread: deque[Step] = deque()
        engine = engine_of(mixture)
        if engine is None:
            self.engine = "plain"
            self.past = Plain(mixture, read.batch, read.cache, self.weights)
        else:
            self.engine = "lean"
            self.past = Past(engine, read.batch, read.cache, sampling.max_new_tokens)
        # 2. its first token
        assert read.logits is not None  # they were asked for
        self.take(read.logits)

    def take(self, logits: Tensor) -> None:
        """Choose the next token from these logits, [1, vocabulary]."""
        self.last = self._choose(logits, [self.tokens])[0]
        self.finish = grow(self.tokens, self.last, self._ends, self.sampling)
        if len(self.tokens) > len(self.logp):  # not the end of the turn
            self.logp.append(logp_of(logits, self.last))
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        else:
            self.decoded += 1
            self.tokens_per_second = self.decoded / max(now - self._first, 1e-9)
        self._unread.append(Step.of(self._batch.model, [self.tokens], [self.finish]))

    def guessed(self, most: int) -> list[int]:
        """What may come next, as others to the same question went on; often nothing.

        Args:
            most: at most so many tokens.
        """
        return self._guess.after(
            self.tokens, min(most, self.sampling.max_new_tokens - len(self.tokens) - 1)
        )

    def take_all(self, logits: Sequence[Tensor], guessed: Sequence[int]) -> None:
        """Choose tokens as long as they are the guessed ones, and the one after those.

        Args:
            logits: after the last token, and after each that was guessed; [1, vocabulary] each.
            guessed: the tokens.
        """
        right = -1
        for own, token in zip(logits, [*guessed, None]):
            self.take(own)
            self.past.advance()
            right += 1
            if self.last != token or self.finish is not None:
                break
        self._guess.learn(len(guessed), right)

    def __iter__(self) -> Decoding:
        return self

    def __next__(self) -> Step:
        if not self._unread and self in self._batch.rows:
            self._batch.step()
        if not self._unread:
            raise StopIteration
        return self._unread.popleft()

    def close(self) -> None:
        """Give up what is not decoded yet."""
        self._batch.remove(self)
