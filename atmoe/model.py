"""AtMoe: a frozen language model, its grouped experts and its router, behind four calls.

plan    = model.route(prompt)                       the router's own plan, from one prefill
steered = steering.apply(plan)                      pure
answer  = model.generate([prompt], [steered])       any plan per row of a batch; streams
logp    = model.score(prompt, answer, [plan, ...])  log-probabilities of a given answer
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin
from torch import Tensor

from atmoe.answer.generation import Generation, generate
from atmoe.answer.kept import Kept
from atmoe.answer.prefill import prefill
from atmoe.answer.sampling import Sampling
from atmoe.errors import AssetError
from atmoe.explanation.spans import token_texts
from atmoe.flags.flagged import flagged
from atmoe.flags.untaught import Words
from atmoe.mixture import store
from atmoe.mixture.config import CONFIG, sha256_at
from atmoe.mixture.hub import CARD, PARTS, card_of, folder_of, set_aside, take_along
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.precision import placed
from atmoe.prompt.template import Prompt
from atmoe.prompt.words import check_question
from atmoe.record import Record
from atmoe.routing.plan import RoutingPlan
from atmoe.sources.index import FOLDER, Index
from atmoe.sources.value import Found, Source
from atmoe.steering.overrides import Steering

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Routed:
    """A question, and the plan that it is answered by.

    Attributes:
        prompt: the question.
        steering: what changed the router's plan.
        router_plan: what the router gave.
        plan: the one in force.
        found: what the model's index says of the question; None = not measured.
        model: whose plan it is, as a record names it.
    """

    prompt: str
    steering: Steering
    router_plan: RoutingPlan
    plan: RoutingPlan
    found: Found | None
    model: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes; what was not measured is absent."""
        found = self.found.to_dict() if self.found else {}
        named = {"model": dict(self.model), "steering": self.steering.to_dict()}
        return named | self.plan.to_dict() | found


