"""Generate: prefill, cache, stream. The plan is fixed while an answer is decoded, so a row costs what LoRA costs.

A cache belongs to the plans it was filled under and lives inside one `Generation`: a changed plan is a new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from atmoe.answer.decoder import decoder
from atmoe.answer.engine import Engine
from atmoe.answer.kept import Kept
from atmoe.answer.prefill import prefill
from atmoe.answer.sampling import Chooser, Sampling
from atmoe.errors import PromptError
from atmoe.mixture.mixture import Mixture
from atmoe.prompt import Prompt
from atmoe.routing.plan import RoutingPlan


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
    def of(
        cls, model: Mixture, tokens: Sequence[Sequence[int]], finish: Sequence[str | None]
    ) -> Step:
        return cls(
            tuple(in_words(model, t) for t in tokens), tuple(map(tuple, tokens)), tuple(finish)
        )


class Generation:
    """Rows being answered. Iterating decodes; dropping the iterator stops at once.

    plans: the plan of each row, known from the start.  prefill_seconds, tokens_per_second (of all rows together).
    engine: what decodes. "lean" (see `atmoe.answer.engine`), once it has begun "lean, folded" where all rows have one plan and the
    copy of the weights was free (in bfloat16 the two round differently); "plain" where the base is of another kind, and
    transformers decodes.
    """

    def __init__(
        self,
        model: Mixture,
        prompts: Sequence[Prompt],
        plans: Sequence[RoutingPlan] | None,
        sampling: Sampling,
        kept: Kept | None = None,
    ):
        if not prompts:
            raise PromptError("There is no prompt to answer; give at least one.")
        self.sampling, self._model, self._prompts = sampling, model, prompts
        began = time.perf_counter()
        self._logits, self.plans, self._cache, self._batch = prefill(
            model, prompts, plans, kept=kept
        )
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
                self.tokens_per_second = sum(map(len, tokens)) / max(
                    time.perf_counter() - began, 1e-9
                )
                yield Step.of(model, tokens, finish)
                if all(finish):
                    return
                if decode is None:  # after the first token is out, which need not wait for it
                    decode = stack.enter_context(
                        closing(
                            decoder(model, batch, cache, self._weights, sampling.max_new_tokens)
                        )
                    )
                    self.engine, cache = decode.name, None
                logits = decode([t[-1] if t and not f else pad for t, f in zip(tokens, finish)])

    def run(self) -> Step:
        """Decode to the end. → the last step"""
        for step in self:
            pass
        return step


def generate(
    mixture: Mixture,
    prompts: Sequence[str],
    plans: Sequence[RoutingPlan] | None = None,
    sampling: Sampling = Sampling(),
    kept: Kept | None = None,
) -> Generation:
    """See `AtMoe.generate`."""
    if isinstance(prompts, str):
        raise PromptError("Prompts must be a list; put a single one in brackets.")
    return Generation(mixture, [mixture.encode(p) for p in prompts], plans, sampling, kept)


def in_words(model: Mixture, tokens: Sequence[int]) -> str:
    """An answer so far; a character still missing bytes is held back until they come."""
    return model.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("�").lstrip()


def grow(tokens: list[int], token: int, ends: set[int], sampling: Sampling) -> str | None:
    """Add a chosen token to an answer, unless it ends the turn. → how the answer ended, if it did"""
    if token in ends:
        return "stop"
    tokens.append(token)
    return "length" if len(tokens) == sampling.max_new_tokens else None


def end_tokens(model: Mixture) -> set[int]:
    """The tokens that end a turn."""
    config = model.base.generation_config
    ends = config.eos_token_id if config is not None else None
    ends = {ends} if isinstance(ends, int) else set(ends or ())
    return ends | ({model.tokenizer.eos_token_id} - {None})
