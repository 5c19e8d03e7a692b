"""Evaluation: what a plan is worth on examples, as negative log-likelihood per answer token.

Every example's answer is scored under four plans: the base model alone, a uniform plan, the router's own, and the
label's (all of each group's weight on the expert that the example is labelled with; a group without a label keeps
equal shares). The first three need no labels; the fourth says what perfect routing by label would give.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import DataError, PromptError
from atmoe.model import AtMoe
from atmoe.plan import RoutingPlan

PLANS = ("base", "uniform", "router", "label")


def choose(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """All examples, or a seeded sample of `limit` a task, in the order given.

    Raises:
        DataError: there is none.
    """
    if not examples:
        raise DataError("There are no examples to evaluate; name at least one corpus directory that holds some.")
    if limit is None:
        return list(examples)
    by_task: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        by_task[example.labels["task"]].append(i)
    rng = random.Random(seed)
    kept = [i for task in sorted(by_task) for i in rng.sample(by_task[task], min(limit, len(by_task[task])))]
    return [examples[i] for i in sorted(kept)]


def evaluate(model: AtMoe, examples: Sequence[Example], batch_tokens: int = 4096) -> dict:
    """Score the examples under each plan of PLANS.

    → {"examples", "tokens", "skipped", "nll": {plan: {"macro", "tasks": {task: nats per token}}},
       "agreement": {group: fraction}, "group_shares": {group: mean share}, "load": {expert: mean weight}, "seconds"}

    macro is the mean over tasks. agreement is how often the layer-averaged in-group top-1 of the router is the label.
    skipped counts examples whose prompt is longer than the model reads.
    """
    began = time.perf_counter()
    layout = model.layout
    total: dict[str, dict[str, float]] = {name: defaultdict(float) for name in PLANS}
    tokens: dict[str, int] = defaultdict(int)
    hits, labelled = defaultdict(int), defaultdict(int)
    load, skipped = [], 0
    with tqdm(total=len(examples), unit="example", mininterval=5) as bar:
        for rows in _batches(model, examples, batch_tokens):
            if len(rows) == 1 and rows[0] is None:
                skipped += 1
                bar.update()
                continue
            prompts, answers = [e.prompt for e in rows], [e.answer for e in rows]
            plans = {"base": [RoutingPlan.off(layout)] * len(rows), "uniform": [RoutingPlan.uniform(layout)] * len(rows),
                     "router": None, "label": [RoutingPlan.choosing(layout, e.labels) for e in rows]}
            for name in PLANS:
                scores, used = model.score_rows(prompts, answers, plans[name])
                for example, logp in zip(rows, scores):
                    total[name][example.labels["task"]] -= float(logp.double().sum())
                if name == "router":
                    routed = used
            for example, plan, logp in zip(rows, routed, scores):
                tokens[example.labels["task"]] += len(logp)
                load.append(plan.weights.mean(0))
                for group, expert in example.labels.items():
                    members = layout.members(group)
                    top = int(plan.expert_shares[:, members].mean(0).argmax())
                    hits[group] += layout.expert_names[members][top] == f"{group}/{expert}"
                    labelled[group] += 1
            bar.update(len(rows))
    if not tokens:
        raise DataError("Every example is longer than the model reads; raise max_prompt_tokens in its atmoe.json.")
    mean_load = sum(load) / len(load)
    nll = {name: {task: sums[task] / tokens[task] for task in sorted(tokens)} for name, sums in total.items()}
    return {
        "examples": len(load), "tokens": sum(tokens.values()), "skipped": skipped,
        "nll": {name: {"macro": sum(tasks.values()) / len(tasks), "tasks": tasks} for name, tasks in nll.items()},
        "agreement": {g: hits[g] / labelled[g] for g in layout.group_names if labelled[g]},
        "group_shares": {g: float(mean_load[layout.members(g)].sum()) for g in layout.group_names},
        "load": {name: float(share) for name, share in zip(layout.expert_names, mean_load)},
        "seconds": round(time.perf_counter() - began, 1),
    }


def _batches(model: AtMoe, examples: Sequence[Example], batch_tokens: int) -> Iterator[list[Example | None]]:
    """Examples of similar length together; [None] for one that is too long."""
    lengths = []
    for example in examples:
        try:
            lengths.append(len(model.encode(example.prompt).ids) + len(model.encode_answer(example.answer)))
        except PromptError:
            lengths.append(0)
    batch: list[Example | None] = []
    for i in sorted(range(len(examples)), key=lambda i: lengths[i]):
        if not lengths[i]:
            yield [None]
        else:
            if batch and (len(batch) + 1) * lengths[i] > batch_tokens:
                yield batch
                batch = []
            batch.append(examples[i])
    if batch:
        yield batch
