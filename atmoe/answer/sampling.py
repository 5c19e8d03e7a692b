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
from atmoe.prompt.template import Prompt

MAX_NEW_TOKENS = 1024


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: at most this many.
        temperature: 0 = greedy, the most likely token each time.
        top_p: nucleus, only above temperature 0.
        seed: of each row's own random stream, only above temperature 0.
        repetition_penalty: 1 = none (arXiv 1909.05858).

    Raises:
        SamplingError: a setting is no number, or out of its range.
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
            (0 <= self.seed < 2**63, "seed must be a whole number from 0 up, and below 2**63"),
            (1 <= self.repetition_penalty <= 2, "repetition_penalty must be between 1 and 2"),
        )
        for holds, sentence in checks:
            if not holds:
                raise SamplingError(sentence + ".")
        # A slider's 160.0 is 160, a person's temperature of 1 is 1.0.
        for name, kind in kinds.items():
            object.__setattr__(self, name, kind(getattr(self, name)))

    def processors(self) -> LogitsProcessorList:
        """What the logits go through before a token is chosen, in this order; empty if nothing."""
        processors = LogitsProcessorList()
        if self.repetition_penalty != 1:
            processors.append(RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.temperature > 0:
            processors.append(TemperatureLogitsWarper(self.temperature))
        if self.temperature > 0 and self.top_p < 1:
            processors.append(TopPLogitsWarper(self.top_p))
        return processors


class Chooser:
    """Picks each row's next token from its own random stream: a row in a batch is the row alone.

    Args:
        sampling: how tokens are chosen.
        prompts: one a row.
        seeds: one a row; None = that of `sampling` for all.
    """

    def __init__(
        self, sampling: Sampling, prompts: Sequence[Prompt], seeds: Sequence[int] | None = None
    ):
        self._prompts = prompts
        self._processors = sampling.processors()
        self._greedy = sampling.temperature == 0
        if seeds is None:
            seeds = [sampling.seed] * len(prompts)
        self._random = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, logits: Tensor, tokens: Sequence[Sequence[int]]) -> list[int]:
        """The next token of each row.

        Args:
            logits: [rows, vocabulary]
            tokens: what each row has answered so far. It and the words of the prompt, not the
                template around them, are what a repetition is counted against.
        """
        logits = logits.float().cpu()
        if not self._processors:
            return logits.argmax(-1).tolist()
        scores = []
        for prompt, answer, row in zip(self._prompts, tokens, logits):
            seen = torch.tensor([[*prompt.ids[prompt.start : prompt.end], *answer]])
            scores.append(self._processors(seen, row[None])[0])
        if self._greedy:
            return [int(row.argmax()) for row in scores]
        return [
            int(torch.multinomial(row.softmax(-1), 1, generator=generator))
            for row, generator in zip(scores, self._random)
        ]


def logp_of(logits: Tensor, token: int) -> float:
    """Log-probability of one token, in nats.

    Args:
        logits: [1, vocabulary]
        token: its id.
    """
    row = logits[0].float()
    return float(row[token] - row.logsumexp(-1))
