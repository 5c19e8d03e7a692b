"""Evaluation: what a way of mixing the experts is worth, as negative log-likelihood per answer token.

Every example's answer is scored, on the same tokens, under

    base, uniform, router     no experts · equal shares · the router's own plan; these need no labels
    label                     all of each group's weight on the expert the example is labelled with, at the router's gain
    <group>_expert            that group's labelled expert alone, at a gain of 1 or the router's, whichever is better
    lora, xlora, arrow        other models over the same base (`atmoe.study.baselines`)

The last two lines are baselines and take time. Where an example has no label in a group, its experts share equally.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import DataError, PromptError
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.study.agreement import agreement_of
from atmoe.study.bootstrap import Losses

PLANS = ("base", "uniform", "router", "label")

Scorer = Callable[[Sequence[str], Sequence[str]], list[Tensor]]
"""Prompts and answers → log-probabilities, one [answer tokens] tensor a row."""


def choose(
    examples: Sequence[Example], limit: int | None, seed: int, group: str = "task"
) -> list[Example]:
    """All examples, or a seeded sample of `limit` for each expert of `group`, in the order given.

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
    kept = [
        i
        for task in sorted(by_task)
        for i in rng.sample(by_task[task], min(limit, len(by_task[task])))
    ]
    return [examples[i] for i in sorted(kept)]


def evaluate(
    model: AtMoe,
    examples: Sequence[Example],
    scorers: Mapping[str, Scorer] | None = None,
    single_experts: bool = False,
    batch_tokens: int = 4096,
    seed: int = 0,
) -> dict:
    """Score the examples under each plan of PLANS, under single experts if wanted, and by each of `scorers`.

    → {"examples", "tokens", "skipped", "seconds",
       "nll": {name: {"macro", "tasks": {task: nats per token}, "macro_specialties", "specialties": {...},
                      "interval": [low, high] of macro, "minus_router": its macro's difference, with "interval"}},
       "agreement": {group: fraction}, "group_shares": {group: mean share}, "load": {expert: mean weight},
       "seconds_by_name": {name: seconds of scoring}}

    tasks and specialties are the experts of the layout's first and second group; macro is the mean over tasks. The
    intervals are bootstrapped over diseases (95%). agreement is how often the layer-averaged in-group top-1 of the
    router is the label. skipped counts examples whose prompt is longer than the model reads.
    """
    began = time.perf_counter()
    layout = model.layout
    fitting, skipped = _fitting(model, examples)
    if not fitting:
        raise DataError(
            "Every example is longer than the model reads; raise max_prompt_tokens in its atmoe.json."
        )
    losses: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    tokens: list[int] = []
    order: list[Example] = []
    plans_used: list[RoutingPlan] = []
    batches = list(_batches(fitting, batch_tokens))
    for rows in tqdm(batches, unit="batch", mininterval=5):
        prompts, answers = [e.prompt for e in rows], [e.answer for e in rows]
        for name, plans in plans_for(model, rows, single_experts).items():
            started = time.perf_counter()
            scores, used = model.score_rows(prompts, answers, plans)
            seconds[name] += time.perf_counter() - started
            losses[name] += [-float(logp.double().sum()) for logp in scores]
            if name == "router":
                plans_used += used
        order += rows
        tokens += [len(logp) for logp in scores]
    for name, scorer in (scorers or {}).items():
        started = time.perf_counter()
        for rows in tqdm(batches, unit="batch", desc=name, mininterval=5):
            losses[name] += [
                -float(logp.double().sum())
                for logp in scorer([e.prompt for e in rows], [e.answer for e in rows])
            ]
        seconds[name] = time.perf_counter() - started
    table = Losses(losses, tokens, order, layout.group_names[:2], seed)
    if single_experts:
        table = table.keeping_better(layout.group_names)
    load = torch.stack([plan.weights.mean(0) for plan in plans_used]).mean(0)
    return {
        "examples": len(order),
        "tokens": sum(tokens),
        "skipped": skipped,
        "nll": table.summary(),
        "agreement": agreement_of(
            layout, torch.stack([p.expert_shares.mean(0) for p in plans_used]), order
        ),
        "group_shares": {g: float(load[layout.members(g)].sum()) for g in layout.group_names},
        "load": {name: float(share) for name, share in zip(layout.expert_names, load)},
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_by_name": {name: round(s, 1) for name, s in seconds.items()},
    }


def plans_for(
    model: AtMoe, rows: Sequence[Example], single_experts: bool
) -> dict[str, list[RoutingPlan] | None]:
    """The plan of each row under each name; None = the router's, read as it scores."""
    layout = model.layout
    plans = {
        "base": [RoutingPlan.off(layout)] * len(rows),
        "uniform": [RoutingPlan.uniform(layout)] * len(rows),
        "router": None,
        "label": [RoutingPlan.choosing(layout, e.labels) for e in rows],
    }
    if single_experts:
        to_one = 1 / model.router.gain.detach().cpu()
        for group in layout.group_names:
            alone = [RoutingPlan.choosing(layout, e.labels, {group: 1.0}) for e in rows]
            plans[f"{group}_expert"] = alone
            plans[f"{group}_expert@1"] = [replace(plan, strength=to_one) for plan in alone]
    return plans


def _fitting(model: AtMoe, examples: Sequence[Example]) -> tuple[list[tuple[int, Example]], int]:
    """(tokens, example) of those whose prompt and answer the model reads, shortest first; how many it does not."""
    lengths = []
    for example in examples:
        try:
            lengths.append(
                (
                    len(model.encode(example.prompt).ids)
                    + len(model.encode_answer(example.answer)),
                    example,
                )
            )
        except PromptError:
            pass
    return sorted(lengths, key=lambda pair: pair[0]), len(examples) - len(lengths)


def _batches(fitting: Sequence[tuple[int, Example]], batch_tokens: int) -> Iterator[list[Example]]:
    """Examples of similar length together."""
    batch: list[Example] = []
    for length, example in fitting:
        if batch and (len(batch) + 1) * length > batch_tokens:
            yield batch
            batch = []
        batch.append(example)
    yield batch
