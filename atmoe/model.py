"""AtMoe: a frozen language model, its grouped experts and its router, behind four calls.

    plan    = model.route(prompt)                       the router's own plan, from one prefill
    steered = steering.apply(plan)                      pure
    answer  = model.generate([prompt], [steered])       any plan per row of a batch; streams
    logp    = model.score(prompt, answer, [plan, ...])  log-probabilities of a given answer under several plans

Plans and steering are arguments. Nothing a call sets outlives it, so calls may interleave.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from atmoe import prefill, store
from atmoe.decode import Generation, Sampling
from atmoe.engine import Engine
from atmoe.errors import PlanError, PromptError
from atmoe.experts import ExpertBank, Mixing, decoder_layers, mixed_by
from atmoe.fused import Lease
from atmoe.int8 import Int8Linear
from atmoe.kept import Kept
from atmoe.passes import entering, telling_of
from atmoe.plan import Layout, RoutingPlan
from atmoe.prompt import Batch, Prompt, check_text, collate, encode_prompt, encode_text
from atmoe.record import Record
from atmoe.router import GroupedRouter, pool_instruction
from atmoe.steering import Steering
from atmoe.store import Info


class AtMoe:
    """See the module. `layout` names the groups, experts and layers."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, bank: ExpertBank,
                 router: GroupedRouter, info: Info):
        self.base, self.tokenizer, self.bank, self.router, self.info = model.eval(), tokenizer, bank, router, info
        self.layout: Layout = router.layout
        # Counted before int8 parts a head from the embedding that it shared.
        self.base_parameters = model.num_parameters() - sum(x.A.numel() + x.B.numel() for x in bank.linears.values())
        self._engine, self._fusing = None, threading.Lock()
        for index, layer in enumerate(decoder_layers(model)[0]):
            layer.register_forward_pre_hook(telling_of(index), with_kwargs=True)

    # -- load and save ------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, path: str | Path, base: str | Path | None = None,
                        dtype: torch.dtype | str = torch.float32, check_base: bool = True) -> AtMoe:
        """Load a saved AT-MoE and the base model it belongs to.

        base: a path or hub id; default: the base that `path` names (see `atmoe.base.fetch`).
        dtype: float32 or bfloat16; or by name, "int8" and "auto" (what the machine is quick in) too (see `atmoe.precision`).

        Raises:
            AssetError: something under `path` is missing, corrupt, or made for another base.
            BaseModelError: the base model cannot be had.
        """
        return store.load(cls, path, base, dtype, check_base)

    def save_pretrained(self, path: str | Path) -> None:
        """Write experts (PEFT format), router and atmoe.json; `from_pretrained` gives an equal model."""
        store.save(self, path)

    @property
    def device(self) -> torch.device:
        return self.base.get_input_embeddings().weight.device

    @property
    def precision(self) -> str:
        """"float32", "bfloat16" or "int8"."""
        quantised = any(isinstance(linear.linear, Int8Linear) for linear in self.bank.linears.values())
        return "int8" if quantised else str(self.bank.dtype).removeprefix("torch.")

    def to(self, device: torch.device | str) -> AtMoe:
        """Move the base, the experts and the router; returns the model itself."""
        for part in (self.base, self.bank, self.router):
            part.to(device)
        return self

    # -- the four calls -----------------------------------------------------------------------------------------

    def route(self, prompt: str, kept: Kept | None = None) -> RoutingPlan:
        """The router's own plan for a prompt.

        kept: see `generate`.

        Raises:
            PromptError: the prompt cannot be read (see `atmoe.prompt`).
        """
        return self.prefill([self.encode(prompt)], None, use_cache=False, kept=kept)[1][0]

    def generate(self, prompts: Sequence[str], plans: Sequence[RoutingPlan] | None = None,
                 sampling: Sampling = Sampling(), kept: Kept | None = None) -> Generation:
        """Answer each prompt under its own plan; iterate the result for steps as they are decoded.

        plans: one a prompt; None routes each prompt in the prefill itself. The plans used are `.plans` of the
        result.
        kept: of one prompt: filled by the router's own prefill, and later ones begin where their plan parts from the router's.

        Raises:
            PromptError, PlanError: before anything runs.
        """
        if isinstance(prompts, str):
            raise PromptError("Prompts must be a list; put a single one in brackets.")
        return Generation(self, [self.encode(p) for p in prompts], plans, sampling, kept)

    def answer(self, prompt: str, steering: Steering = Steering(), sampling: Sampling = Sampling()) -> Record:
        """One prompt, answered to the end under the router's plan as steered.

        Raises:
            PromptError, SteeringError: before anything is decoded.
        """
        if steering.untouched:
            generation = self.generate([prompt], None, sampling)
            router_plan = generation.plans[0]
        else:
            router_plan = self.route(prompt, kept := Kept())
            generation = self.generate([prompt], [steering.apply(router_plan)], sampling, kept)
        for step in generation:
            pass
        return Record.of(self, prompt, steering, router_plan, generation, step)

    def score(self, prompt: str, answer: str, plans: Sequence[RoutingPlan]) -> Tensor:
        """Log-probability of each token of a given answer under each plan, teacher-forced in one batch.

        → [plans, answer tokens], natural logarithm, float32

        Raises:
            PromptError: the prompt or the answer cannot be read.
        """
        return torch.stack(self.score_rows([prompt] * len(plans), [answer] * len(plans), plans)[0])

    # -- what they are made of ----------------------------------------------------------------------------------

    def encode(self, prompt: str) -> Prompt:
        return encode_prompt(self.tokenizer, prompt, self.info.max_prompt_tokens, self.info.scripts)

    def encode_answer(self, answer: str) -> list[int]:
        tokens = encode_text(self.tokenizer, check_text(answer, "answer"))
        if len(tokens) > self.info.max_prompt_tokens:
            raise PromptError(f"The answer has {len(tokens):,} tokens; shorten it to at most "
                              f"{self.info.max_prompt_tokens:,}.")
        return tokens

    def collate(self, prompts: Sequence[Prompt], tails: Sequence[Sequence[int]] | None = None,
                side: str = "left") -> Batch:
        multiple = 16 if self.bank.dtype is torch.bfloat16 else 1
        return collate(prompts, tails, pad=self.tokenizer.pad_token_id, side=side, multiple=multiple, device=self.device)

    def score_rows(self, prompts: Sequence[str], answers: Sequence[str], plans: Sequence[RoutingPlan] | None = None,
                   side: str = "left") -> tuple[list[Tensor], list[RoutingPlan]]:
        """As `score`, for rows of different prompts and answers; plans None = the router's, read in the same pass
        (a causal model's prompt states do not depend on the answer that follows).

        → one [answer tokens] tensor a row, and the plans in force
        """
        if not prompts or len(prompts) != len(answers):
            raise PromptError(f"{len(prompts)} prompts and {len(answers)} answers cannot be scored; give at least one "
                              f"prompt, and an answer and a plan for each.")
        encoded, tails = [self.encode(p) for p in prompts], [self.encode_answer(a) for a in answers]
        batch = self.collate(encoded, tails, side)
        first = batch.attention.argmax(1)  # where each row's text begins
        starts = [int(f) + len(p.ids) - 1 for f, p in zip(first, encoded)]  # the state that predicts token 0
        with torch.inference_mode():
            hidden, plans, _ = self.forward(batch, plans, logits=False)
            # The vocabulary projection is the largest matrix product of all: answer tokens only.
            states = torch.cat([hidden[i, s:s + len(t)] for i, (s, t) in enumerate(zip(starts, tails))])
            targets = torch.tensor([t for tail in tails for t in tail], device=states.device)
            logp = torch.cat([self.logits(part).float().log_softmax(-1).gather(1, want[:, None])[:, 0]
                              for part, want in zip(states.split(512), targets.split(512))])
        return list(logp.cpu().split([len(t) for t in tails])), plans

    def prefill(self, prompts: Sequence[Prompt], plans: Sequence[RoutingPlan] | None, use_cache: bool = True,
                kept: Kept | None = None, lease: Lease | None = None):
        """Run prompts through the model once. → (logits of the last token [rows, vocabulary] or None, plans,
        cache, batch)

        kept: see `generate`.  lease: see `atmoe.prefill`. Both are for one prompt, and a base that the engine knows.
        """
        if plans is not None:
            self.weights_of(plans, len(prompts))  # refuses what does not fit
        engine = self.engine() if len(prompts) == 1 else None
        if kept is not None:
            kept.reused = 0
        with torch.inference_mode():
            if engine is not None:
                state, plan, cache, batch = prefill.read(engine, prompts[0], plans[0] if plans else None, kept, lease)
                return engine.logits(state) if use_cache else None, [plan], cache, batch
            batch = self.collate(prompts)
            hidden, plans, cache = self.forward(batch, plans, logits=False, use_cache=use_cache)
            return self.logits(hidden[:, -1]) if use_cache else None, plans, cache, batch

    def engine(self) -> Engine | None:
        """What decodes fast; None where the base is of a kind that it does not know, and transformers decodes."""
        with self._fusing:
            if not Engine.knows(self):
                return None
            if self._engine is None or not self._engine.fresh:
                self._engine = Engine(self)
            return self._engine

    def logits(self, states: Tensor) -> Tensor:
        """Vocabulary projection of final hidden states, with the soft cap that some families add."""
        return self.capped(self.base.get_output_embeddings()(states))

    def capped(self, logits: Tensor) -> Tensor:
        """Logits under the soft cap of the base, where it has one."""
        cap = getattr(self.base.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def forward(self, batch: Batch, plans: Sequence[RoutingPlan] | None = None, *, weights: Tensor | None = None,
                router: GroupedRouter | None = None, logits: bool = True, use_cache: bool = False, cache=None):
        """One forward pass by transformers; all that is trained and scored goes through it. Gradients flow where they are enabled.

        plans: one a row; or `weights` [rows, layers, experts], gain included; neither = the router (the model's
        own, or the one given) reads the instruction at each layer on the way
        → (logits [rows, tokens, vocabulary] or final hidden states, plans, cache)
        """
        if plans is not None:
            weights = self.weights_of(plans, len(batch.ids))
        mixing = Mixing(self.bank, weights)
        routing = _Routing(router or self.router, mixing, batch.instruction) if weights is None else None
        with entering(routing), mixed_by(mixing):
            out = self.base.base_model(input_ids=batch.ids, attention_mask=batch.attention,
                                       position_ids=batch.positions, use_cache=use_cache, past_key_values=cache)
        if routing is not None:
            plans = routing.plans(self.layout)
        hidden = out.last_hidden_state
        return (self.logits(hidden) if logits else hidden), plans, out.past_key_values if use_cache else None

    def weights_of(self, plans: Sequence[RoutingPlan], rows: int) -> Tensor:
        """What the experts of each row are multiplied by: gain · strength · s · q. [rows, layers, experts]

        Raises:
            PlanError: not one plan a row, or a plan of another layout.
        """
        if len(plans) != rows:
            raise PlanError(f"{rows} prompts need {rows} plans, not {len(plans)}.")
        for plan in plans:
            if not isinstance(plan, RoutingPlan) or plan.layout != self.layout:
                raise PlanError("The plan was made for other groups, experts or layers; route the prompt again.")
        mixing = torch.stack([plan.mixing for plan in plans]).to(self.device)
        return mixing * self.router.gain.detach()[None, :, None]


@dataclass
class _Routing:
    """The router at work during one forward pass: fills the mixing layer by layer and keeps the shares."""

    router: GroupedRouter
    mixing: Mixing
    instruction: Tensor
    shares: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def enter(self, layer: int, hidden: Tensor, args: tuple, kwargs: dict) -> None:
        s, q = self.router(pool_instruction(hidden, self.instruction), layer)
        self.shares.append((s, q))
        self.mixing.set_layer(layer, self.router.mixing(s, q, layer))

    def plans(self, layout: Layout) -> list[RoutingPlan]:
        s, q = (torch.stack(parts, 1) for parts in zip(*self.shares))
        return [RoutingPlan(layout, s[row], q[row]) for row in range(len(s))]
