"""Means over tasks of losses measured example by example, and how far they can be trusted.

Examples about one disease are not independent of one another, so whole diseases are drawn, with
replacement: the percentile bootstrap (Efron 1979), 95%. All ways of mixing are drawn together, so
differences are paired. One disease gives no interval, for every draw of it is the same; from few it
is too narrow, so how many it rests on is told beside it ("topics").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Example

DRAWS = 2000


class Losses:
    """The loss of each example under each way of mixing.

    Attributes:
        losses: name → the summed loss of each example, in nats.
        tokens: how many answer tokens each example has.
        examples: themselves.
        groups: of the layout; the first names the tasks, the second (if any) the specialties.
        seed: of the draws.
    """

    def __init__(
        self,
        losses: Mapping[str, Sequence[float]],
        tokens: Sequence[int],
        examples: Sequence[Example],
        groups: Sequence[str],
        seed: int = 0,
    ):
        self.losses = dict(losses)
        self.tokens = list(tokens)
        self.examples = examples
        self.groups = groups
        self.seed = seed

    def keeping_better(self, groups: Sequence[str]) -> Losses:
        """The same with one line for each group's single expert instead of two.

        It is that of the gain under which the mean over tasks is lower.
        """
        losses = dict(self.losses)
        for group in groups:
            name = f"{group}_expert"
            one = losses.pop(f"{name}@1")
            pair = {name: losses[name], "one": one}
            alone = Losses(pair, self.tokens, self.examples, self.groups)
            if alone.means("one", 0)[0] < alone.means(name, 0)[0]:
                losses[name] = one
        return Losses(losses, self.tokens, self.examples, self.groups, self.seed)

    def means(self, name: str, group: int) -> tuple[float, dict[str, float]]:
        """Nats per token: the mean over the experts of a group, and each.

        Args:
            name: a way of mixing.
            group: its index in `groups`.

        Returns:
            The mean (not a number where no example has a label in the group), and expert → its own.
        """
        labels = [example.labels.get(self.groups[group]) for example in self.examples]
        each = {}
        for expert in sorted({label for label in labels if label}):
            rows = [i for i, label in enumerate(labels) if label == expert]
            loss = sum(self.losses[name][i] for i in rows)
            each[expert] = loss / sum(self.tokens[i] for i in rows)
        return (sum(each.values()) / len(each) if each else float("nan")), each

    @property
    def topics(self) -> int:
        """How many diseases the intervals rest on."""
        return len(self._diseases())

    def summary(self) -> dict[str, dict[str, Any]]:
        """What an evaluation reports under "nll".

        Returns:
            Name → {"macro": the mean over tasks, "interval": of it (None of one disease), "tasks":
            task → nats per token, "macro_specialties" and "specialties": the same of the second
            group, where there is one with labels, "minus_router": {"mean", "interval"} of the
            difference, for all but the router itself}.
        """
        draws = {name: self._draws(name) for name in self.losses}
        result: dict[str, dict[str, Any]] = {}
        for name in self.losses:
            macro, tasks = self.means(name, 0)
            result[name] = {"macro": macro, "interval": self._interval(draws[name]), "tasks": tasks}
            if len(self.groups) > 1:
                specialties = self.means(name, 1)
                if specialties[1]:
                    result[name]["macro_specialties"], result[name]["specialties"] = specialties
            if name != "router":
                result[name]["minus_router"] = {
                    "mean": macro - self.means("router", 0)[0],
                    "interval": self._interval(draws[name] - draws["router"]),
                }
        return result

    def _diseases(self) -> dict[str, int]:
        """The diseases of examples with a label in the first group, numbered."""
        return _numbered(e.disease for e in self.examples if e.labels.get(self.groups[0]))

    def _interval(self, draws: Tensor) -> list[float] | None:
        return interval(draws) if self.topics > 1 else None

    def _draws(self, name: str) -> Tensor:
        """The mean over tasks under each draw of diseases [draws]."""
        # 1. losses and tokens by disease and task
        disease_rows = self._diseases()
        labels = [example.labels.get(self.groups[0]) for example in self.examples]
        task_columns = _numbered(label for label in labels if label)
        loss, count = torch.zeros(2, len(disease_rows), len(task_columns), dtype=torch.float64)
        for i, (example, label) in enumerate(zip(self.examples, labels)):
            if label:
                at = disease_rows[example.disease], task_columns[label]
                loss[at] += self.losses[name][i]
                count[at] += self.tokens[i]
        # 2. how often each draw takes each disease [draws, diseases]
        generator = torch.Generator().manual_seed(self.seed)
        diseases = len(disease_rows)
        picked = torch.randint(diseases, (DRAWS, diseases), generator=generator)
        times = torch.zeros(DRAWS, diseases, dtype=torch.float64).scatter_add_(
            1, picked, torch.ones_like(picked, dtype=torch.float64)
        )
        # A task that a draw missed counts in none of its ways.
        return (times @ loss / (times @ count)).nanmean(1)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    """Each name's place among the different ones, in the order in which they first come."""
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def interval(values: Tensor) -> list[float]:
    """The 2.5% and 97.5% quantiles."""
    return values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()


def rate(values: Sequence[float], diseases: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """A mean over questions, and how far it can be trusted, whole diseases being drawn.

    Args:
        values: one a question.
        diseases: what each question is about.
        seed: of the draws.

    Returns:
        {"mean", "interval", "questions", "topics"}; the mean is not a number where there are no
        questions, the interval None of fewer than two topics.
    """
    if not values:
        return {"mean": float("nan"), "interval": None, "questions": 0, "topics": 0}
    place = _numbered(diseases)
    sums, counts = torch.zeros(2, len(place), dtype=torch.float64)
    for value, disease in zip(values, diseases):
        sums[place[disease]] += value
        counts[place[disease]] += 1
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(place), (DRAWS, len(place)), generator=generator)
    draws = sums[picked].sum(1) / counts[picked].sum(1)
    mean = float(sums.sum() / counts.sum())
    return {
        "mean": mean,
        "interval": interval(draws) if len(place) > 1 else None,
        "questions": len(values),
        "topics": len(place),
    }
