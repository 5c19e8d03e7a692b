"""Whether the nearest training examples are about what a question is about.

reach     rephrased questions about training diseases: the disease is among the five
unseen    questions about validation diseases: how many of the five share the task, the specialty
gradients the same on a few examples, with projected gradients of the experts' loss beside

Rephrased questions are in words that training never used. Of the validation diseases only those are
asked that familiarity was not calibrated on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Example, paraphrase, reworded, split
from atmoe.errors import AssetError, DataError, PromptError
from atmoe.model import AtMoe
from atmoe.sources.facts import Facts
from atmoe.sources.fitting import tested
from atmoe.sources.index import ALIKE, COVER, WEIGHTS, Index
from atmoe.sources.reading import read, readable
from atmoe.study.bootstrap import rate
from atmoe.study.gradients import gradients

WAYS: Mapping[str, Mapping[str, float]] = {
    "states": {ALIKE: 1.0},
    "words": {COVER: 1.0},
    "labels": {name: w for name, w in WEIGHTS.items() if name not in (COVER, ALIKE)},
    "together": WEIGHTS,
}
"""How a similarity may be made; "words" is BM25 on topics, the last is shipped."""
ASKED = 5
"""Of so many training examples one is asked for in the comparison with gradients."""
OF_ONE = 6
"""Of so many examples at most about one disease, in that comparison."""
LEAST = OF_ONE + 5
"""With fewer examples, the five nearest could not all be about other diseases."""


class Asked:
    """Questions, what the planner read of them, and what was to be found.

    Attributes:
        examples: that the questions are made of, in the words of the questions.
        first: [questions, depth, hidden].
        asked: how much the planner asks for each expert, [questions, experts].
    """

    def __init__(self, model: AtMoe, examples: Sequence[Example], label: str):
        first = read(model, [e.prompt for e in examples], label)
        self.examples, self.first = readable(examples, first)
        planner = model.router.planner
        assert planner is not None  # it has read
        with torch.no_grad():
            texts = [e.prompt for e in self.examples]
            self.asked = planner(self.first.to(model.device), texts).cpu()

    def similarity(self, index: Index, i: int, weights: Mapping[str, float]) -> Tensor:
        """How near each row of an index is to one question [rows]."""
        return index.similarity(self.examples[i].prompt, self.first[i], self.asked[i], weights)


def study(
    model: AtMoe,
    examples: Sequence[Example],
    count: int = 1000,
    subset: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """How well a model's index finds what a question is about.

    Args:
        model: with its index.
        examples: of both sides of the split, the ones that the index was made of among them.
        count: questions of each kind at most.
        subset: training examples that gradients are compared on; 0 = not measured.
        seed: of what is drawn.

    Returns:
        "examples": rows of the index; "milliseconds": of a processor, for one look-up, {"median",
            "most"}.
        "ways": way → {"reach", "task", "specialty" …}, each as `rate` has it; groups by their
            names, once for questions as they stand and once in unseen words ("…, rephrased"). Reach
            and what is rephrased are left out where no wording of ours fits a question.
        "gradients": {"examples", "questions", "ways": way → {"reach", group …}}; None = not
            measured.

    Raises:
        AssetError: the model has no index.
        DataError: the index was made of other examples, there are no questions, or `subset` or the
            examples are too few to compare gradients on.
    """
    began = time.perf_counter()
    rng = random.Random(seed)
    index, rows = indexed(model, examples)
    several = _several(rows, subset) if subset else []
    questions = [e for e in rows if not e.material]
    again = [paraphrase(e, rng, "evaluation") for e in _some(questions, count, rng)]
    known = {e.prompt for e in rows}
    again = [e for e in again if e.prompt not in known]
    unseen = _some(tested(examples), count, rng)
    if not again and not unseen:
        raise DataError("There is no question to ask; name a corpus that holds some.")
    reach = Asked(model, again, "rephrased")
    plain = Asked(model, unseen, "unseen")
    others = reworded(unseen, rng, "evaluation")
    other = Asked(model, others, "unseen, rephrased") if others else None
    ways = {}
    for name, weights in WAYS.items():
        ways[name] = _shared(model, index, rows, plain, weights, "", seed)
        if again:
            ways[name] = {"reach": _reach(index, rows, reach, weights, seed)} | ways[name]
        if other:
            ways[name] |= _shared(model, index, rows, other, weights, ", rephrased", seed)
    return {
        "examples": len(rows),
        "ways": ways,
        "milliseconds": _milliseconds(index, reach if again else plain),
        "gradients": (
            _with_gradients(model, index, rows, several, subset, rng, seed) if subset else None
        ),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _some(examples: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    return rng.sample(list(examples), min(count, len(examples)))


def indexed(model: AtMoe, examples: Sequence[Example]) -> tuple[Index, list[Example]]:
    """A model's index, and the example of each of its rows.

    Raises:
        AssetError: the model has none.
        DataError: the index was made of others.
    """
    index = model.index
    if index is None:
        raise AssetError("This model has no index; make one with atmoe index.")
    training = [e for e in examples if split(e) == "train"]
    if len(training) != len(index.facts):
        training = [e for e in training if _readable(model, e)]
    if Facts.of(training, model.layout.groups) != index.facts:
        raise DataError(
            "The index was made of other examples than these; name the same corpora, or make it "
            "again with atmoe index."
        )
    return index, training


def _readable(model: AtMoe, example: Example) -> bool:
    try:
        model.encode(example.prompt)
    except PromptError:
        return False
    return True


def _reach(
    index: Index,
    rows: Sequence[Example],
    asked: Asked,
    weights: Mapping[str, float],
    seed: int,
) -> dict[str, Any]:
    """How often the disease is among the five."""
    hits = []
    for i, example in enumerate(asked.examples):
        nearest = index.rows(asked.similarity(index, i, weights))
        hits.append(float(any(rows[row].disease == example.disease for row in nearest)))
    return rate(hits, [e.disease for e in asked.examples], seed)


def _shared(
    model: AtMoe,
    index: Index,
    rows: Sequence[Example],
    asked: Asked,
    weights: Mapping[str, float],
    how: str,
    seed: int,
) -> dict[str, Any]:
    """How many of the five share the label, by group."""
    values: dict[str, list[float]] = {group: [] for group in model.layout.group_names[:2]}
    diseases: dict[str, list[str]] = {group: [] for group in values}
    for i, example in enumerate(asked.examples):
        nearest = index.rows(asked.similarity(index, i, weights))
        for group in values:
            label = example.labels.get(group)
            if label is not None:
                same = sum(rows[row].labels.get(group) == label for row in nearest)
                values[group].append(same / len(nearest))
                diseases[group].append(example.disease)
    return {f"{group}{how}": rate(values[group], diseases[group], seed) for group in values}


def _milliseconds(index: Index, asked: Asked, most: int = 200) -> dict[str, float]:
    """How much of a processor's time one look-up takes, familiarity included."""
    times = []
    for i in range(min(most, len(asked.examples))):
        began = time.process_time()
        index.found(asked.examples[i].prompt, asked.first[i], asked.asked[i])
        times.append((time.process_time() - began) * 1e3)
    times = sorted(times[1:] or times)  # the first builds what is kept
    return {"median": round(times[len(times) // 2], 2), "most": round(times[-1], 2)}


def _several(rows: Sequence[Example], subset: int) -> list[list[int]]:
    """Some questions of each disease that has at least three, as places in `rows`.

    Raises:
        DataError: gradients cannot be compared on so few.
    """
    by_disease: dict[str, list[int]] = {}
    for row, example in enumerate(rows):
        if not example.material:
            by_disease.setdefault(example.disease, []).append(row)
    several = [found[:OF_ONE] for found in by_disease.values() if len(found) >= 3]
    count = min(subset, sum(map(len, several)))
    if count < LEAST:
        raise DataError(
            f"Gradients would be compared on {count} examples, of which the five nearest may have "
            f"to be about the same; compare {LEAST} or more, or leave --gradients out."
        )
    return several


def _with_gradients(
    model: AtMoe,
    index: Index,
    rows: Sequence[Example],
    several: list[list[int]],
    subset: int,
    rng: random.Random,
    seed: int,
) -> dict[str, Any]:
    """All ways on a few training examples, and projected gradients beside them.

    Every question is another wording of one of them, its own row left out; its gradient is that of
    the reference answer, which no user has: it is a bound rather than a way to ship.
    """
    rng.shuffle(several)
    pool = [row for found in several for row in found][:subset]
    questions = [(row, paraphrase(rows[row], rng, "evaluation")) for row in pool[::ASKED]]
    questions = [(row, e) for row, e in questions if _readable(model, e)]
    asked = Asked(model, [e for _, e in questions], "subset")
    vectors = gradients(model, [rows[row] for row in pool], seed)
    query = gradients(model, [e for _, e in questions], seed)
    main = model.layout.group_names[0]
    ways: dict[str, dict[str, Any]] = {}
    for name in (*WAYS, "gradients"):
        hits, same = [], []
        for i, (own, example) in enumerate(questions):
            if name == "gradients":
                near = vectors @ query[i]
            else:
                near = asked.similarity(index, i, WAYS[name])[pool]
            near = near.masked_fill(torch.tensor([row == own for row in pool]), -2.0)
            best = [rows[pool[j]] for j in near.topk(5).indices.tolist()]
            hits.append(float(any(e.disease == example.disease for e in best)))
            same.append(sum(e.labels.get(main) == example.labels.get(main) for e in best) / 5)
        diseases = [e.disease for _, e in questions]
        ways[name] = {"reach": rate(hits, diseases, seed), main: rate(same, diseases, seed)}
    return {"examples": len(pool), "questions": len(questions), "ways": ways}
