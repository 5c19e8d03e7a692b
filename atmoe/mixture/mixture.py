"""What a plan is applied to: a frozen base model, its bank of experts and its router.

    prompts ─ collate ─► forward(batch, plans) ─► hidden states ─ logits ─► vocabulary
                              │
                              └ no plans: the router reads the instruction as it enters each layer

Plans are arguments. Nothing that a call sets outlives it, so calls may interleave.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from atmoe.errors import PlanError, PromptError
from atmoe.mixture.base_loading import scaled_and_capped
from atmoe.mixture.config import Info
from atmoe.mixture.experts import ExpertBank, Mixing, decoder_layers, mixed_by
from atmoe.mixture.int4 import Int4Linear
from atmoe.mixture.int8 import Int8Linear
from atmoe.mixture.passes import entering, entry_hook
from atmoe.mixture.planning import First, first_reading
from atmoe.prompt.batch import Batch, collate
from atmoe.prompt.template import Prompt, encode_prompt, encode_text
from atmoe.prompt.words import check_text
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.routing.router import GroupedRouter, pool_instruction


class Mixture:
    """The machine that everything else takes: it encodes, runs one forward pass, and scores.

    Attributes:
        base: the frozen causal language model, the experts in its linears.
        tokenizer: the base's.
        bank: the experts.
        router: the one that was trained with them.
        info: where the model comes from and what it may be asked.
        layout: the names of the groups, experts and layers.
        base_parameters: how many the base model alone has.
        engine: what decodes fast, held here by `atmoe.answer.engine` so that it goes with the
            model.
        fusing: held while that is made.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        bank: ExpertBank,
        router: GroupedRouter,
        info: Info,
        base_parameters: int,
    ):
        self.base = model.eval()
        self.tokenizer = tokenizer
        self.bank = bank
        self.router = router
        self.info = info
        self.layout: Layout = router.layout
        self.base_parameters = base_parameters
        self.engine: Any = None
        self.fusing = threading.Lock()
        for index, layer in enumerate(decoder_layers(model)[0]):
            layer.register_forward_pre_hook(entry_hook(index), with_kwargs=True)

    @property
    def device(self) -> torch.device:
        """Where the base's weights are; `to` moves all parts together."""
        return self.base.get_input_embeddings().weight.device

    @property
    def precision(self) -> str:
        """What it computes in: one of `atmoe.mixture.precision.NAMES`."""
        linears = [linear.linear for linear in self.bank.linears.values()]
        for kind, name in ((Int8Linear, "int8"), (Int4Linear, "int4")):
            if any(isinstance(linear, kind) for linear in linears):
                return name
        return self.computed

    @property
    def computed(self) -> str:
        """What activations and experts are in, whatever the base's weights are read as."""
        return str(self.bank.dtype).removeprefix("torch.")

    def to(self, device: torch.device | str) -> Self:
        """Move the base, the experts and the router; returns the model itself."""
        for part in (self.base, self.bank, self.router):
            part.to(device)
        return self

    # -- text to tokens -----------------------------------------------------------------------

    def encode(self, prompt: str) -> Prompt:
        """A question, checked and put into the base's chat template.

        Raises:
            PromptError: it is empty, too long, or no text that the experts can read.
        """
        most = min(self.info.max_prompt_tokens, self.positions - 1)
        return encode_prompt(self.tokenizer, prompt, most, self.info.scripts)

    @property
    def positions(self) -> int:
        """How many tokens the base was made to read; without a limit where its config has none."""
        config = self.base.config.get_text_config()
        return getattr(config, "max_position_embeddings", None) or sys.maxsize

    def must_fit(self, prompt: Prompt, answer: int) -> None:
        """Nothing, where the base can read a question and its answer.

        Args:
            prompt: the question.
            answer: how many tokens the answer has, or may have.

        Raises:
            PromptError: they are too long together.
        """
        if len(prompt.ids) + answer > self.positions:
            raise PromptError(
                f"A question of {len(prompt.ids):,} tokens and an answer of up to {answer:,} are "
                f"more than the {self.positions:,} that this base reads; shorten one of them."
            )

    def encode_answer(self, answer: str) -> list[int]:
        """The token ids of a given answer.

        Raises:
            PromptError: it holds no text, or more tokens than a prompt may have.
        """
        tokens = encode_text(self.tokenizer, check_text(answer, "answer"))
        limit = self.info.max_prompt_tokens
        if len(tokens) > limit:
            raise PromptError(
                f"The answer has {len(tokens):,} tokens; shorten it to at most {limit:,}."
            )
        return tokens

    def collate(
        self,
        prompts: Sequence[Prompt],
        tails: Sequence[Sequence[int]] | None = None,
        side: str = "left",
    ) -> Batch:
        """Prompts, each followed by its tail of answer tokens if any, as one batch.

        Args:
            prompts: at least one.
            tails: token ids, one tail a prompt.
            side: where padding goes, "left" or "right".
        """
        return collate(
            prompts,
            tails,
            pad=self.tokenizer.pad_token_id,
            side=side,
            multiple=16 if self.bank.dtype is torch.bfloat16 else 1,
            device=self.device,
        )

    # -- one forward pass ---------------------------------------------------------------------

    def forward(
        self,
        batch: Batch,
        plans: Sequence[RoutingPlan] | None = None,
        *,
        weights: Tensor | None = None,
        router: GroupedRouter | None = None,
        first: First | None = None,
        logits: bool = True,
        use_cache: bool = False,
        cache: Any = None,
    ) -> tuple[Tensor, Any, Any]:
        """One forward pass by transformers; all that is trained and scored goes through it.

        Gradients flow where they are enabled.

        Args:
            batch: what `collate` makes.
            plans: one a row.
            weights: [rows, layers, experts], gain included, instead of plans. Where neither is
                given, the router reads the instruction at each layer on the way.
            router: instead of the model's own.
            first: what the planner has read of the batch already.
            logits: False gives the final hidden states.
            use_cache: whether keys and values are returned.
            cache: keys and values of what went before, as transformers holds them.

        Returns:
            Logits [rows, tokens, vocabulary] or hidden states [rows, tokens, hidden]; the plans,
            given or the router's (None where weights were given); and the cache, or None where it
            was not asked for.

        Raises:
            PlanError: not one plan a row, or a plan or weights of another layout.
        """
        # 1. what the experts are mixed by, or who fills that in on the way
        if plans is not None:
            weights = self.weights_of(plans, len(batch.ids))
        mixing = Mixing(self.bank, weights)
        reading = None
        if weights is None:
            router = router or self.router
            first = first or first_reading(self.base, batch, router.planner)
            reading = _Reading(router, mixing, batch.instruction, first)
        # 2. the pass
        with entering(reading), mixed_by(mixing):
            out = self.base.base_model(
                input_ids=batch.ids,
                attention_mask=batch.attention,
                position_ids=batch.positions,
                use_cache=use_cache,
                past_key_values=cache,
            )
        # 3. what came of it
        if reading is not None:
            plans = reading.plans(self.layout)
        hidden = out.last_hidden_state
        return (
            self.logits(hidden) if logits else hidden,
            plans,
            out.past_key_values if use_cache else None,
        )

    def logits(self, states: Tensor) -> Tensor:
        """Vocabulary projection of final hidden states, with the soft cap of some families."""
        return self.capped(self.base.get_output_embeddings()(states))

    def capped(self, logits: Tensor) -> Tensor:
        """Logits as the base scales and caps them, where it does: Cohere, Granite, Gemma."""
        return scaled_and_capped(self.base, logits)

    def weights_of(self, plans: Sequence[RoutingPlan], rows: int) -> Tensor:
        """What the experts of each row are multiplied by: gain · strength · s · q.

        Args:
            plans: one a row.
            rows: how many there must be.

        Returns:
            [rows, layers, experts]

        Raises:
            PlanError: not one plan a row, or a plan of another layout.
        """
        if len(plans) != rows:
            raise PlanError(f"{rows} prompts need {rows} plans, not {len(plans)}.")
        for plan in plans:
            if not isinstance(plan, RoutingPlan) or plan.layout != self.layout:
                raise PlanError(
                    "The plan was made for other groups, experts or layers; route the prompt again."
                )
        mixing = torch.stack([plan.mixing for plan in plans]).to(self.device)
        return mixing * self.router.gain.detach()[None, :, None]

    # -- scoring ------------------------------------------------------------------------------

    def score(self, prompt: str, answer: str, plans: Sequence[RoutingPlan]) -> Tensor:
        """Log-probability of each token of a given answer under each plan, teacher-forced.

        Returns:
            [plans, answer tokens], natural logarithm, float32.

        Raises:
            PromptError: the prompt or the answer cannot be read.
            PlanError: a plan of another layout.
        """
        rows, _ = self.score_rows([prompt] * len(plans), [answer] * len(plans), plans)
        return torch.stack(rows)

    def score_rows(
        self,
        prompts: Sequence[str],
        answers: Sequence[str],
        plans: Sequence[RoutingPlan] | None = None,
        side: str = "left",
    ) -> tuple[list[Tensor], list[RoutingPlan]]:
        """As `score`, for rows of different prompts and answers, in one batch.

        Args:
            prompts: one a row.
            answers: one a row.
            plans: one a row; None = the router's, read in the same pass (a causal model's prompt
                states do not depend on the answer that follows).
            side: where padding goes, "left" or "right".

        Returns:
            One [answer tokens] tensor a row, natural logarithm, float32; and the plans in force.

        Raises:
            PromptError: a prompt or an answer cannot be read, or there is not one of each a row.
            PlanError: not one plan a row, or a plan of another layout.
        """
        tails = [self.encode_answer(answer) for answer in answers]
        return self.score_tokens(prompts, tails, plans, side)

    def score_tokens(
        self,
        prompts: Sequence[str],
        tails: Sequence[Sequence[int]],
        plans: Sequence[RoutingPlan] | None = None,
        side: str = "left",
    ) -> tuple[list[Tensor], list[RoutingPlan]]:
        """As `score_rows`, for answers that are token ids, at least one each.

        A generated answer's text may be read as other tokens than it was made of.
        """
        # 1. the rows, and where each answer begins
        if not prompts or len(prompts) != len(tails) or not all(tails):
            raise PromptError(
                f"{len(prompts)} prompts and {len(tails)} answers cannot be scored; give at "
                f"least one prompt, and an answer that is not empty and a plan for each."
            )
        encoded = [self.encode(prompt) for prompt in prompts]
        for question, tail in zip(encoded, tails):
            self.must_fit(question, len(tail))
        batch = self.collate(encoded, tails, side)
        first = batch.attention.argmax(1)  # where each row's text begins
        # The state that predicts token 0 of each answer.
        starts = [int(f) + len(p.ids) - 1 for f, p in zip(first, encoded)]
        with torch.inference_mode():
            # 2. the states that predict the answers' tokens
            hidden, in_force, _ = self.forward(batch, plans, logits=False)
            # The vocabulary projection is the largest matrix product of all: answer tokens only.
            states = torch.cat(
                [hidden[i, s : s + len(t)] for i, (s, t) in enumerate(zip(starts, tails))]
            )
            # 3. what each of them says of the token that follows
            targets = torch.tensor([t for tail in tails for t in tail], device=states.device)
            parts = []
            for part, wanted in zip(states.split(512), targets.split(512)):
                logp = self.logits(part).float().log_softmax(-1)
                parts.append(logp.gather(1, wanted[:, None])[:, 0])
        return list(torch.cat(parts).cpu().split([len(t) for t in tails])), in_force


@dataclass
class _Reading:
    """The router at work during one forward pass: fills the mixing and keeps the shares."""

    router: GroupedRouter
    mixing: Mixing
    instruction: Tensor
    first: First
    shares: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        s, q = self.router(pool_instruction(hidden, self.instruction), layer, self.first.team)
        self.shares.append((s, q))
        self.mixing.set_layer(layer, self.router.mixing(s, q, layer))

    def plans(self, layout: Layout) -> list[RoutingPlan]:
        s, q = (torch.stack(parts, 1) for parts in zip(*self.shares))
        told = [self.first.of(row) for row in range(len(s))]
        return [
            RoutingPlan(layout, s[row], q[row], first=first, likely=likely)
            for row, (first, likely) in enumerate(told)
        ]
