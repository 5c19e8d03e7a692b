"""Drafts: an answer's question sampled again, and which statements of the answer the drafts share.

    answer ─ split ─► statements ─┐
    five samples of the question ─┴─ word overlap ─► shared: 0 to 1 a statement ─ mean ─► agreement

A statement is a sentence, or an item of a list. A draft shares it where one of the draft's own
statements has an F1 of at least `LIKE` with it, over stems of content words. Self-agreement is the
mean over statements of the share of drafts that do. It follows SelfCheckGPT (Manakul et al. 2023,
arXiv 2303.08896): one answer, several samples of the same question, a score a sentence, and the
mean of them. There models judge whether a sample bears a sentence out; here its words do, so that
one thing said in two ways counts as two.

That drafts agree does not make them right.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from atmoe.answer.answer import Answer
from atmoe.answer.generation import generate
from atmoe.answer.sampling import Sampling
from atmoe.errors import AtMoeError, SamplingError
from atmoe.flags.words import content_of, statements_of
from atmoe.mixture.mixture import Mixture
from atmoe.schema import SEEDS, DraftsJson, checked

COUNT = 5
TEMPERATURE = 0.7
LIKE = 0.5
"""Two statements are alike from this F1 of their content words on."""


@dataclass(frozen=True)
class Statement:
    """A sentence or item of an answer: its characters `start` to `end` (not included).

    Attributes:
        start: of its first character.
        end: after its last.
        text: what stands there.
        shared: the share of drafts that hold a statement like it, 0 to 1.
    """

    start: int
    end: int
    text: str
    shared: float


@dataclass(frozen=True)
class Drafts:
    """An answer, and its question sampled several times more.

    Attributes:
        answer: the one that was shown.
        texts: the drafts as far as they are there, one a seed.
        seeds: of the drafts.
        sampling: their settings other than the seed.
        ended: whether nothing is to come.
    """

    answer: str
    texts: tuple[str, ...]
    seeds: tuple[int, ...]
    sampling: Mapping[str, float]
    ended: bool = False

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Those of the answer, in their order, with the share of drafts that hold each."""
        return compared(self.answer, self.texts)

    @property
    def agreement(self) -> float | None:
        """Self-agreement, 0 to 1: the mean of what is shared; None of an answer without words."""
        return agreement_of(self.statements)

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes; statements and agreement are written for whoever has the file alone."""
        statements = self.statements
        return {
            "answer": self.answer,
            "drafts": list(self.texts),
            "seeds": list(self.seeds),
            "sampling": dict(self.sampling),
            "statements": [asdict(statement) for statement in statements],
            "agreement": agreement_of(statements),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Drafts:
        """The inverse of `to_dict`, of drafts that had ended.

        Raises:
            AtMoeError: a field is missing, or not what drafts hold, or the statements are not
                those that the texts give.
        """
        what, fix = "The drafts of an answer cannot be read", "use them as downloaded"
        checked(DraftsJson, data, what, fix, AtMoeError)
        sampling = dict(data["sampling"])
        try:
            if "seed" in sampling:
                raise TypeError("sampling names a seed")
            Sampling(**sampling)
        except (SamplingError, TypeError) as error:
            raise AtMoeError(f"{what} ({str(error).rstrip('.')}); {fix}.") from error
        drafts = cls(
            data["answer"], tuple(data["drafts"]), tuple(data["seeds"]), sampling, ended=True
        )
        written = [dict(statement) for statement in data["statements"]]
        if written != [asdict(statement) for statement in drafts.statements] or (
            data["agreement"] != drafts.agreement
        ):
            raise AtMoeError(f"{what} (its statements are not those of its texts); {fix}.")
        return drafts


def drafting(
    model: Mixture, answer: Answer, count: int = COUNT, temperature: float = TEMPERATURE
) -> Generator[Drafts, None, None]:
    """Sample an answer's question several times under the answer's own plan, as rows of one batch.

    Args:
        model: the one that gave the answer.
        answer: the one that is shown.
        count: of drafts, 1 to 16.
        temperature: of their sampling; all else is as in the answer.

    Yields:
        The drafts so far, after each token of all; last, all of them, ended.

    Raises:
        AtMoeError: no such count.
        PromptError, PlanError, SamplingError: before anything is decoded.
    """
    settings = _settings(answer, count, temperature)
    seeds = seeds_of(answer, count)
    prompts, plans = [answer.prompt] * count, [answer.plan] * count
    texts = ("",) * count
    for step in generate(model, prompts, plans, Sampling(**settings), seeds=seeds):
        texts = step.texts
        yield Drafts(answer.answer, texts, seeds, settings)
    yield Drafts(answer.answer, texts, seeds, settings, ended=True)


def drafted(
    model: Mixture,
    answers: Sequence[Answer],
    count: int = COUNT,
    temperature: float = TEMPERATURE,
) -> list[Drafts]:
    """The drafts of several answers, all decoded together; each answer's are those of `drafting`.

    Args:
        model: the one that gave the answers.
        answers: all of one sampling, seeds apart.
        count: of drafts each, 1 to 16.
        temperature: of their sampling.

    Raises:
        AtMoeError: no such count, or their samplings differ.
        PromptError, PlanError, SamplingError: before anything is decoded.
    """
    if not answers:
        return []
    settings = _settings(answers[0], count, temperature)
    if any(_settings(answer, count, temperature) != settings for answer in answers):
        raise AtMoeError("These answers were sampled differently; draft them one by one.")
    rows = [answer for answer in answers for _ in range(count)]
    seeds = [seed for answer in answers for seed in seeds_of(answer, count)]
    plans = [answer.plan for answer in rows]
    prompts = [answer.prompt for answer in rows]
    texts = generate(model, prompts, plans, Sampling(**settings), seeds=seeds).run().texts
    return [
        Drafts(a.answer, texts[n * count : (n + 1) * count], seeds_of(a, count), settings, True)
        for n, a in enumerate(answers)
    ]


def _settings(answer: Answer, count: int, temperature: float) -> dict[str, Any]:
    """How an answer's drafts are sampled.

    Raises:
        AtMoeError: there cannot be so many.
    """
    if not 1 <= count <= 16:
        raise AtMoeError(f"{count} drafts cannot be made; ask for 1 to 16.")
    return {**answer.sampling, "temperature": temperature}


def seeds_of(answer: Answer, count: int = COUNT) -> tuple[int, ...]:
    """The seeds of an answer's drafts: those after its own, so that none is the answer again."""
    return tuple((answer.seed + 1 + n) % SEEDS for n in range(count))


def compared(answer: str, drafts: Sequence[str]) -> tuple[Statement, ...]:
    """The statements of an answer, each with the share of drafts that hold one like it.

    Args:
        answer: the one that is shown.
        drafts: to hold it against, at least one.
    """
    held = [[content_of(statement.text) for statement in statements_of(draft)] for draft in drafts]
    statements = []
    for piece in statements_of(answer):
        words = content_of(piece.text)
        sharing = sum(any(f1(words, other) >= LIKE for other in draft) for draft in held)
        statements.append(Statement(*piece, shared=sharing / len(drafts)))
    return tuple(statements)


def f1(one: frozenset[str], other: frozenset[str]) -> float:
    """Overlap of two sets of words: 2 · common / (both sizes), 0 to 1 (Dice; ROUGE-1's F1)."""
    return 2 * len(one & other) / max(len(one) + len(other), 1)


def agreement_of(statements: Sequence[Statement]) -> float | None:
    """The mean of what is shared; None of no statement."""
    if not statements:
        return None
    return sum(statement.shared for statement in statements) / len(statements)
