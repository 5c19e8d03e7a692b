"""What came out of answering one question at several doses, to and from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atmoe.errors import AtMoeError

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Response:
    """answers: one a dose, as far as they are there.
    logp: the mean log-probability per token of the router's own answer at each dose; None until measured, or where it
    holds no words.
    """

    target: str
    answers: tuple[str, ...]
    logp: tuple[float, ...] | None = None
    ended: bool = False

    def to_dict(self) -> dict[str, Any]:
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
        try:
            target, answers, logp = data["target"], tuple(data["answers"]), data["logp"]
            logp = None if logp is None else tuple(map(float, logp))
            sound = (
                isinstance(target, str)
                and tuple(data["doses"]) == DOSES
                and len(answers) == len(DOSES)
                and all(isinstance(answer, str) for answer in answers)
                and (logp is None or (len(logp) == len(DOSES) and all(map(math.isfinite, logp))))
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            sound = False
        if not sound:
            raise AtMoeError(
                "The record's answers at five shares cannot be read; use it as downloaded."
            )
        return cls(target, answers, logp, True)
