"""Which examples a training or a study sees, and in which words: an endless stream that follows from its seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from atmoe.data.schema import Example
from atmoe.data.templates import paraphrase, two_needs


class Sampler:
    """An endless, seeded stream of examples: experts of one group (`group`) in fixed proportions (`rows`, 1 where it
    says nothing), the cells that the other labels make of each evened out by the square root of their size, questions
    rephrased by templates, some with two needs.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        seed: int,
        group: str,
        rows: Mapping[str, float] = MappingProxyType({}),
        paraphrased: float = 0.6,
        two: float = 0.08,
        template_split: str = "train",
    ):
        self._rng = random.Random(seed)
        self._examples, self._paraphrased, self._two, self._split = (
            examples,
            paraphrased,
            two,
            template_split,
        )
        cells = [tuple(sorted(e.labels.items())) for e in examples]
        sizes = Counter(cells)
        per_expert: dict[str | None, float] = defaultdict(float)
        for e, cell in zip(examples, cells):
            per_expert[e.labels.get(group)] += sizes[cell] ** -0.5
        self._weights = [
            sizes[cell] ** -0.5
            / per_expert[e.labels.get(group)]
            * rows.get(e.labels.get(group), 1.0)
            for e, cell in zip(examples, cells)
        ]
        self._by_disease: dict[str, list[Example]] = defaultdict(list)
        for e in examples:
            self._by_disease[e.disease].append(e)

    def __iter__(self) -> Iterator[Example]:
        rng = self._rng
        while True:
            for example in rng.choices(self._examples, self._weights, k=256):
                if rng.random() < self._two:
                    others = [
                        o
                        for o in self._by_disease[example.disease]
                        if o.labels != example.labels
                        and o.labels.get("audience") == example.labels.get("audience")
                    ]
                    both = (
                        two_needs(example, rng.choice(others), rng, self._split) if others else None
                    )
                    if both is not None:
                        yield both
                        continue
                yield (
                    paraphrase(example, rng, self._split)
                    if rng.random() < self._paraphrased
                    else example
                )
