"""The smallest change that alters the answer: for each group, how far its share must move until the first sentence of
the greedy answer is another one.

The share moves in every layer by the same part of the way to 0% or to 100%, the other groups keeping their proportions, so
that the plan itself is where the way begins. (Holding one value in all layers would flatten them too, which alone alters
many answers.) Bisection in whole percents of the mean share finds where the sentence starts to change, to 2 points, and
the nearer side is reported; a nearer stretch where it changes and changes back can be missed. Nothing is generated on the
way: the sentence has changed where, read token by token, another token would have been chosen.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atmoe.answer.answer import Answer
from atmoe.answer.generation import generate
from atmoe.answer.sampling import Sampling
from atmoe.explanation.spans import Span, sentence_spans
from atmoe.explanation.sweep import finish, sweep, telling
from atmoe.explanation.value import Change
from atmoe.mixture.mixture import Mixture
from atmoe.prompt import Prompt
from atmoe.routing.plan import RoutingPlan

POINTS = 2
"""How close the bisection comes, in points of a group's mean share."""
MARGIN = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""How far another token's logit must lead before it counts: below it, tokens tie within the precision's rounding."""
BEYOND = (0, 2, 5, 10, 100)
"""Points beyond a share found that are decoded in turn, should decoding see a tie where reading saw a change."""
LONGEST = 80
"""Tokens of a first sentence; a longer one is looked at up to here."""


@dataclass
class _Search:
    """One group on its way to one end. near: a mean share, in percent, that leaves the sentence; far: one that changes it."""

    group: str
    near: float
    far: int

    @property
    def over(self) -> bool:
        return abs(self.far - self.near) <= POINTS

    @property
    def up(self) -> bool:
        return self.far > self.near

    @property
    def middle(self) -> int:
        return round((self.near + self.far) / 2)


def smallest_changes(model: Mixture, given: Answer) -> tuple[Change, ...]:
    """`searching`, run to its end."""
    return finish(searching(model, given))


def searching(model: Mixture, given: Answer) -> Generator[float, None, tuple[Change, ...]]:
    """Search for every group at once. Yields the fraction done; returns a `Change` for each group.

    Raises:
        PromptError: the record's answer is empty.
    """
    plan, prompt = given.plan, model.encode(given.prompt)
    sampling = Sampling(LONGEST, repetition_penalty=given.sampling["repetition_penalty"])
    tokens = given.answer_tokens[:LONGEST]
    if given.sampling["temperature"] > 0:  # the answer was drawn; the greedy one is looked at
        [(tokens, _)] = yield from _first_sentences(model, given.prompt, [plan], sampling, 0.0, 0.2)
    first = _first(model, tokens)
    tail, choose = tokens[: first.end], _chooser(sampling, prompt, tokens)
    shares = {
        g: float(plan.group_shares[:, i].mean()) for i, g in enumerate(model.layout.group_names)
    }
    changes = {g: Change(g, share, first.text) for g, share in shares.items()}

    def changed(tries: Sequence[tuple[str, int]]) -> Generator[float, None, list[bool]]:
        """Whether each (group, percent) changes the sentence."""
        found = yield from sweep(
            model,
            prompt,
            tail,
            [plan, *(moved(plan, g, percent) for g, percent in tries)],
            choose=choose,
        )
        return (found.lead[1:] > MARGIN.get(model.bank.dtype, 0.25)).any(1).tolist()

    searches = [
        _Search(g, 100 * share, end)
        for g, share in shares.items()
        for end in (0, 100)
        if movable(plan, g, end)
    ]
    answer = yield from _part(changed([(s.group, s.far) for s in searches]), 0.2, 0.4)
    searches = [s for s, differs in zip(searches, answer) if differs]
    done = 0.4
    while open_ := [s for s in searches if not s.over]:
        answer = yield from _part(
            changed([(s.group, s.middle) for s in open_]), done, done := done + (0.8 - done) / 4
        )
        for s, other in zip(open_, answer):
            s.near, s.far = (s.near, s.middle) if other else (s.middle, s.far)
    nearest: dict[str, _Search] = {}
    for s in sorted(searches, key=lambda s: abs(s.far - 100 * shares[s.group])):
        nearest.setdefault(s.group, s)
    for points in BEYOND:
        beyond = {
            g: min(s.far + points, 100) if s.up else max(s.far - points, 0)
            for g, s in nearest.items()
            if changes[g].to is None
        }
        if not beyond:
            break
        plans = [moved(plan, g, percent) for g, percent in beyond.items()]
        written = yield from _first_sentences(model, given.prompt, plans, sampling, 0.8, 1.0)
        for (g, percent), (others, sentence) in zip(beyond.items(), written):
            at = next((i for i, (a, b) in enumerate(zip(tail, others)) if a != b), None)
            if at is not None and sentence != first.text:
                token = lambda ids, at=at: model.tokenizer.decode([ids[at]])
                changes[g] = replace(
                    changes[g],
                    to=percent / 100,
                    after=sentence,
                    at=at,
                    token_before=token(tail),
                    token_after=token(others),
                )
    return tuple(changes.values())


def moved(plan: RoutingPlan, group: str, percent: float) -> RoutingPlan:
    """The plan with a group's mean share moved to `percent`: in every layer by the same part of the way to 0, or to all
    that the groups have together there. The others keep their proportions; where they have nothing, the layer stays.
    """
    column = plan.layout.group_index(group)
    shares = plan.group_shares.clone()
    own, total = shares[:, column], shares.sum(1)
    free = total - own > 0
    mean, most = float(own.mean()), float(torch.where(free, total, own).mean())
    to = percent / 100
    part = (
        0.0
        if to == mean
        else (mean - to) / mean
        if to < mean
        else min(1.0, (to - mean) / max(most - mean, 1e-9))
    )
    new = torch.where(free, own * (1 - part) if to < mean else own + part * (total - own), own)
    rest = torch.where(
        free, (total - new).clamp(min=0) / (total - own).clamp(min=1e-9), torch.ones_like(own)
    )
    shares *= rest[:, None]
    shares[:, column] = new
    return replace(plan, group_shares=shares)


def movable(plan: RoutingPlan, group: str, percent: float) -> bool:
    """Whether moving the group towards `percent` makes another plan."""
    return not moved(plan, group, percent).close_to(plan)


def _first(model: Mixture, tokens: Sequence[int]) -> Span:
    spans = sentence_spans(model.tokenizer, tokens)
    return spans[0] if spans else Span(0, 0, "")


def _first_sentences(
    model: Mixture,
    prompt: str,
    plans: Sequence[RoutingPlan],
    sampling: Sampling,
    begin: float,
    end: float,
) -> Generator[float, None, list[tuple[tuple[int, ...], str]]]:
    """Decode until each row's first sentence is whole. → its tokens and its text, row by row"""
    generation = generate(model, [prompt] * len(plans), plans, sampling)
    for n, step in enumerate(generation):
        yield begin + (end - begin) * n / sampling.max_new_tokens
        if all(
            f or len(sentence_spans(model.tokenizer, t)) > 1
            for t, f in zip(step.tokens, step.finish)
        ):
            break
    firsts = [_first(model, t) for t in step.tokens]
    return [(t[: s.end], s.text) for t, s in zip(step.tokens, firsts)]


def _chooser(sampling: Sampling, prompt: Prompt, tokens: Sequence[int]):
    """Logits of every token of the sentence [tail, vocabulary] → the logits its decoding chose from."""
    processors = sampling.processors()
    if not processors:
        return None
    before = lambda i: torch.tensor([[*prompt.ids[prompt.start : prompt.end], *tokens[:i]]])

    def choose(logits: Tensor) -> Tensor:
        logits = logits.cpu()
        return torch.cat([processors(before(i), row[None]) for i, row in enumerate(logits)])

    return choose


def _part(steps: Generator, begin: float, end: float) -> Generator:
    """The same steps, their fractions mapped to a part of the whole."""
    return telling(steps, lambda fraction: begin + (end - begin) * fraction)
