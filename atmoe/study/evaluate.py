"""Evaluation: what a way of mixing the experts is worth, as loss per answer token.

The loss is the negative log-likelihood. Every example's answer is scored, on the same tokens, under

    base, uniform, router     no experts · equal shares · the router's own plan; these need no
                              labels
    label                     all of each group's weight on the expert the example is labelled with,
                              of two half on each, at the router's gain
    <group>_expert            that group's labelled expert alone, at a gain of 1 or the router's,
                              whichever is better
    router at 0.8             its own plan at another strength
    lora, xlora, arrow        other models over the same base (`atmoe.study.baselines`)

The last three lines take time. Where an example has no label in a group, its experts share equally.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import AssetError, DataError, PromptError
from atmoe.model import AtMoe
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import Steering
from atmoe.study.agreement import agreement_of, reading_of
from atmoe.study.bootstrap import Losses

PLANS = ("base", "uniform", "router", "label")

Scorer = Callable[[Sequence[str], Sequence[str]], list[Tensor]]
"""Prompts and answers → log-probabilities, one [answer tokens] tensor a row."""


def choose(
    examples: Sequence[Example], limit: int | None, seed: int, group: str = "task"
) -> list[Example]:
    """All examples, or a seeded sample of them, in the order given.

    Args:
        examples: to choose from.
        limit: at most how many for each expert of `group`; None = all.
        seed: of the sample.
        group: whose labels are counted.

    Raises:
        DataError: there is none.
    """
    if not examples:
        raise DataError(
            "There are no examples to evaluate; name at least one corpus directory that holds some."
        )
    if limit is None:
        return list(examples)
    by_task: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        by_task[example.labels.get(group, "")].append(i)
    rng = random.Random(seed)
    sample: list[int] = []
    for task in sorted(by_task):
        sample += rng.sample(by_task[task], min(limit, len(by_task[task])))
    return [examples[i] for i in sorted(sample)]


def evaluate(
    model: AtMoe,
    examples: Sequence[Example],
    scorers: Mapping[str, Scorer] | None = None,
    single_experts: bool = False,
    strengths: Sequence[float] = (),
    batch_tokens: int = 4096,
    seed: int = 0,
) -> dict[str, Any]:
    """Score examples under each plan of PLANS, under single experts if wanted, and by others.

    Args:
        model: to be evaluated.
        examples: with labels and reference answers.
        scorers: name → what scores them otherwise.
        single_experts: whether each group's labelled expert alone is scored as well.
        strengths: at which the router's own plan is scored as well.
        batch_tokens: at most so many tokens go through the model at once.
        seed: of the bootstrap.

    Returns:
        "examples", "tokens": how many were scored.
        "skipped": how many examples have a prompt that is longer than the model reads.
        "nll": name → {"macro", "tasks": {task: nats per token}, "macro_specialties",
            "specialties": {…}, "interval": [low, high] of macro, "minus_router": its macro's
            difference, with "interval"}. Tasks and specialties are the experts of the layout's
            first and second group; macro is the mean over tasks. The intervals are bootstrapped
            over diseases (95%), and None where there is one alone.
        "topics": how many diseases the intervals rest on.
        "agreement": group → how often the layer-averaged in-group top-1 of the router is the label.
        "reading": group → as `reading_of`: the same, and whether the group takes part.
        "group_shares": group → mean share.
        "load": expert → mean weight.
        "seconds", "seconds_by_name": of all, and name → of its scoring.

    Raises:
        DataError: every example is longer than the model reads, or none that is not has a label in
            the layout's first group.
        SteeringError: a strength is none.
        AssetError: a scorer reads an answer as other tokens.
    """
    began = time.perf_counter()
    layout = model.layout
    # 1. batches of examples that the model reads
    fitting, skipped = _fitting(model, examples)
    if not fitting:
        raise DataError(
            "Every example is longer than the model reads; raise max_prompt_tokens in its "
            "atmoe.json."
        )
    first = layout.group_names[0]
    if not any(example.labels.get(first) for _, example in fitting):
        raise DataError(
            f"No example has a label in the group {first!r}, over whose experts losses are "
            "averaged; label some, or name other data."
        )
    batches = list(_batches(fitting, batch_tokens))
    losses: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)

    # 2. their losses under each plan
    tokens: list[int] = []
    order: list[Example] = []
    router_plans: list[RoutingPlan] = []

    def score(
        name: str, rows: Sequence[Example], plans: list[RoutingPlan] | None
    ) -> tuple[list[Tensor], list[RoutingPlan]]:
        started = time.perf_counter()
        scores, in_force = model.score_rows(*_texts(rows), plans)
        seconds[name] += time.perf_counter() - started
        losses[name] += _summed(scores)
        return scores, in_force

    for rows in tqdm(batches, unit="batch", mininterval=5):
        for name, plans in plans_for(model, rows, single_experts).items():
            scores, in_force = score(name, rows, plans)
            if name == "router":
                router_plans += in_force
        for strength in dict.fromkeys(strengths):
            steering = Steering(strength=strength)
            steered = [steering.apply(plan) for plan in router_plans[-len(rows) :]]
            score(at("router", strength), rows, steered)
        order += rows
        tokens += [len(logp) for logp in scores]

    # 3. and by each of the scorers
    for name, scorer in (scorers or {}).items():
        started = time.perf_counter()
        for rows in tqdm(batches, unit="batch", desc=name, mininterval=5):
            scores = scorer(*_texts(rows))
            own = tokens[len(losses[name]) : len(losses[name]) + len(rows)]
            if [len(logp) for logp in scores] != own:
                raise AssetError(
                    f"{name} scores other tokens than the model does; name one over the same base."
                )
            losses[name] += _summed(scores)
        seconds[name] = time.perf_counter() - started

    # 4. what is said of them
    table = Losses(losses, tokens, order, layout.group_names[:2], seed)
    if single_experts:
        table = table.keeping_better(layout.group_names)
    shares = torch.stack([plan.expert_shares.mean(0) for plan in router_plans])
    load = torch.stack([plan.weights.mean(0) for plan in router_plans]).mean(0)
    return {
        "examples": len(order),
        "tokens": sum(tokens),
        "skipped": skipped,
        "nll": table.summary(),
        "topics": table.topics,
        "agreement": agreement_of(layout, shares, order),
        "reading": reading_of(router_plans, order),
        "group_shares": {g: float(load[layout.members(g)].sum()) for g in layout.group_names},
        "load": {name: float(share) for name, share in zip(layout.expert_names, load)},
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_by_name": {name: round(s, 1) for name, s in seconds.items()},
    }


def at(name: str, strength: float) -> str:
    """What a way of mixing is called at another strength."""
    return f"{name} at {strength:g}"


def plans_for(
    model: AtMoe, rows: Sequence[Example], single_experts: bool
) -> dict[str, list[RoutingPlan] | None]:
    """The plan of each row under each name; None = the router's, read as it scores."""
    layout = model.layout
    plans: dict[str, list[RoutingPlan] | None] = {
        "base": [RoutingPlan.off(layout)] * len(rows),
        "uniform": [RoutingPlan.uniform(layout)] * len(rows),
        "router": None,
        "label": [_labelled(layout, e) for e in rows],
    }
    if single_experts:
        to_one = 1 / model.router.gain.detach().cpu()
        for group in layout.group_names:
            alone = [_labelled(layout, e, {group: 1.0}) for e in rows]
            plans[f"{group}_expert"] = alone
            plans[f"{group}_expert@1"] = [replace(plan, strength=to_one) for plan in alone]
    return plans


