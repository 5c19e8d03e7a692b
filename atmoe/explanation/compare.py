"""Answers to one question, each under its own plan.

How likely each is under every plan, and where the first two part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import torch

from atmoe.answer.answer import Answer
from atmoe.errors import PromptError
from atmoe.explanation.spans import character_at, token_texts
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.words import check_question


@dataclass(frozen=True)
class Parting:
    """The first token at which two answers differ.

    Attributes:
        index: of that token, from 0.
        before: the text that they share.
        tokens: what each goes on with; "" = it ends.
        probabilities: [plan][token] of those two after the shared text; None where one of them
            ends there.
    """

    index: int
    before: str
    tokens: tuple[str, str]
    probabilities: tuple[tuple[float, float], tuple[float, float]] | None


@dataclass(frozen=True)
class Comparison:
    """Two or more answers to one question, measured under one another's plans.

    Attributes:
        logp: [answer][plan], the mean log-probability of an answer's tokens, in nats; None for an
            answer that holds no words.
        parting: of the first two answers; None where they are the same.
    """

    logp: tuple[tuple[float, ...] | None, ...]
    parting: Parting | None


def compare(model: Mixture, *answers: Answer) -> Comparison:
    """Compare two or more answers to one question.

    Raises:
        PromptError: they answer different questions.
    """
    if len({check_question(answer.prompt) for answer in answers}) > 1:
        raise PromptError(
            "These are answers to different questions; compare answers to one question."
        )
    plans = [answer.plan for answer in answers]
    logp = tuple(answer.mean_logp(model, plans) for answer in answers)
    return Comparison(logp, _parting(model, *answers[:2]))


def _parting(model: Mixture, first: Answer, second: Answer) -> Parting | None:
    one, two = first.answer_tokens, second.answer_tokens
    if one == two:
        return None
    shared = [a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(one, two))]
    index = len(shared)
    next_one, next_two = list(one[index : index + 1]), list(two[index : index + 1])
    probabilities = None
    if next_one and next_two:
        prompt = model.encode(first.prompt)
        batch = model.collate([prompt] * 2, [shared] * 2)
        with torch.inference_mode():
            hidden, _, _ = model.forward(batch, [first.plan, second.plan], logits=False)
            # [2 plans, vocabulary] → [2 plans, 2 tokens]
            rows = model.logits(hidden[:, -1]).float().softmax(-1)[:, [next_one[0], next_two[0]]]
        (one_one, one_two), (two_one, two_two) = rows.tolist()
        probabilities = ((one_one, one_two), (two_one, two_two))
    texts = tuple(character_at(model.tokenizer, tokens, index) for tokens in (one, two))
    before = "".join(token_texts(model.tokenizer, shared))
    return Parting(index, before, (texts[0], texts[1]), probabilities)
