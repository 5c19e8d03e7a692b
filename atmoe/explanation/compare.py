"""Answers to one question, each under its own plan: how likely each is under every plan, and where the first two part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import torch

from atmoe.answer.answer import Answer
from atmoe.errors import PromptError
from atmoe.mixture.mixture import Mixture


@dataclass(frozen=True)
class Parting:
    """The first token at which two answers differ.

    index: of that token, from 0.  before: the text that they share.  tokens: what each goes on with; "" = it ends.
    probabilities: [plan][token] of those two after the shared text; None where one of them ends there.
    """

    index: int
    before: str
    tokens: tuple[str, str]
    probabilities: tuple[tuple[float, float], tuple[float, float]] | None


@dataclass(frozen=True)
class Comparison:
    """logp: [answer][plan], the mean log-probability of an answer's tokens; None for an answer that holds no words.
    parting: of the first two answers; None where they are the same.
    """

    logp: tuple[tuple[float, ...] | None, ...]
    parting: Parting | None


def compare(model: Mixture, *answers: Answer) -> Comparison:
    """Compare two or more records of one question.

    Raises:
        PromptError: they answer different questions.
    """
    if len({given.prompt for given in answers}) > 1:
        raise PromptError(
            "These are answers to different questions; compare answers to one question."
        )
    plans = [given.plan for given in answers]
    return Comparison(
        tuple(given.mean_logp(model, plans) for given in answers), _parting(model, *answers[:2])
    )


def _parting(model: Mixture, first: Answer, second: Answer) -> Parting | None:
    one, two = first.answer_tokens, second.answer_tokens
    if one == two:
        return None
    shared = [a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(one, two))]
    index = len(shared)
    tokens = [list(tokens[index : index + 1]) for tokens in (one, two)]
    probabilities = None
    if all(tokens):
        prompt = model.encode(first.prompt)
        batch = model.collate([prompt] * 2, [shared] * 2)
        with torch.inference_mode():
            hidden, _, _ = model.forward(batch, [first.plan, second.plan], logits=False)
            found = model.logits(hidden[:, -1]).float().softmax(-1)[:, [tokens[0][0], tokens[1][0]]]
        probabilities = tuple(map(tuple, found.tolist()))
    return Parting(
        index,
        model.tokenizer.decode(shared),
        tuple(map(model.tokenizer.decode, tokens)),
        probabilities,
    )
