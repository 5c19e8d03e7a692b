"""Generate: prefill, cache, stream. The plan is fixed while an answer is decoded, so a row costs what LoRA costs.

A cache belongs to the plans it was filled under and lives inside one `Generation`: a changed plan is a new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

from atmoe.engine import Decoder, Engine
from atmoe.errors import PromptError, SamplingError
from atmoe.plan import RoutingPlan
from atmoe.prompt import Batch, Prompt

if TYPE_CHECKING:
    from atmoe.kept import Kept
    from atmoe.model import AtMoe

MAX_NEW_TOKENS = 1024


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    max_new_tokens: at most this many.  temperature: 0 = greedy, the most likely token each time.
    top_p: nucleus, only above temperature 0.  seed: of each row's own random stream, only above temperature 0.
    repetition_penalty: 1 = none (arXiv 1909.05858).
    """

    max_new_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        kinds = {"max_new_tokens": int, "temperature": float, "top_p": float, "seed": int, "repetition_penalty": float}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, Real) or kind is int and value != value // 1:
                raise SamplingError(f"{name} must be a {'whole ' if kind is int else ''}number, not {value!r}.")
        checks = ((1 <= self.max_new_tokens <= MAX_NEW_TOKENS, f"max_new_tokens must be between 1 and {MAX_NEW_TOKENS}"),
                  (self.temperature == 0 or 0.01 <= self.temperature <= 2, "temperature must be 0, or between 0.01 and 2"),
                  (0 < self.top_p <= 1, "top_p must be above 0 and at most 1"),
                  (0 <= self.seed < 2**63, "seed must be a whole number from 0 up"),
                  (1 <= self.repetition_penalty <= 2, "repetition_penalty must be between 1 and 2"))
        for holds, sentence in checks:
            if not holds:
                raise SamplingError(sentence + ".")
        for name, kind in kinds.items():  # a slider's 160.0 is 160, a person's temperature of 1 is 1.0
            object.__setattr__(self, name, kind(getattr(self, name)))

    def processors(self) -> LogitsProcessorList:
        wanted = [(self.repetition_penalty != 1, lambda: RepetitionPenaltyLogitsProcessor(self.repetition_penalty)),
                  (self.temperature > 0, lambda: TemperatureLogitsWarper(self.temperature)),
                  (self.temperature > 0 and self.top_p < 1, lambda: TopPLogitsWarper(self.top_p))]
        return LogitsProcessorList(make() for wanted_now, make in wanted if wanted_now)


@dataclass(frozen=True)
class Step:
    """The state of all rows after one more token.

    texts: the answer so far.  tokens: its ids, without the end-of-turn.  finish: None while a row is going on,
    then "stop" (it ended its turn) or "length" (max_new_tokens reached).
    """

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    finish: tuple[str | None, ...]

    @classmethod
    def of(cls, model: AtMoe, tokens: Sequence[Sequence[int]], finish: Sequence[str | None]) -> Step:
        return cls(tuple(in_words(model, t) for t in tokens), tuple(map(tuple, tokens)), tuple(finish))


class Generation:
    """Rows being answered. Iterating decodes; dropping the iterator stops at once.

    plans: the plan of each row, known from the start.  prefill_seconds, tokens_per_second (of all rows together).
    engine: what decodes. "lean" (see `atmoe.engine`), once it has begun "lean, folded" where all rows have one plan and the
    copy of the weights was free (in bfloat16 the two round differently); "plain" where the base is of another kind, and
    transformers decodes.
    """

    def __init__(self, model: AtMoe, prompts: Sequence[Prompt], plans: Sequence[RoutingPlan] | None, sampling: Sampling,
                 kept: Kept | None = None):
        if not prompts:
            raise PromptError("There is no prompt to answer; give at least one.")
        self.sampling, self._model, self._prompts = sampling, model, prompts
        began = time.perf_counter()
        self._logits, self.plans, self._cache, self._batch = model.prefill(prompts, plans, kept=kept)
        self.prefill_seconds = time.perf_counter() - began
        self.tokens_per_second = 0.0
        self._weights = model.weights_of(self.plans, len(prompts))
        self.engine = "lean" if Engine.knows(model) else "plain"

    def __iter__(self) -> Iterator[Step]:
        model, rows, sampling = self._model, len(self._prompts), self.sampling
        choose = Chooser(sampling, self._prompts)
        ends, pad = end_tokens(model), model.tokenizer.pad_token_id
        tokens: list[list[int]] = [[] for _ in range(rows)]
        finish: list[str | None] = [None] * rows
        batch, logits, cache = self._batch, self._logits, self._cache
        self._logits = self._cache = None  # a generation is decoded once; its cache is used up
        if logits is None:
            raise RuntimeError("This generation was iterated already; call generate again.")
        began = time.perf_counter()
        with ExitStack() as stack:
            decode = None
            while True:
                for row, token in enumerate(choose(logits, tokens)):
                    if finish[row] is None:
                        finish[row] = grow(tokens[row], token, ends, sampling)
                self.tokens_per_second = sum(map(len, tokens)) / max(time.perf_counter() - began, 1e-9)
                yield Step.of(model, tokens, finish)
                if all(finish):
                    return
                if decode is None:  # after the first token is out, which need not wait for it
                    decode = stack.enter_context(closing(decoder(model, batch, cache, self._weights, sampling.max_new_tokens)))
                    self.engine, cache = decode.name, None
                logits = decode([t[-1] if t and not f else pad for t, f in zip(tokens, finish)])


