"""The router's plans for many prompts, without what only an answer needs.

the template before the words, by the planner's layers   once a batch
the words of each prompt, by the planner's layers        with the template's keys and values
template and words, by all layers                        under each prompt's own weights
the template behind the words                            not at all: nothing looks ahead
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from atmoe.mixture.mixture import Mixture
from atmoe.mixture.planning import First
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan
from atmoe.sources.reading import states_of


def routes(model: Mixture, prompts: Sequence[Prompt]) -> list[RoutingPlan]:
    """Each prompt's plan, to rounding what it is alone.

    Args:
        model: whose router reads.
        prompts: at least one; of like lengths there is little padding.
    """
    first, planner = None, model.router.planner
    with torch.inference_mode():
        if planner is not None:
            states = states_of(model, planner, prompts).to(model.device)
            texts = [prompt.text for prompt in prompts]
            first = First(states, planner.team(states, texts))
        batch = model.collate([replace(prompt, ids=prompt.ids[: prompt.end]) for prompt in prompts])
        _, plans, _ = model.forward(batch, first=first, logits=False)
    return plans
