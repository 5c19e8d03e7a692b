"""Does the router read the need? Its plans for words it never saw, of diseases it never saw.

agreement   the layer-averaged in-group share is largest for the labelled expert, by group, also
            where the group takes no part
reading     the same, with those apart in which the group takes part
two needs   both asked-for experts of their group are its two largest, each above twice its uniform
            share
bands       early, middle and late thirds of the layers: agreement of that band's shares alone,
            entropy, and the loss on reference answers when the band's plan is replaced by the
            average plan, which no instruction moves
load        weight by expert and by group
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.answer.prefill import prefill
from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import DataError
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import BANDS, layer_range
from atmoe.study.agreement import agreement_of, confusion, doubt_of, reading_of


def unseen_instructions(
    examples: Sequence[Example], description: Description, count: int, seed: int, two: bool
) -> list[Example]:
    """Distinct instructions put in templates that training never uses.

    Args:
        examples: that they are made of.
        description: of the corpus.
        count: at most how many.
        seed: of what is drawn.
        two: whether they have two needs, or one.
    """
    known = {example.prompt for example in examples}
    sampler = Sampler(
        examples,
        seed,
        description.main_group,
        description.prompt_rows,
        paraphrased=1.0,
        two=float(two),
        template_split="evaluation",
    )
    by_prompt: dict[str, Example] = {}
    # Some draws fit no template, and some come twice.
    for example in islice(iter(sampler), 40 * count):
        if bool(example.also) == two and example.prompt not in known:
            by_prompt[example.prompt] = example
        if len(by_prompt) == count:
            break
    return list(by_prompt.values())


def study(
    model: AtMoe,
    examples: Sequence[Example],
    scored: Sequence[Example],
    description: Description,
    count: int = 400,
    seed: int = 0,
    batch: int = 16,
) -> dict[str, Any]:
    """How well a router reads instructions that it never saw.

    Args:
        model: to be studied.
        examples: those that instructions are made of.
        scored: those whose answers are scored by band.
        description: of the corpus.
        count: instructions of one need; half as many of two.
        seed: of what is drawn.
        batch: how many instructions are routed at once.

    Returns:
        "instructions", "loss", "seconds".
        "two_needs": {"instructions", "both_largest", "both_above_twice_uniform", "both"}.
        "agreement": group → fraction.
        "reading": group → {"labels", "right_taking_part", "right_absent", "wrong"}, as `reading_of`
            has them.
        "counts": group → labelled instructions.
        "confusion": group → label → expert → how many.
        "doubt": group → {"share", "wrong", "wrong_else"}, as `doubt_of` has them.
        "bands": band → {"layers", "agreement", "group_entropy", "expert_entropy",
            "loss_with_average_plan"}; "all" has the loss alone.
        "load": expert → mean weight; "load_entropy".
        "group_shares": group → [least over layers, mean, most].
        "by_task": expert of the main group → {"group_shares": [layers][groups], "expert_shares":
            [layers][experts]}.
        Losses are in nats per answer token, entropies in units of that of equal shares.

    Raises:
        DataError: no template of ours fits any example.
    """
    began = time.perf_counter()
    layout = model.layout
    # 1. instructions, and their shares
    one = unseen_instructions(examples, description, count, seed, two=False)
    both = unseen_instructions(examples, description, count // 2, seed + 1, two=True)
    if not one:
        raise DataError(
            "No unseen wording fits these examples; the templates cover the medical corpora alone. "
            "How often the router reads the label of your own prompts is in atmoe evaluate."
        )
    plans = _plans(model, one, batch)
    s, q = _shares(plans)
    report: dict[str, Any] = {
        "instructions": len(one),
        "agreement": agreement_of(layout, q.mean(1), one),
        "counts": {g: sum(g in example.labels for example in one) for g in layout.group_names},
        "confusion": confusion(layout, q.mean(1), one),
        "reading": reading_of(plans, one),
        "doubt": doubt_of(plans, one),
        "two_needs": _two_needs(model, both, batch),
    }
    # 2. where the weight goes
    load = (s[..., list(layout.group_of)] * q).mean((0, 1))  # [experts]
    report["load"] = dict(zip(layout.expert_names, load.tolist()))
    report["load_entropy"] = _entropy(load)
    by_layer = s.mean(0)  # [layers, groups]
    report["group_shares"] = {
        g: [float(shares.min()), float(shares.mean()), float(shares.max())]
        for g, shares in zip(layout.group_names, by_layer.T)
    }
    report["by_task"] = {}
    for expert in description.groups[description.main_group]:
        rows = [i for i, e in enumerate(one) if e.labels.get(description.main_group) == expert]
        if rows:
            report["by_task"][expert] = {
                "group_shares": s[rows].mean(0).tolist(),
                "expert_shares": q[rows].mean(0).tolist(),
            }
    # 3. what each third of the layers is for
    average = RoutingPlan(layout, s.mean(0), q.mean(0))
    report["loss"], losses = _losses(model, scored, average)
    report["bands"] = {}
    for band in BANDS:
        layers = list(layer_range(band, layout.layers))
        expert_entropy = {}
        for group in layout.group_names:
            inside = q[:, layers][..., layout.members(group)]
            if inside.shape[-1] > 1:
                expert_entropy[group] = _entropy(inside)
        report["bands"][band] = {
            "layers": f"{layers[0]}-{layers[-1]}",
            "agreement": agreement_of(layout, q[:, layers].mean(1), one),
            "group_entropy": _entropy(s[:, layers]),
            "expert_entropy": expert_entropy,
            "loss_with_average_plan": losses[band],
        }
    report["bands"]["all"] = {"loss_with_average_plan": losses["all"]}
    return report | {"seconds": round(time.perf_counter() - began, 1)}


def _two_needs(model: AtMoe, examples: Sequence[Example], batch: int) -> dict[str, Any]:
    """How often both needs are read, each as a fraction of the instructions."""
    if not examples:
        return {"instructions": 0}
    layout = model.layout
    # Templates put two needs of one group together, the task's.
    group = next(iter(examples[0].also))
    members = layout.members(group)
    _, inside = _shares(_plans(model, examples, batch))
    shares = inside.mean(1)[:, members]  # [instructions, members]
    wanted = torch.zeros_like(shares, dtype=torch.bool)
    for i, example in enumerate(examples):
        for expert in example.wanted(group):
            wanted[i, layout.expert_index(f"{group}/{expert}") - members.start] = True
    largest = torch.zeros_like(wanted).scatter_(1, shares.topk(2).indices, True)
    both_largest = (largest == wanted).all(1)
    above = torch.where(wanted, shares, torch.inf).min(1).values > 2 / shares.shape[1]
    return {
        "instructions": len(examples),
        "both_largest": _rate(both_largest),
        "both_above_twice_uniform": _rate(above),
        "both": _rate(both_largest & above),
    }


def _rate(hits: Tensor) -> float:
    return float(hits.float().mean())


def _plans(model: AtMoe, examples: Sequence[Example], batch: int) -> list[RoutingPlan]:
    """The router's plan for each instruction, in the order given."""
    prompts = [model.encode(example.prompt) for example in examples]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    by_index: dict[int, RoutingPlan] = {}
    for start in tqdm(range(0, len(order), batch), unit="batch", desc="routing", mininterval=5):
        rows = order[start : start + batch]
        routed = prefill(model, [prompts[i] for i in rows], None, use_cache=False)
        by_index.update(zip(rows, routed.plans))
    return [by_index[i] for i in range(len(prompts))]