class Chooser:
    """Picks each row's next token from its own random stream, so that a row in a batch equals the row alone."""

    def __init__(self, sampling: Sampling, prompts: Sequence[Prompt]):
        self._prompts, self._processors, self._greedy = prompts, sampling.processors(), sampling.temperature == 0
        self._random = [torch.Generator().manual_seed(sampling.seed) for _ in prompts]

    def __call__(self, logits: Tensor, tokens: Sequence[Sequence[int]]) -> list[int]:
        logits = logits.float().cpu()
        if not self._processors:
            return logits.argmax(-1).tolist()
        scores = [self._processors(torch.tensor([[*p.ids[p.start:p.end], *t]]), row[None])[0]
                  for p, t, row in zip(self._prompts, tokens, logits)]
        if self._greedy:
            return [int(s.argmax()) for s in scores]
        return [int(torch.multinomial(s.softmax(-1), 1, generator=g)) for s, g in zip(scores, self._random)]


def decoder(model: AtMoe, batch: Batch, cache, weights: Tensor, tokens: int) -> Decoder | Plain:
    """What goes on after a prefill: called with one token a row, it gives the logits of the next. Close it when done.

    batch, cache: as prefilled, the cache used up.  weights: [rows, layers, experts], gain included.  tokens: at most.
    """
    engine = model.engine()
    return Decoder(engine, batch, cache, weights, tokens) if engine else Plain(model, batch, cache, weights)


class Plain:
    """Decodes through transformers, as the prefill ran: for bases of other kinds, and what `Decoder` must equal."""

    name = "plain"

    def __init__(self, model: AtMoe, batch: Batch, cache, weights: Tensor):
        self._model, self._batch, self._cache, self._weights = model, batch, cache, weights

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """One more token of each row → the logits of the next. [rows, vocabulary]"""
        batch, device = self._batch, self._batch.ids.device
        attention = torch.cat([batch.attention, torch.ones(len(tokens), 1, dtype=torch.long, device=device)], 1)
        self._batch = Batch(torch.tensor(tokens, device=device)[:, None], attention, batch.instruction, batch.positions[:, -1:] + 1)
        with torch.inference_mode():
            hidden, _, self._cache = self._model.forward(self._batch, weights=self._weights, logits=False, use_cache=True,
                                                         cache=self._cache)
            return self._model.logits(hidden[:, -1])

    def close(self) -> None:
        """Nothing is held but what goes with it."""


def in_words(model: AtMoe, tokens: Sequence[int]) -> str:
    """An answer so far; a character still missing bytes is held back until they come."""
    return model.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("�").lstrip()


def grow(tokens: list[int], token: int, ends: set[int], sampling: Sampling) -> str | None:
    """Add a chosen token to an answer, unless it ends the turn. → how the answer ended, if it did"""
    if token in ends:
        return "stop"
    tokens.append(token)
    return "length" if len(tokens) == sampling.max_new_tokens else None


def end_tokens(model: AtMoe) -> set[int]:
    """The tokens that end a turn."""
    config = model.base.generation_config
    ends = config.eos_token_id if config is not None else None
    ends = {ends} if isinstance(ends, int) else set(ends or ())
    return ends | ({model.tokenizer.eos_token_id} - {None})
