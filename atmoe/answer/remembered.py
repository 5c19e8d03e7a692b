"""Answers given before, to be given again at once; the least recently used goes first.

An answer is a function of its key: prompt, plan, how tokens are chosen, and the weights and
precision that computed it. It is held by one person (in the app, by one tab), never by all: shared,
it would tell whoever guesses a question, by how fast the answer comes, that somebody asked it.
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

AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass
class Remembered(Generic[AnswerT]):
    """One person's answers, each with what was measured of it.

    Attributes:
        entries: at most so many answers.
        size: of at most so many bytes together.
    """

    entries: int = 32
    size: int = 1 << 20
    _kept: OrderedDict[bytes, tuple[AnswerT, Any]] = field(default_factory=OrderedDict)

    @staticmethod
    def key(mixture: Mixture, prompt: str, plan: RoutingPlan | None, sampling: Sampling) -> bytes:
        """All that decides an answer, in 32 bytes.

        Args:
            mixture: what would answer.
            prompt: what a person typed.
            plan: None = the router's own, which the prompt and the weights decide.
            sampling: how tokens are chosen.
        """
        shares = () if plan is None else (plan.group_shares, plan.expert_shares, plan.strength)
        rest = (
            mixture.info.sha256,
            mixture.info.base_sha256,
            mixture.precision,
            mixture.encode(prompt).ids,
            astuple(sampling),
        )
        parts = [repr(rest).encode(), *(t.numpy().tobytes() for t in shares)]
        return sha256(b"".join(parts)).digest()

    def get(self, key: bytes) -> tuple[AnswerT, Any] | None:
        """The record, and what was measured of it."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, record: AnswerT, measured: Any) -> None:
        """Keep an answer that has ended."""
        self._kept[key] = record, measured
        self._kept.move_to_end(key)
        while len(self._kept) > self.entries or self._bytes() > self.size:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(_bytes(record) for record, _ in self._kept.values())


def _bytes(record: Answer) -> int:
    """About what a record takes: its texts, its token ids and its two plans."""
    texts = 4 * len(record.prompt + record.answer)
    tokens = 40 * len(record.answer_tokens)
    plans = sum(
        shares.nbytes
        for plan in (record.plan, record.router_plan)
        for shares in (plan.group_shares, plan.expert_shares, plan.strength)
    )
    return texts + tokens + plans
