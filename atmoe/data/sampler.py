"""Which examples a training or a study sees, and in which words: a stream made by its seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from atmoe.data.schema import Example
from atmoe.data.templates import paraphrase, two_needs

CLINICIAN = 0.2
"""The share of reference answers that are asked for in a clinician's words."""


class Sampler:
    """An endless, seeded stream of examples, rephrased by templates, some with two needs.

    Experts of one group come in fixed proportions; the cells that the other labels make of each are
    evened out by the square root of their size.

    Args:
        group: whose experts these are.
        rows: their proportions; 1 where it says nothing.
        paraphrased: the share of examples that are asked in other words.
        two: the share that is asked together with another need about the same disease.
        template_split: "train" or "evaluation": the wordings to draw from.
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
        self._examples = examples
        self._paraphrased = paraphrased
        self._two = two
        self._split = template_split
        self._clinicians = any(e.labels.get("audience") == "professional" for e in examples)
        cells = [tuple(sorted(e.labels.items())) for e in examples]
        sizes = Counter(cells)
        experts = [e.labels.get(group) for e in examples]
        per_expert: dict[str | None, float] = defaultdict(float)
        for expert, cell in zip(experts, cells):
            per_expert[expert] += sizes[cell] ** -0.5
        self._weights = []
        for expert, cell in zip(experts, cells):
            proportion = 1.0 if expert is None else rows.get(expert, 1.0)
            self._weights.append(sizes[cell] ** -0.5 / per_expert[expert] * proportion)
        self._by_disease: dict[str, list[Example]] = defaultdict(list)
        for e in examples:
            self._by_disease[e.disease].append(e)

    def __iter__(self) -> Iterator[Example]:
        rng = self._rng
        while True:
            for example in rng.choices(self._examples, self._weights, k=256):
                both = self._with_another_need(example) if rng.random() < self._two else None
                if both is not None:
                    yield both
                elif rng.random() < CLINICIAN and (asked := self._by_a_clinician(example)):
                    yield asked
                elif rng.random() < self._paraphrased:
                    yield paraphrase(example, rng, self._split)
                else:
                    yield example

    def _with_another_need(self, example: Example) -> Example | None:
        """The example and another about its disease for its readers, as one; None without such."""
        others = [
            other
            for other in self._by_disease[example.disease]
            if other.labels != example.labels
            and other.labels.get("audience") == example.labels.get("audience")
        ]
        if not others:
            return None
        return two_needs(example, self._rng.choice(others), self._rng, self._split)

    def _by_a_clinician(self, example: Example) -> Example | None:
        """A reference answer, asked for by a professional and so labelled; None for other examples.

        Corpora have notes and abstracts alone for professionals. An expert that saw nothing else
        writes a note about a patient whom nobody mentioned.
        """
        reference = example.labels.get("audience") == "reference" and not example.material
        # Without a focus, as rows of one's own are, it would keep its words under another label.
        if not (reference and example.focus and self._clinicians):
            return None
        labels = {**example.labels, "audience": "professional"}
        return paraphrase(replace(example, labels=labels), self._rng, self._split)
