"""The smallest change that alters the answer.

For each group that can be moved: how far its share must move until the first sentence of the greedy
answer is another one. A group that has all the weight has nobody to give it to.

The share moves in every layer by the same part of the way to 0% or to 100%, the other groups
keeping their proportions, so that the plan itself is where the way begins. (Holding one value in
all layers would flatten them too, which alone alters many answers.) Bisection in whole percents of
the mean share finds where the sentence starts to change, to 2 points, and the nearer side is
reported; a nearer stretch where it changes and changes back can be missed. Nothing is generated on
the way: the sentence has changed where, read token by token, another token would have been chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from atmoe.answer.answer import Answer
from atmoe.answer.generation import generate
from atmoe.answer.pieces import telling, whole
from atmoe.answer.sampling import Sampling
from atmoe.explanation.spans import Span, character_at, sentence_spans
from atmoe.explanation.sweep import sweep
from atmoe.explanation.value import Change
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan
from atmoe.steering.overrides import ROUNDING

T = TypeVar("T")

POINTS = 2
"""How close the bisection comes, in points of a group's mean share."""
MARGIN = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""How far another token's logit must lead before it counts: below it, tokens tie within the
precision's rounding."""
BEYOND = (0, 2, 5, 10, 100)
"""Points beyond a share found that are decoded in turn, should decoding see a tie where reading saw
a change."""
LONGEST = 80
"""Tokens of a first sentence; a longer one is looked at up to here."""


@dataclass
class _Search:
    """One group on its way to one end.

    Attributes:
        near: a mean share, in percent, that leaves the sentence.
        far: one that changes it.
    """

    group: str
    near: float
    far: int

    @property
    def over(self) -> bool:
        return abs(self.far - self.near) <= POINTS

    @property
    def middle(self) -> int:
        return round((self.near + self.far) / 2)

    def halve(self, changed: bool) -> None:
        """Take the middle as the new end on its side: `far` where it changed the sentence."""
        if changed:
            self.far = self.middle
        else:
            self.near = self.middle

    def beyond(self, points: int) -> int:
        """So many points further than `far`, in percent."""
        return min(self.far + points, 100) if self.far > self.near else max(self.far - points, 0)


@dataclass(frozen=True)
class _Sentence:
    """The greedy answer's first sentence, and how it is read under other plans.

    Attributes:
        tokens: its token ids.
        choose: logits → those its decoding chose from, as `sweep` takes it.
    """

    model: Mixture
    prompt: Prompt
    plan: RoutingPlan
    text: str
    tokens: Sequence[int]
    choose: Callable[[Tensor], Tensor] | None

    def changed(self, tries: Sequence[tuple[str, int]]) -> Generator[float, None, list[bool]]:
        """Whether moving a group to a mean share changes the sentence.

        Args:
            tries: (group, percent).

        Yields:
            The fraction done.

        Returns:
            One a try.
        """
        plans = [self.plan, *(moved(self.plan, group, percent) for group, percent in tries)]
        swept = yield from sweep(self.model, self.prompt, self.tokens, plans, choose=self.choose)
        return (swept.lead[1:] > MARGIN.get(self.model.bank.dtype, 0.25)).any(1).tolist()

    def beside(self, change: Change, percent: int, tokens: Sequence[int], text: str) -> Change:
        """The change with where it happens, if the sentence decoded there is another one.

        Args:
            change: of a group, without it.
            percent: the group's mean share there.
            tokens: decoded there, its first sentence and maybe more.
            text: that sentence.
        """
        pairs = enumerate(zip(self.tokens, tokens))
        # An answer that ends within the sentence parts from it where it ends.
        ended = len(tokens) if len(tokens) < len(self.tokens) else None
        at = next((i for i, (mine, other) in pairs if mine != other), ended)
        if at is None or text == self.text:
            return change
        return replace(
            change,
            to=round(_mean(moved(self.plan, change.group, percent), change.group), 6),
            after=text,
            at=at,
            token_before=character_at(self.model.tokenizer, self.tokens, at),
            token_after=character_at(self.model.tokenizer, tokens, at),
        )


def smallest_changes(model: Mixture, answer: Answer) -> tuple[Change, ...]:
    """`searching`, run to its end."""
    return whole(searching(model, answer))