def _labelled(
    layout: Layout, example: Example, groups: Mapping[str, float] | None = None
) -> RoutingPlan:
    """All of each group's share on the expert of its label; of two needs, half on each."""
    first = RoutingPlan.choosing(layout, example.labels, groups)
    last = {group: example.wanted(group)[-1] for group in example.labels}
    if last == dict(example.labels):
        return first
    return RoutingPlan.mean([first, RoutingPlan.choosing(layout, last, groups)])


def _texts(rows: Sequence[Example]) -> tuple[list[str], list[str]]:
    """Their prompts and answers."""
    return [example.prompt for example in rows], [example.answer for example in rows]


def _summed(scores: Sequence[Tensor]) -> list[float]:
    """The loss of each answer, in nats."""
    return [-float(logp.double().sum()) for logp in scores]


def _fitting(model: AtMoe, examples: Sequence[Example]) -> tuple[list[tuple[int, Example]], int]:
    """The examples whose prompt and answer the model reads, shortest first.

    Returns:
        (tokens, example) of each, and how many examples it does not read.
    """
    fitting = []
    for example in examples:
        try:
            prompt, answer = model.encode(example.prompt), model.encode_answer(example.answer)
        except PromptError:
            continue
        fitting.append((len(prompt.ids) + len(answer), example))
    return sorted(fitting, key=lambda pair: pair[0]), len(examples) - len(fitting)


def _batches(fitting: Sequence[tuple[int, Example]], batch_tokens: int) -> Iterator[list[Example]]:
    """Examples of similar length together."""
    batch: list[Example] = []
    for length, example in fitting:
        if batch and (len(batch) + 1) * length > batch_tokens:
            yield batch
            batch = []
        batch.append(example)
    yield batch
