"""What an index says of a question, as values: the nearest examples, and how familiar it is.

Nothing here says that an answer is right or wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FAR, EDGE = 0.02, 0.1
"""Below the first a question is far from training, below the second at its edge, unless an example
is very near: short questions rank low, whatever they name."""
SENTENCES = (
    "This question is unlike anything the experts learned from.",
    "This question lies at the edge of what the experts learned from.",
    "This question is worded like those the experts learned from.",
)
"""Of a question that is far, at the edge, and neither."""
NOT_PROOF = "nearest in training; not proof that it was learned there"
"""The label of the nearest examples, wherever they are shown."""
NOT_MEASURED = "not measured"
"""What is said where a model has no index."""
VERY_NEAR = 0.85
NEAR = ((VERY_NEAR, "very near"), (0.6, "near"), (0.0, "not near"))
"""From which similarity on an example is called how near."""


@dataclass(frozen=True)
class Source:
    """One training example that lies near a question.

    Attributes:
        source: who published it ("GARD"); a file's name in a training of one's own.
        topic: what it is about; "" = nothing was said.
        task: its label in the model's first group; "" = none.
        address: of its public page; "" = none.
        similarity: 0 to 1.
    """

    source: str
    topic: str
    task: str
    address: str
    similarity: float

    @property
    def named(self) -> str:
        """Who published it, on what, for which task: what of them there is."""
        return " · ".join(filter(None, (self.source, self.topic, self.task)))

    @property
    def near(self) -> str:
        """How near it is, in words."""
        return next(words for least, words in NEAR if self.similarity >= least)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Source:
        """The inverse of `to_dict`, of data that the schema has let through."""
        fields = ("source", "topic", "task", "address", "similarity")
        return cls(**{name: data[name] for name in fields})


@dataclass(frozen=True)
class Found:
    """What an index says of one question.

    Attributes:
        familiarity: 0 to 1, a percentile among questions about topics that were not trained on;
            0 = nothing like it in training; None = not measured.
        nearest: training examples, the nearest first.
    """

    familiarity: float | None
    nearest: tuple[Source, ...]

    @property
    def far(self) -> bool:
        """Whether the question is flagged as far from training."""
        return is_far(self.familiarity, self.nearest)

    @property
    def sentence(self) -> str:
        """How familiar the question is, in one of three sentences."""
        return sentence_of(self.familiarity, self.nearest)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, in a plan and in a record; what was not measured is absent."""
        nearest = [source.to_dict() for source in self.nearest]
        measured = {} if self.familiarity is None else {"familiarity": self.familiarity}
        return {**measured, "nearest": nearest}


def sentence_of(familiarity: float | None, nearest: Sequence[Source] | None = None) -> str:
    """How familiar a question is, in one of three sentences, or that it was not measured.

    A question that is like those in training may still have none of them near it: of one that is
    told to be like them, how many of the nearest are not is told too.

    Args:
        familiarity: of a `Found` or a record.
        nearest: of the same.
    """
    place = place_of(familiarity, nearest or ())
    if place is None:
        return f"Whether this question is like those in training was {NOT_MEASURED}."
    sentence, all_nearest = SENTENCES[place], nearest or ()
    away = sum(source.near == NEAR[-1][1] for source in all_nearest)
    if place < len(SENTENCES) - 1 or not away:
        return sentence
    if away == len(all_nearest):
        return f"{sentence[:-1]}, though none of its nearest is near."
    are = "is" if away == 1 else "are"
    return f"{sentence[:-1]}, though {away} of its {len(all_nearest)} nearest {are} not near."


def place_of(familiarity: float | None, nearest: Sequence[Source]) -> int | None:
    """Where a question lies: 0 = far from training, 1 = at its edge, 2 = neither.

    Args:
        familiarity: of a `Found` or a record.
        nearest: of the same.

    Returns:
        None where it was not measured.
    """
    if familiarity is None:
        return None
    if familiarity >= EDGE or any(source.similarity >= VERY_NEAR for source in nearest):
        return 2
    return int(familiarity >= FAR)


def is_far(familiarity: float | None, nearest: Sequence[Source]) -> bool:
    """Whether a question is flagged as far from training; one that was not measured is not.

    Args:
        familiarity: of a `Found` or a record.
        nearest: of the same.
    """
    return place_of(familiarity, nearest) == 0
