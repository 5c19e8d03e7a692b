"""An answer as a value: what was asked, what came out, and the plan it was given under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer, without what was measured of it later.

    Attributes:
        answer: its text.
        answer_tokens: its token ids, without the end-of-turn.
        model: {"name", "sha256"} of the model that gave it.
        sampling: the settings of `Sampling` other than the seed.
        router_plan: what the router gave.
        plan: what was in force.
        finish: "stop" (ended its turn), "length" (token limit) or "cancelled".
    """

    prompt: str
    answer: str
    answer_tokens: tuple[int, ...]
    model: Mapping[str, str]
    seed: int
    sampling: Mapping[str, float]
    router_plan: RoutingPlan
    plan: RoutingPlan
    finish: str

    @property
    def drawn(self) -> bool:
        """Whether its tokens were drawn, so that it may be another than the greedy answer."""
        return self.sampling.get("temperature", 0) > 0

    @property
    def worded(self) -> bool:
        """Whether it holds words, of which something can be measured."""
        return bool(self.answer.strip() and self.answer_tokens)

    def mean_logp(self, mixture: Mixture, plans: Sequence[RoutingPlan]) -> tuple[float, ...] | None:
        """Mean log-probability per token of the answer under each plan, in nats.

        Returns:
            One number a plan; None for an answer without words.
        """
        if not self.worded:
            return None
        rows = [self.prompt] * len(plans), [self.answer_tokens] * len(plans)
        logp, _ = mixture.score_tokens(*rows, plans)
        return tuple(torch.stack(logp).mean(1).tolist())