@dataclass(frozen=True)
class Scored:
    """The log-probability of each token of an answer, in nats, and the tokens' texts.

    Attributes:
        steering: what changed the router's plan.
    """

    logp: Sequence[float]
    tokens: Sequence[str]
    steering: Steering

    @property
    def mean(self) -> float:
        """Nats a token."""
        return sum(self.logp) / len(self.logp)

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes, with the mean."""
        return {
            "mean_logprob": self.mean,
            "token_logprobs": list(self.logp),
            "tokens": list(self.tokens),
            "steering": self.steering.to_dict(),
        }


class AtMoe(Mixture, ModelHubMixin):
    """The public face of a `Mixture`: load, save, push, route, answer, score.

    Plans and steering are arguments. Nothing that a call sets outlives it, so calls may interleave.

    Attributes:
        index: of what the experts learned from; None = there is none, and where answers come from
            is not measured.
        words: that the experts saw and the base knows; None = there is no list of them.
    """

    index: Index | None = None
    words: Words | None = None
    _hub_mixin_config: Any = {}  # noqa: RUF012  # atmoe.json says it all, and config.json nothing
    _folder: Path | None = None  # that it was loaded from

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        base: str | Path | None = None,
        dtype: torch.dtype | str = "float32",
        check_base: bool = True,
        device: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Load a saved AT-MoE and the base model it belongs to.

        Args:
            path: where `save_pretrained` wrote it; or its name on the hub, "org/name".
            base: a path or hub id; default: the base that `path` names.
            dtype: float32 or bfloat16; by name also "int8", and "auto" for what the machine is
                quick in.
            check_base: False takes another base than the one that `path` was trained on.
            device: "cpu", "cuda", "mps", or "auto" for a GPU where there is one; None = what
                $ATMOE_DEVICE names, and where that names none, "cpu".
            revision: of a model on the hub: a commit, a tag or a branch.

        Raises:
            AssetError: something under `path` is missing, corrupt, or made for another base.
            BaseModelError: the base model cannot be had.
            AtMoeError: no precision or device has that name.
        """
        device, path = placed(device, otherwise="cpu"), folder_of(path, revision)
        model = cls(*store.load(path, base, dtype, check_base, device)).to(device)
        model._folder, folder = path, path / FOLDER
        if folder.is_dir():
            try:
                model.index = model.load_index(folder)
            except AssetError as error:  # it answers as well without
                log.warning("%s Until then, where answers come from is not measured.", error)
        try:
            model.words = Words.load(folder, model.info.sha256)
        except AssetError as error:
            log.warning("%s Until then, words that nobody taught are not looked for.", error)
        return model

    def load_index(self, folder: Path) -> Index:
        """Read an index that was made of this model's training examples.

        Raises:
            AssetError: it is missing, broken, or another model's.
        """
        planner = self.router.planner
        if planner is None:
            raise AssetError(
                f"The index {folder} cannot be used by a router without a planner; delete it."
            )
        depth, _, hidden = planner.group_weight.shape
        return Index.load(folder, self.info.sha256, depth, hidden, self.layout.groups)

    def save_pretrained(self, path: str | Path, **_: Any) -> None:
        """Write experts (PEFT format), router and atmoe.json, for `from_pretrained`.

        Its index and its words, its card and its cases come along where what was written is the
        model they were made of; those of another model that lay there are moved aside. Where no
        card lies then, it is given one that tells its experts and its limits.

        Args:
            path: a directory, made where it is missing.
            **_: what `push_to_hub` passes besides.
        """
        path = Path(path)
        lay_there = (path / CONFIG).is_file()
        before = sha256_at(path) if lay_there else ""
        store.save(path, self.bank, self.router, self.info, self._folder)
        written = store.read_config(path)[0].sha256
        if lay_there and before != written:
            set_aside(path, before)
        if self._folder is not None and self.info.sha256 == written:
            take_along(self._folder, path)
        if self.index is not None and self.index.model == written:
            self.index.save(path / FOLDER)
        if self.words is not None and self.words.model == written:
            self.words.save(path / FOLDER)
        if not (path / CARD).exists():
            card_of(self.info, self.layout).save(path / CARD)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Save the model and upload it in one commit, which deletes what it has not of its own.

        Args:
            repo_id: its name on the hub, "org/name".
            **options: huggingface_hub's; without a choice of files, those of an earlier push that
                this model does not have (cases, an index, experts) are deleted.

        Returns:
            The address of the commit.
        """
        if not {"allow_patterns", "ignore_patterns"} & options.keys():
            options.setdefault("delete_patterns", PARTS)
        return super().push_to_hub(repo_id, **options)

    def route(self, prompt: str, kept: Kept | None = None) -> RoutingPlan:
        """The router's own plan for a prompt.

        Args:
            prompt: what a person typed.
            kept: filled by this, so that `generate` can begin where a steered plan parts from it.

        Raises:
            PromptError: the prompt is empty, too long, or in a script that the model does not know.
        """
        return self._routed(self.encode(prompt), kept)

    def _routed(self, question: Prompt, kept: Kept | None = None) -> RoutingPlan:
        return prefill(self, [question], None, use_cache=False, kept=kept).plans[0]

    def found(self, prompt: str, plan: RoutingPlan) -> Found | None:
        """How familiar a question is, and the nearest training examples.

        It takes no pass through the model: the plan has what the planner read.

        Args:
            prompt: what a person typed.
            plan: the router's own plan for it, or one steered from that.

        Returns:
            None = not measured: the model has no index, or no router of it made this plan.
        """
        return None if plan.first is None else self.found_by(prompt, plan.first)

    def found_by(self, prompt: str, first: Tensor) -> Found | None:
        """The same, of what the planner read: `RoutingPlan.first`."""
        if self.index is None:
            return None
        prompt = check_question(prompt)
        return self.index.found(prompt, first, self._asked(prompt, first))

    def routed(self, prompt: str, steering: Steering = Steering()) -> Routed:
        """The plan for a prompt as steered, and where its question lies.

        Raises:
            PromptError, SteeringError: before or after one pass.
        """
        question = self.encode(prompt)
        return self.steered(question.text, self._routed(question), steering)

    def steered(self, prompt: str, router_plan: RoutingPlan, steering: Steering) -> Routed:
        """The plan that a steering makes of the router's, and where the question lies.

        Raises:
            SteeringError: there is no such plan.
        """
        plan, found = steering.apply(router_plan), self.found(prompt, router_plan)
        return Routed(prompt, steering, router_plan, plan, found, self.info.named)

    def scored(self, prompt: str, answer: str, steering: Steering = Steering()) -> Scored:
        """How likely an answer is under the plan for its prompt as steered.

        Raises:
            PromptError, SteeringError: there is nothing to score, or no such plan.
        """
        plan = steering.apply(self.route(prompt))
        logp = self.score(prompt, answer, [plan])[0].tolist()
        return Scored(logp, token_texts(self.tokenizer, self.encode_answer(answer)), steering)

    def nearest_for(self, expert: str, prompt: str, plan: RoutingPlan) -> tuple[Source, ...] | None:
        """The nearest training examples that are labelled with one expert.

        Args:
            expert: its full name, `group/expert`.
            prompt: what a person typed.
            plan: the router's own plan for it, or one steered from that.

        Returns:
            None = not measured, as in `found`.

        Raises:
            AssetError: no such expert.
        """
        if self.index is None or plan.first is None:
            return None
        prompt = check_question(prompt)
        return self.index.nearest(prompt, plan.first, self._asked(prompt, plan.first), expert)

    def _asked(self, prompt: str, first: Tensor) -> Tensor:
        """How much the planner asks for each expert [experts], given what it read of a prompt."""
        planner = self.router.planner
        assert planner is not None  # it has read
        with torch.inference_mode():
            return planner(first[None].to(self.device), [prompt])[0].cpu()

    def generate(
        self,
        prompts: Sequence[str],
        plans: Sequence[RoutingPlan] | None = None,
        sampling: Sampling = Sampling(),
        kept: Kept | None = None,
    ) -> Generation:
        """Answer each prompt under its own plan; iterate the result for steps as they are decoded.

        Args:
            prompts: what a person typed, at least one.
            plans: one a prompt; None routes each prompt in the prefill itself. The plans used are
                `.plans` of the result.
            sampling: how tokens are chosen.
            kept: of one prompt: filled by the router's own prefill, and later ones begin where
                their plan parts from the router's.

        Raises:
            PromptError, PlanError: before anything runs.
        """
        return generate(self, prompts, plans, sampling, kept)

    def answer(
        self, prompt: str, steering: Steering = Steering(), sampling: Sampling = Sampling()
    ) -> Record:
        """One prompt, answered to the end under the router's plan as steered.

        Raises:
            PromptError, SteeringError: before anything is decoded.
        """
        prompt = self.encode(prompt).text
        if steering.untouched:
            generation = self.generate([prompt], None, sampling)
            router_plan = generation.plans[0]
        else:
            kept = Kept()
            router_plan = self.route(prompt, kept)
            generation = self.generate([prompt], [steering.apply(router_plan)], sampling, kept)
        last = generation.run()
        found = self.found(prompt, router_plan)  # after, so that no token waits for it
        record = Record.of(self, prompt, steering, router_plan, generation, last, found=found)
        return self.flagged(record)

    def flagged(self, record: Record) -> Record:
        """The record of an answer, with what is flagged in it."""
        cut_off = record.finish != "stop"
        return replace(record, flags=flagged(record.prompt, record.answer, self.words, cut_off))
