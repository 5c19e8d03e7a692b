"""What the rows of a file bring of their own, counted before they are asked."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from atmoe.many.rows import Row


@dataclass(frozen=True)
class Survey:
    """How many of some rows are what they would not be by the command alone.

    Attributes:
        rows: all of them.
        steered: have a steering of their own, and are asked under it.
        seeded: have a seed of their own, and another answer by it.
        otherwise: have the settings of an answer, which are others than those that it is given by.
        repeated: not rows, but ids, that more than one of them has.
        generated: have the tokens of an answer, which is scored as its text is read.
    """

    rows: int
    steered: int
    seeded: int
    otherwise: int
    repeated: int
    generated: int = 0

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        settings: Mapping[str, Any] | None = None,
        scored: bool = False,
    ) -> Self:
        """Of rows, read once; of each id 64 bits are kept.

        Args:
            rows: some.
            settings: those of `Sampling` that they are answered by; None = they are not answered.
            scored: whether their own answers are scored.
        """
        settings = settings or {}
        drawn = settings.get("temperature", 0) > 0
        ids, steered, seeded, otherwise, generated = array("q"), 0, 0, 0, 0
        for row in rows:
            ids.append(hash(row.id))
            steered += row.steered
            seeded += drawn and not row.error and row.seed not in (None, settings["seed"])
            otherwise += row.sampled_otherwise(settings)
            generated += scored and row.generated and not row.error
        _, counts = np.unique(ids, return_counts=True)
        return cls(len(ids), steered, seeded, otherwise, int((counts > 1).sum()), generated)

    @property
    def told(self) -> tuple[str, ...]:
        """What a person would not expect of their rows, other than a steering; in sentences."""
        counted = (
            (self.repeated, "Ids that more than one row has: {}; rows are not told apart by them."),
            (self.seeded, "Rows that are answered under a seed of their own, not --seed: {}."),
            (
                self.otherwise,
                "Rows that bring other settings of an answer (sampling) than the command's, which "
                "hold: {}.",
            ),
            (
                self.generated,
                "Rows that bring the tokens of their answer, which is scored as its text is read "
                "and may be cut into others: {}.",
            ),
        )
        return tuple(sentence.format(count) for count, sentence in counted if count)
