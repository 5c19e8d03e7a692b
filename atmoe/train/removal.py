"""Is what lies nearest what was learned from? Experts trained without it, and without as much else.

    question of an unseen disease ─ index ─► its 10 nearest training examples
    the 10 + 50 others of its main label ─► without the 10 · without 10 others, twice
        each: experts from nothing, on the labels' weights ─► loss of the reference answer

A whole training without ten of twelve thousand examples would take hours a question; in a pool of
sixty the ten are a sixth, so the difference is far larger here than in the shipped experts. What
can be read from it is the order: whether the nearest are worth more than others of that label.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.model import AtMoe
from atmoe.sources.fitting import tested
from atmoe.sources.index import WEIGHTS
from atmoe.study.bootstrap import rate
from atmoe.study.sources import Asked, indexed
from atmoe.train.experts import label_weights
from atmoe.train.rows import Row, answer_loss, collate_rows, encode_row

NEAREST, OTHERS, DRAWS = 10, 50, 2
CUT = 64
"""Tokens of an answer that are learned and scored."""
ROWS, LEARNING_RATE = 5, 2e-3
"""Of a step."""


def study(
    model: AtMoe, fresh: AtMoe, examples: Sequence[Example], questions: int, seed: int = 0
) -> dict[str, Any]:
    """What the nearest examples are worth, beside as many others.

    Args:
        model: with its index; its router says what lies near.
        fresh: of the same groups, its experts untrained; they are trained, and put back.
        examples: of both sides of the split, the ones that the index was made of among them.
        questions: how many.
        seed: of what is drawn.

    Returns:
        "questions": each {"nearest", "others": [...]}, nats a token of the reference answer after
            a training without them; "more": the first less the mean of the others, as `rate` has
            it; "worse": for how many questions it is positive; "too_few": how many questions are
            not among them, for fewer examples than a pool has can be read.

    Raises:
        AssetError: the model has no index.
        DataError: the index was made of other examples, no question can be read, or none has
            examples enough.
    """
    began, rng = time.perf_counter(), random.Random(seed)
    index, training = indexed(model, examples)
    unseen = [e for e in tested(examples) if _row(model, e) is not None]
    asked = Asked(model, rng.sample(unseen, min(questions, len(unseen))), "questions")
    if not asked.examples:
        raise DataError("There is no question to ask; name a corpus that holds some.")
    start = [p.detach().clone() for p in fresh.bank.parameters_to_train()]
    main = model.layout.group_names[0]
    judged: list[Example] = []
    nearest_lost: list[float] = []
    others_lost: list[list[float]] = []
    for i, example in enumerate(tqdm(asked.examples, desc="retraining")):
        similarity = asked.similarity(index, i, WEIGHTS)
        order = similarity.argsort(descending=True).tolist()
        rows = [(place, _row(fresh, training[place])) for place in order[: 4 * NEAREST]]
        nearest = [(place, row) for place, row in rows if row is not None][:NEAREST]
        taken = {place for place, _ in nearest}
        alike = [
            place
            for place, e in enumerate(training)
            if place not in taken and e.labels.get(main) == example.labels.get(main)
        ]
        drawn = (_row(fresh, training[place]) for place in rng.sample(alike, len(alike)))
        others = [row for row, _ in zip(filter(None, drawn), range(OTHERS))]
        near = [row for _, row in nearest]
        if len(near) < NEAREST or len(others) < OTHERS:
            continue
        judged.append(example)
        without = [others] + [near + rng.sample(others, OTHERS - NEAREST) for _ in range(DRAWS)]
        own = _row(fresh, example)
        assert own is not None  # it was chosen by that
        losses = [_loss_after(fresh, start, pool, own, seed) for pool in without]
        nearest_lost.append(losses[0])
        others_lost.append(losses[1:])
    _reset(fresh, start)
    if not judged:
        raise DataError(
            f"No question has {NEAREST + OTHERS} training examples of its {main} that can be read; "
            f"name a corpus that holds more, or leave --retrain out."
        )
    more = [near - sum(other) / DRAWS for near, other in zip(nearest_lost, others_lost)]
    return {
        "pool": NEAREST + OTHERS,
        "left_out": NEAREST,
        "questions": [
            {"nearest": near, "others": other} for near, other in zip(nearest_lost, others_lost)
        ],
        "more": rate(more, [e.disease for e in judged], seed),
        "worse": sum(difference > 0 for difference in more),
        "too_few": len(asked.examples) - len(judged),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _row(model: AtMoe, example: Example) -> Row | None:
    """An example as tokens, its answer cut; None where it cannot be read."""
    row = encode_row(model, example)
    return row and replace(row, answer=row.answer[:CUT])


def _reset(model: AtMoe, start: Sequence[torch.Tensor]) -> list[torch.nn.Parameter]:
    """The experts as they were before any training."""
    parameters = model.bank.parameters_to_train()
    with torch.no_grad():
        for parameter, first in zip(parameters, start):
            parameter.copy_(first)
    return parameters


def _loss_after(
    model: AtMoe, start: Sequence[torch.Tensor], pool: Sequence[Row], own: Row, seed: int
) -> float:
    """Nats a token of an answer, once the experts have learned from a pool."""
    parameters = _reset(model, start)
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    rng = random.Random(seed)
    rows = list(pool)
    rng.shuffle(rows)
    for batch in _batches(rows):
        _loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return float(_loss(model, [own]))


def _batches(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Rows as they come, a few a step: so small a pool needs its steps more than full batches."""
    return [rows[place : place + ROWS] for place in range(0, len(rows), ROWS)]


def _loss(model: AtMoe, rows: Sequence[Row]) -> torch.Tensor:
    batch, where, targets = collate_rows(model, rows)
    weights = label_weights(model, [row.example for row in rows])
    hidden, _, _ = model.forward(batch, weights=weights, logits=False)
    return answer_loss(model, hidden, where, targets)
