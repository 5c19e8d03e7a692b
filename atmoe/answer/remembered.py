"""Remembered given before, to be given again at once: a bounded cache, the least recently used going first.

An answer is a function of its key: prompt, plan, how tokens are chosen, and the weights and precision that computed it. It is
held by one person (in the app, by one tab), never by all: shared, it would tell whoever guesses a question, by how fast the
answer comes, that somebody asked it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar

from atmoe.answer.answer import Answer
from atmoe.answer.sampling import Sampling
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan

Given = TypeVar("Given", bound=Answer)


@dataclass
class Remembered(Generic[Given]):
    """entries, size: at most so many answers, of so many bytes together."""

    entries: int = 32
    size: int = 1 << 20
    _kept: OrderedDict[bytes, tuple[Given, Any]] = field(default_factory=OrderedDict)

    @staticmethod
    def key(model: Mixture, prompt: str, plan: RoutingPlan | None, sampling: Sampling) -> bytes:
        """plan: None = the router's own, which the prompt and the weights decide."""
        shares = () if plan is None else (plan.group_shares, plan.expert_shares, plan.strength)
        rest = (
            model.info.sha256,
            model.info.base_sha256,
            model.precision,
            model.encode(prompt).ids,
            astuple(sampling),
        )
        return sha256(
            b"".join([repr(rest).encode(), *(t.numpy().tobytes() for t in shares)])
        ).digest()

    def get(self, key: bytes) -> tuple[Given, Any] | None:
        """The record, and what was measured of it."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, record: Given, measured: Any) -> None:
        """Keep an answer that has ended."""
        self._kept[key] = record, measured
        self._kept.move_to_end(key)
        while (
            len(self._kept) > self.entries
            or sum(_bytes(record) for record, _ in self._kept.values()) > self.size
        ):
            self._kept.popitem(last=False)


def _bytes(record: Answer) -> int:
    """About what a record takes: its texts, its token ids and its two plans."""
    plans = (record.plan, record.router_plan)
    return (
        4 * len(record.prompt + record.answer)
        + 40 * len(record.answer_tokens)
        + sum(
            t.nbytes
            for plan in plans
            for t in (plan.group_shares, plan.expert_shares, plan.strength)
        )
    )
