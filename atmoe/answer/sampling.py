"""How tokens are chosen, and who chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from atmoe.errors import SamplingError
from atmoe.prompt import Prompt

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
        kinds = {
            "max_new_tokens": int,
            "temperature": float,
            "top_p": float,
            "seed": int,
            "repetition_penalty": float,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, Real) or (kind is int and value != value // 1):
                raise SamplingError(
                    f"{name} must be a {'whole ' if kind is int else ''}number, not {value!r}."
                )
        checks = (
            (
                1 <= self.max_new_tokens <= MAX_NEW_TOKENS,
                f"max_new_tokens must be between 1 and {MAX_NEW_TOKENS}",
            ),
            (
                self.temperature == 0 or 0.01 <= self.temperature <= 2,
                "temperature must be 0, or between 0.01 and 2",
            ),
            (0 < self.top_p <= 1, "top_p must be above 0 and at most 1"),
            (0 <= self.seed < 2**63, "seed must be a whole number from 0 up"),
            (1 <= self.repetition_penalty <= 2, "repetition_penalty must be between 1 and 2"),
        )
        for holds, sentence in checks:
            if not holds:
                raise SamplingError(sentence + ".")
        for (
            name,
            kind,
        ) in kinds.items():  # a slider's 160.0 is 160, a person's temperature of 1 is 1.0
            object.__setattr__(self, name, kind(getattr(self, name)))

    def processors(self) -> LogitsProcessorList:
        wanted = [
            (
                self.repetition_penalty != 1,
                lambda: RepetitionPenaltyLogitsProcessor(self.repetition_penalty),
            ),
            (self.temperature > 0, lambda: TemperatureLogitsWarper(self.temperature)),
            (self.temperature > 0 and self.top_p < 1, lambda: TopPLogitsWarper(self.top_p)),
        ]
        return LogitsProcessorList(make() for wanted_now, make in wanted if wanted_now)


class Chooser:
    """Picks each row's next token from its own random stream, so that a row in a batch equals the row alone."""

    def __init__(self, sampling: Sampling, prompts: Sequence[Prompt]):
        self._prompts, self._processors, self._greedy = (
            prompts,
            sampling.processors(),
            sampling.temperature == 0,
        )
        self._random = [torch.Generator().manual_seed(sampling.seed) for _ in prompts]

    def __call__(self, logits: Tensor, tokens: Sequence[Sequence[int]]) -> list[int]:
        logits = logits.float().cpu()
        if not self._processors:
            return logits.argmax(-1).tolist()
        scores = [
            self._processors(torch.tensor([[*p.ids[p.start : p.end], *t]]), row[None])[0]
            for p, t, row in zip(self._prompts, tokens, logits)
        ]
        if self._greedy:
            return [int(s.argmax()) for s in scores]
        return [
            int(torch.multinomial(s.softmax(-1), 1, generator=g))
            for s, g in zip(scores, self._random)
        ]
