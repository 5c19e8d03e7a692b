"""Lines that are no question for a model, and some that are one in real people's words.

A description names those of its model (`familiarity`). Without, familiarity is not measured: what
is a question for one model is none for another. A file of one's own has the layout of
`outside.json`, which holds those of a medical model, all of them written for this project:

    {"outside": {"weather": {"choose": ["Will it rain?"], "kept": ["Is it windy?"]}}, "inside": {}}

"choose" is what scores and thresholds are made with, "kept" what they are tested on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from atmoe.errors import DataError
from atmoe.schema import Json, checked
from atmoe.written import json_of

OURS = "medical"
"""What a description calls those of a medical model."""
SPLITS = ("choose", "kept")
BESIDE = "other matters"
"""The kind of lines outside that is reported beside the others, which must be flagged."""

Kinds = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Kind → split → lines."""


@dataclass(frozen=True)
class Lines:
    """Lines on both sides of what a model learned.

    Attributes:
        inside: questions for the model, in real people's words and in shorthand; may be none.
        outside: no question for it.
    """

    inside: Kinds
    outside: Kinds

    @classmethod
    def load(cls, name: str) -> Lines:
        """Those that a description names.

        Args:
            name: `OURS`, or the path of a file.

        Raises:
            DataError: there is no such file, or it has another layout.
        """
        path = Path(__file__).parent / "outside.json" if name == OURS else Path(name)
        try:
            raw = json_of(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"The lines in {path} cannot be read ({error}); name a JSON file in UTF-8."
            ) from error
        data = checked(
            _LinesJson,
            raw,
            f"The lines in {path} cannot be used",
            "give them the layout of atmoe/sources/outside.json",
            DataError,
        )
        return cls(*(_kinds(side) for side in (data.inside, data.outside)))


def lines(kinds: Kinds, split: str) -> Iterator[tuple[str, str]]:
    """(kind, line) of one split."""
    for kind, splits in kinds.items():
        for line in splits[split]:
            yield kind, line


class _KindJson(Json):
    choose: Annotated[list[str], Field(min_length=1)]
    kept: Annotated[list[str], Field(min_length=1)]


class _LinesJson(Json):
    outside: dict[str, _KindJson]
    inside: dict[str, _KindJson]

    @model_validator(mode="after")
    def _told_apart(self) -> _LinesJson:
        if self.inside.keys() & self.outside.keys():
            raise ValueError("a kind has the same name on both sides")
        if not self.outside.keys() - {BESIDE}:
            raise ValueError(f"no kind is outside but {BESIDE!r}")
        return self


def _kinds(side: Mapping[str, _KindJson]) -> Kinds:
    return {
        kind: {"choose": tuple(splits.choose), "kept": tuple(splits.kept)}
        for kind, splits in side.items()
    }
