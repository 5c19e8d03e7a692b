"""What an answer is asked with, and the view that the figures and sentences are made of."""

from __future__ import annotations

from dataclasses import dataclass

from atmoe import RoutingPlan, Sampling, Steering
from atmoe.errors import SamplingError

MAX_TOKENS = 400
MAX_TEMPERATURE = 1.5
REPETITION_PENALTY = 1.1
"""Greedy decoding of so small a model runs in circles; at 1.1 it mostly does not."""


@dataclass(frozen=True)
class View:
    """What is on show.

    Attributes:
        router_plan: the router's own plan.
        plan: the one in force.
        steering: what lies between them.
        key: whose they are (`app.whose`); "" = nobody asks.
        question: the plans are for; "" = nobody asks.
    """

    router_plan: RoutingPlan
    plan: RoutingPlan
    steering: Steering
    key: str = ""
    question: str = ""

    @classmethod
    def of(
        cls, router_plan: RoutingPlan, steering: Steering, key: str = "", question: str = ""
    ) -> View:
        """The view of a plan as it is steered.

        Raises:
            SteeringError: the steering contradicts itself.
        """
        return cls(router_plan, steering.apply(router_plan), steering, key, question)

    @property
    def taking_part(self) -> frozenset[str]:
        """The groups and experts that take part, by the router or as steered."""
        return self.router_plan.taking_part | self.plan.taking_part

    @property
    def same(self) -> bool:
        """Whether what was set is what the router gave already."""
        return not self.steering.untouched and self.plan.close_to(self.router_plan)


def sampling_of(max_tokens: float, temperature: float, seed: float | None) -> Sampling:
    """The settings of an answer. Checked here, because a request need not come from our page.

    Raises:
        SamplingError: a value out of range.
    """
    if not _between(max_tokens, 1, MAX_TOKENS) or max_tokens != int(max_tokens):
        raise SamplingError(
            f"An answer may have 1 to {MAX_TOKENS} tokens; choose a whole number between them."
        )
    if not _between(temperature, 0, MAX_TEMPERATURE):
        raise SamplingError(
            f"The temperature goes from 0 to {MAX_TEMPERATURE}; choose a number between them."
        )
    return Sampling(
        max_new_tokens=int(max_tokens),
        temperature=float(temperature),
        seed=0 if seed is None else seed,  # type: ignore[arg-type]  # whole or not, it is checked
        repetition_penalty=REPETITION_PENALTY,
    )


def _between(number: object, least: float, most: float) -> bool:
    """Whether something is a number within these ends."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return least <= number <= most
