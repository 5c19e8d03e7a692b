"""Two answers to one question, each under its own plan: how likely each is under either plan, and where they part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import torch

from atmoe.errors import PromptError
from atmoe.model import AtMoe
from atmoe.record import Record


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
    parting: None where the answers are the same."""

    logp: tuple[tuple[float, float] | None, tuple[float, float] | None]
    parting: Parting | None


def compare(model: AtMoe, first: Record, second: Record) -> Comparison:
    """Compare two records of one question.

    Raises:
        PromptError: they answer different questions.
    """
    if first.prompt != second.prompt:
        raise PromptError("These are answers to different questions; compare two answers to one question.")
    plans = [first.plan, second.plan]
    return Comparison((first.mean_logp(model, plans), second.mean_logp(model, plans)), _parting(model, first, second))


def _parting(model: AtMoe, first: Record, second: Record) -> Parting | None:
    one, two = first.answer_tokens, second.answer_tokens
    if one == two:
        return None
    shared = [a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(one, two))]
    index = len(shared)
    tokens = [list(tokens[index:index + 1]) for tokens in (one, two)]
    probabilities = None
    if all(tokens):
        prompt = model.encode(first.prompt)
        batch = model.collate([prompt] * 2, [shared] * 2)
        with torch.inference_mode():
            hidden, _, _ = model.forward(batch, [first.plan, second.plan], logits=False)
            found = model.logits(hidden[:, -1]).float().softmax(-1)[:, [tokens[0][0], tokens[1][0]]]
        probabilities = tuple(map(tuple, found.tolist()))
    return Parting(index, model.tokenizer.decode(shared), tuple(map(model.tokenizer.decode, tokens)), probabilities)
