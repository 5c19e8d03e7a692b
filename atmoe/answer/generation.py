"""Generate: prefill, cache, stream.

The plan is fixed while an answer is decoded, so a row costs what LoRA costs. A cache belongs to the
plans it was filled under and lives inside one `Generation`: a changed plan is a new one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from atmoe.answer.decoder import decoder
from atmoe.answer.engine import Engine
from atmoe.answer.kept import Kept
from atmoe.answer.prefill import prefill
from atmoe.answer.sampling import Chooser, Sampling
from atmoe.errors import PromptError, SamplingError
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan


@dataclass(frozen=True)
class Step:
    """The state of all rows after one more token.

    Attributes:
        texts: the answer so far.
        tokens: its ids, without the end-of-turn.
        finish: None while a row is going on, then "stop" (it ended its turn) or "length"
            (max_new_tokens reached).
    """

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    finish: tuple[str | None, ...]

    @classmethod
    def of(
        cls, mixture: Mixture, tokens: Sequence[Sequence[int]], finish: Sequence[str | None]
    ) -> Step:
        """The step at which the rows have these tokens and have ended, or not, like this."""
        texts = tuple(in_words(mixture, row) for row in tokens)
        return cls(texts, tuple(tuple(row) for row in tokens), tuple(finish))


class Generation:
    """Rows being answered. Iterating decodes; dropping the iterator stops at once.

    The arguments are those of `generate`, the prompts encoded.

    Attributes:
        plans: the plan of each row, known from the start.
        prefill_seconds: of all rows together.
        tokens_per_second: of all rows together, the ends of turns among them, since their first
            tokens, which the prefill gives; None = nothing more was decoded.
        engine: what decodes. "lean" (`atmoe.answer.engine`), and once it has begun "lean, folded"
            where all rows have one plan and the copy of the weights was free (in bfloat16 the two
            round differently); "plain" where the base is of another kind, and transformers decodes.

    Raises:
        PromptError: no prompt, or one that is too long for the base with its answer.
        SamplingError: not one seed a prompt.
    """

    def __init__(
        self,
        mixture: Mixture,
        prompts: Sequence[Prompt],
        plans: Sequence[RoutingPlan] | None,
        sampling: Sampling,
        kept: Kept | None = None,
        seeds: Sequence[int] | None = None,
    ):
        if not prompts:
            raise PromptError("There is no prompt to answer; give at least one.")
        if seeds is not None and len(seeds) != len(prompts):
            raise SamplingError(
                f"There are {len(seeds)} seeds for {len(prompts)} prompts; give one a prompt."
            )
        for prompt in prompts:
            mixture.must_fit(prompt, sampling.max_new_tokens)
        self._seeds = seeds
        self.sampling = sampling
        self._mixture = mixture
        self._prompts = prompts
        began = time.perf_counter()
        self._logits, self.plans, self._cache, self._batch = prefill(
            mixture, prompts, plans, kept=kept
        )
        self.prefill_seconds = time.perf_counter() - began
        self.tokens_per_second: float | None = None
        self._weights = mixture.weights_of(self.plans, len(prompts))
        self.engine = "lean" if Engine.knows(mixture) else "plain"

    def __iter__(self) -> Iterator[Step]:
        mixture, sampling, rows = self._mixture, self.sampling, len(self._prompts)
        choose = Chooser(sampling, self._prompts, self._seeds)
        ends, pad = end_tokens(mixture), mixture.tokenizer.pad_token_id
        tokens: list[list[int]] = [[] for _ in range(rows)]
        finish: list[str | None] = [None] * rows
        batch, logits, cache = self._batch, self._logits, self._cache
        self._logits = self._cache = None  # a generation is decoded once; its cache is used up
        if logits is None:
            raise RuntimeError("This generation was iterated already; call generate again.")
        began, decoded = 0.0, 0
        with ExitStack() as stack:
            decode = None
            while True:
                # 1. choose the next token of each row that goes on
                going_on = finish.count(None)
                for row, token in enumerate(choose(logits, tokens)):
                    if finish[row] is None:
                        finish[row] = grow(tokens[row], token, ends, sampling)
                # 2. show them
                now = time.perf_counter()
                if decode is None:
                    began = now
                else:
                    decoded += going_on
                    self.tokens_per_second = decoded / max(now - began, 1e-9)
                yield Step.of(mixture, tokens, finish)
                if all(finish):
                    return
                # 3. decode one more; the first token is out and need not wait for the decoder
                if decode is None:
                    most = sampling.max_new_tokens
                    decode = decoder(mixture, batch, cache, self._weights, most)
                    stack.enter_context(closing(decode))
                    self.engine, cache = decode.name, None
                logits = decode([t[-1] if t and not f else pad for t, f in zip(tokens, finish)])

    def run(self) -> Step:
        """Decode to the end; returns the last step."""
        [last] = deque(self, maxlen=1)
        return last


def generate(
    mixture: Mixture,
    prompts: Sequence[str],
    plans: Sequence[RoutingPlan] | None = None,
    sampling: Sampling = Sampling(),
    kept: Kept | None = None,
    seeds: Sequence[int] | None = None,
) -> Generation:
    """Answer each prompt under its own plan; iterate the result for steps as they are decoded.

    Args:
        mixture: what answers.
        prompts: what a person typed, at least one.
        plans: one a prompt; None routes each prompt in the prefill itself. The plans used are
            `.plans` of the result.
        sampling: how tokens are chosen.
        kept: of one prompt: filled by the router's own prefill, and later ones begin where their
            plan parts from the router's.
        seeds: one a prompt, in place of the sampling's own for all; a row is then what its prompt
            is alone, with a sampling of that seed.

    Raises:
        PromptError, PlanError, SamplingError: before anything runs.
    """
    if isinstance(prompts, str):
        raise PromptError("Prompts must be a list; put a single one in brackets.")
    encoded = [mixture.encode(prompt) for prompt in prompts]
    return Generation(mixture, encoded, plans, sampling, kept, seeds)


def in_words(mixture: Mixture, tokens: Sequence[int]) -> str:
    """An answer so far; a character still missing bytes is held back until they come."""
    return mixture.tokenizer.decode(tokens, skip_special_tokens=True).rstrip("�").lstrip()


def grow(tokens: list[int], token: int, ends: set[int], sampling: Sampling) -> str | None:
    """Add a chosen token to an answer, unless it ends the turn.

    Returns:
        How the answer ended, if it did: "stop" or "length".
    """
    if token in ends:
        return "stop"
    tokens.append(token)
    return "length" if len(tokens) == sampling.max_new_tokens else None


def end_tokens(mixture: Mixture) -> set[int]:
    """The tokens that end a turn."""
    config = mixture.base.generation_config
    ends = config.eos_token_id if config is not None else None
    ends = {ends} if isinstance(ends, int) else set(ends or ())
    return ends | ({mixture.tokenizer.eos_token_id} - {None})