def _shares(plans: Sequence[RoutingPlan]) -> tuple[Tensor, Tensor]:
    """Group shares [plans, layers, groups], and in-group shares [plans, layers, experts]."""
    return (
        torch.stack([plan.group_shares for plan in plans]),
        torch.stack([plan.expert_shares for plan in plans]),
    )


def _losses(
    model: AtMoe, examples: Sequence[Example], average: RoutingPlan, batch: int = 8
) -> tuple[float, dict[str, float]]:
    """Nats per answer token under the router's plan, and with the average plan in some layers.

    Returns:
        The first, and band → the second; "all" = in all layers.
    """
    totals: dict[str, float] = defaultdict(float)
    tokens = 0
    by_length = sorted(examples, key=lambda e: len(e.prompt) + len(e.answer))
    starts = range(0, len(by_length), batch)
    for start in tqdm(starts, unit="batch", desc="scoring bands", mininterval=5):
        rows = by_length[start : start + batch]
        prompts, answers = [e.prompt for e in rows], [e.answer for e in rows]
        scores, plans = model.score_rows(prompts, answers)
        totals["router"] -= sum(float(logp.sum()) for logp in scores)
        tokens += sum(map(len, scores))
        for band in (*BANDS, "all"):
            layers = list(layer_range(band, average.layout.layers))
            replaced = [_with_layers(plan, average, layers) for plan in plans]
            scores, _ = model.score_rows(prompts, answers, replaced)
            totals[band] -= sum(float(logp.sum()) for logp in scores)
    return totals["router"] / tokens, {band: totals[band] / tokens for band in (*BANDS, "all")}


def _with_layers(plan: RoutingPlan, other: RoutingPlan, layers: list[int]) -> RoutingPlan:
    """The plan with some layers taken from another."""
    shares, inside = plan.group_shares.clone(), plan.expert_shares.clone()
    shares[layers] = other.group_shares[layers]
    inside[layers] = other.expert_shares[layers]
    return replace(plan, group_shares=shares, expert_shares=inside)


def _entropy(shares: Tensor) -> float:
    """Mean entropy of shares [..., n], 1 = all equal."""
    return float(
        -(shares * shares.clamp(min=1e-12).log()).sum(-1).mean()
        / torch.tensor(shares.shape[-1]).log()
    )
