"""What is measured on topics held back: losses of answers, and how often shares are the labels'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from atmoe.data import Description, Example, split
from atmoe.data.sampler import Sampler
from atmoe.model import AtMoe
from atmoe.study.agreement import agreement_of
from atmoe.train.reading import routed_shares
from atmoe.train.rows import Row, answer_loss, collate_rows, encode_row
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team

Validate = Callable[[], dict[str, float]]
"""Measures the losses, by name: nats per answer token."""

Weights = Callable[[AtMoe, Sequence[Example]], Tensor]
"""What the experts of each row are mixed by. [rows, layers, experts]"""


def held_out_rows(
    model: AtMoe, examples: Sequence[Example], description: Description, each: int = 8
) -> list[list[Row]]:
    """A few held-out rows of each expert of the main group that has any.

    Where they have no label of the main group, the first group whose labels they have is taken.
    """
    held_out = sorted((e for e in examples if split(e) == "validation"), key=lambda e: e.id)
    for group, names in description.groups.items():
        chosen: list[list[Row]] = []
        for name in names:
            encoded = (encode_row(model, e) for e in held_out if e.labels.get(group) == name)
            first = list(islice((row for row in encoded if row), each))
            if first:
                chosen.append(first)
        if chosen:
            return chosen
    return []


def labelled_loss(
    model: AtMoe,
    chosen: Sequence[Sequence[Row]],
    description: Description,
    weights: Weights,
    by_label: bool,
) -> Validate | None:
    """What measures the loss of rows, those of each expert of the main group counting the same.

    They are read under their own weights ("label") and, where weights follow the labels, with those
    experts exchanged for the next that is no label ("wrong_" and the group); a row that every
    expert is a label of is not.

    Args:
        model: whose experts are trained.
        chosen: rows of each expert.
        description: of the groups.
        weights: how a row mixes the experts.
        by_label: whether weights follow the labels.

    Returns:
        None where nothing is held out.
    """
    group = description.main_group
    names = [*description.groups[group]]

    def wrong(example: Example) -> list[str]:
        """The experts that are no label, from the one after the first label on."""
        if group not in example.labels:
            return []
        after = names.index(example.labels[group]) + 1
        return [n for n in names[after:] + names[:after] if n not in example.wanted(group)]

    def exchanged(example: Example) -> Example:
        labels = {**example.labels, group: wrong(example)[0]}
        also = {g: expert for g, expert in example.also.items() if g != group}
        return replace(example, labels=labels, also=also)

    def loss(rows: Sequence[Row], labelled: Sequence[Example]) -> float:
        batch, where, targets = collate_rows(model, rows)
        hidden, _, _ = model.forward(batch, weights=weights(model, labelled), logits=False)
        return float(answer_loss(model, hidden, where, targets))

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        losses = {"label": [loss(rows, [r.example for r in rows]) for rows in chosen]}
        contrasted = [[r for r in rows if wrong(r.example)] for rows in chosen]
        if by_label and any(contrasted):
            losses["wrong_" + group] = [
                loss(rows, [exchanged(r.example) for r in rows]) for rows in contrasted if rows
            ]
        return {name: sum(values) / len(values) for name, values in losses.items()}

    return validate if chosen else None


def routed_loss(
    model: AtMoe, router: TrainingRouter, chosen: Sequence[Sequence[Row]]
) -> Validate | None:
    """The same under the plans of a router ("routed").

    Returns:
        None where nothing is held out.
    """

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        losses = []
        for rows in chosen:
            batch, where, targets = collate_rows(model, rows)
            hidden, _, _ = model.forward(batch, router=router, logits=False)
            losses.append(float(answer_loss(model, hidden, where, targets)))
        return {"routed": sum(losses) / len(losses)}

    return validate if chosen else None


@torch.no_grad()
def agreement(
    model: AtMoe, router: TrainingRouter, rows: Sequence[Example], team: Team
) -> dict[str, float]:
    """How often the layer-averaged in-group top-1 is the label, by group; empty without rows.

    Whether the group takes part is not asked: while a router is trained all do (its planner's
    `group_floor` is 0 until `atmoe.train.together`), and `evaluate` tells it beside its own.
    """
    if not rows:
        return {}
    _, shares, examples = routed_shares(model, router, rows, team)
    by_group = agreement_of(router.layout, shares.cpu(), examples)
    return {group: round(value, 4) for group, value in by_group.items()}


def held_out_instructions(
    examples: Sequence[Example], description: Description, seed: int, each: int | None = None
) -> list[Example]:
    """Validation instructions, rephrased half of the time by templates that training never sees.

    Args:
        examples: of both sides of the split.
        description: whose groups they are drawn by.
        seed: of what is drawn.
        each: how often each is drawn at most, on average.
    """
    validation = [e for e in examples if split(e) == "validation"]
    if not validation:
        return []
    stream: Iterator[Example] = iter(
        Sampler(
            validation,
            seed + 9,
            description.main_group,
            description.rows,
            paraphrased=0.5,
            two=0.0,
            template_split="evaluation",
        )
    )
    return list(islice(stream, min(240, (each or 240) * len(validation))))