def searching(model: Mixture, answer: Answer) -> Generator[float, None, tuple[Change, ...]]:
    """Search for every group at once.

    Yields:
        The fraction done.

    Returns:
        A `Change` for each group that can be moved.

    Raises:
        PromptError: the answer is empty.
    """
    plan, prompt = answer.plan, model.encode(answer.prompt)
    sampling = Sampling(LONGEST, repetition_penalty=answer.sampling["repetition_penalty"])

    # 1. the first sentence of the greedy answer
    tokens = answer.answer_tokens[:LONGEST]
    if answer.drawn:  # the greedy one is looked at
        firsts = yield from _first_sentences(model, answer.prompt, [plan], sampling, 0.0, 0.2)
        tokens = firsts[0][0]
    first = _first(model, tokens)
    choose = _chooser(sampling, prompt, tokens)
    sentence = _Sentence(model, prompt, plan, first.text, tokens[: first.end], choose)

    # 2. to which ends of which groups it changes at all
    ways = [
        (group, end)
        for group in model.layout.group_names
        for end in (0, 100)
        if movable(plan, group, end)
    ]
    shares = {group: _mean(plan, group) for group, _ in ways}
    searches = [_Search(group, 100 * shares[group], end) for group, end in ways]
    ends = [(search.group, search.far) for search in searches]
    changed = yield from _part(sentence.changed(ends), 0.2, 0.4)
    searches = [search for search, differs in zip(searches, changed) if differs]

    # 3. bisection, all of them together
    done = 0.4
    going_on = [search for search in searches if not search.over]
    while going_on:
        until = done + (0.8 - done) / 4  # whatever the number of rounds, it stays below 0.8
        middles = [(search.group, search.middle) for search in going_on]
        changed = yield from _part(sentence.changed(middles), done, until)
        done = until
        for search, differs in zip(going_on, changed):
            search.halve(differs)
        going_on = [search for search in searches if not search.over]

    # 4. the nearer side of each group, decoded there
    nearest: dict[str, _Search] = {}
    for search in sorted(searches, key=lambda search: abs(search.far - 100 * shares[search.group])):
        nearest.setdefault(search.group, search)
    changes = {group: Change(group, share, first.text) for group, share in shares.items()}
    for points in BEYOND:
        percents = {
            group: search.beyond(points)
            for group, search in nearest.items()
            if changes[group].to is None
        }
        if not percents:
            break
        plans = [moved(plan, group, percent) for group, percent in percents.items()]
        firsts = yield from _first_sentences(model, answer.prompt, plans, sampling, 0.8, 1.0)
        for (group, percent), (other, text) in zip(percents.items(), firsts):
            changes[group] = sentence.beside(changes[group], percent, other, text)
    return tuple(changes.values())


def moved(plan: RoutingPlan, group: str, percent: float) -> RoutingPlan:
    """The plan with a group's mean share moved to `percent`.

    It moves in every layer by the same part of the way to 0, or to all that the groups have
    together there. The others keep their proportions; where they have nothing, the layer stays: so
    the mean may stop short of `percent`.
    """
    column = plan.layout.group_index(group)
    shares = plan.group_shares.clone()  # [layers, groups]
    own = shares[:, column].clone()
    shares[:, column] = 0.0  # so that the others are added up: own ≈ total leaves rounding
    others = shares.sum(1)
    free, total = others > 0, own + others
    mean = float(own.mean())
    least, most = (float(torch.where(free, end, own).mean()) for end in (0 * own, total))
    to = percent / 100
    if to < mean:
        part = max(to - least, 0.0) / max(mean - least, 1e-9)
        new = torch.where(free, own * min(part, 1.0), own)
    else:
        part = 0.0 if to == mean else min(1.0, (to - mean) / max(most - mean, 1e-9))
        new = own + part * others
    left = total - new
    left = torch.where(left > ROUNDING, left, 0.0)
    shares[free] = shares[free] / others[free, None] * left[free, None]
    shares[:, column] = new
    return replace(plan, group_shares=shares)


def _mean(plan: RoutingPlan, group: str) -> float:
    """A group's share, the mean over layers."""
    return float(plan.group_shares[:, plan.layout.group_index(group)].mean())


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
    """Decode under each plan until each row's first sentence is whole.

    Yields:
        The fraction done, from `begin` to `end`.

    Returns:
        What was decoded and the text of its first sentence, one a plan.
    """
    generation = generate(model, [prompt] * len(plans), plans, sampling)
    for n, step in enumerate(generation):
        yield begin + (end - begin) * n / sampling.max_new_tokens
        if all(
            finish or len(sentence_spans(model.tokenizer, tokens)) > 1
            for tokens, finish in zip(step.tokens, step.finish)
        ):
            break
    return [(tokens, _first(model, tokens).text) for tokens in step.tokens]


def _chooser(
    sampling: Sampling, prompt: Prompt, tokens: Sequence[int]
) -> Callable[[Tensor], Tensor] | None:
    """What makes of a sentence's logits those that its decoding chose from [tail, vocabulary].

    Returns:
        None where they are the same.
    """
    processors = sampling.processors()
    if not processors:
        return None
    question = prompt.ids[prompt.start : prompt.end]

    def choose(logits: Tensor) -> Tensor:
        rows = []
        for i, row in enumerate(logits.cpu()):
            ids = torch.tensor([[*question, *tokens[:i]]])
            rows.append(processors(ids, row[None]))
        return torch.cat(rows)

    return choose


def _part(steps: Generator[float, None, T], begin: float, end: float) -> Generator[float, None, T]:
    """The same steps, their fractions mapped to a part of the whole."""
    return telling(steps, lambda fraction: begin + (end - begin) * fraction)
