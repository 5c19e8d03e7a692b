"""What came out of answering one question at several doses, to and from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atmoe.errors import AtMoeError
from atmoe.schema import ResponseJson, checked

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Response:
    """Answers to one question with one part of the mixture at each of DOSES.

    Attributes:
        target: that part: a group, or group/expert.
        answers: one a dose, as far as they are there.
        logp: the mean log-probability per token of the router's own answer at each dose, in nats;
            None until measured, or where it holds no words.
        ended: whether nothing is to come.
    """

    target: str
    answers: tuple[str, ...]
    logp: tuple[float, ...] | None = None
    ended: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes."""
        return {
            "target": self.target,
            "doses": list(DOSES),
            "answers": list(self.answers),
            "logp": self.logp and list(self.logp),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Response:
        """The inverse of `to_dict`, of a response that had ended.

        Raises:
            AtMoeError: a field is missing, or not what a response holds.
        """
        what, fix = "The record's answers at five shares cannot be read", "use it as downloaded"
        checked(ResponseJson, data, what, fix, AtMoeError)
        if tuple(data["doses"]) != DOSES:
            raise AtMoeError(f"{what} (the shares are others); {fix}.")
        logp = data["logp"]
        return cls(
            data["target"],
            tuple(data["answers"]),
            None if logp is None else tuple(map(float, logp)),
            True,
        )
