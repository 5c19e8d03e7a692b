"""Means over tasks of losses measured example by example, and how far they can be trusted.

Examples about one disease are not independent of one another, so whole diseases are drawn, with replacement: the
percentile bootstrap (Efron 1979), 95%. All ways of mixing are drawn together, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from atmoe.data import Example

DRAWS = 2000


class Losses:
    """name → the summed loss of each example, in nats; their answer tokens; and the examples themselves."""

    def __init__(
        self,
        losses: Mapping[str, Sequence[float]],
        tokens: Sequence[int],
        examples: Sequence[Example],
        groups: Sequence[str],
        seed: int = 0,
    ):
        """groups: of the layout; the first names the tasks, the second (if any) the specialties."""
        self.losses, self.tokens, self.examples, self.groups, self.seed = (
            dict(losses),
            list(tokens),
            list(examples),
            groups,
            seed,
        )

    def keeping_better(self, groups: Sequence[str]) -> Losses:
        """For each group one line for its single expert: that of the gain under which the mean over tasks is lower."""
        kept = dict(self.losses)
        for group in groups:
            name = f"{group}_expert"
            one = kept.pop(f"{name}@1")
            alone = Losses({name: kept[name], "one": one}, self.tokens, self.examples, self.groups)
            if alone.means("one", 0)[0] < alone.means(name, 0)[0]:
                kept[name] = one
        return Losses(kept, self.tokens, self.examples, self.groups, self.seed)

    def means(self, name: str, group: int) -> tuple[float, dict[str, float]]:
        """Nats per token: the mean over the experts of a group, and each."""
        label = [e.labels.get(self.groups[group]) for e in self.examples]
        each = {}
        for expert in sorted({x for x in label if x}):
            rows = [i for i, x in enumerate(label) if x == expert]
            each[expert] = sum(self.losses[name][i] for i in rows) / sum(
                self.tokens[i] for i in rows
            )
        return (sum(each.values()) / len(each) if each else float("nan")), each

    def summary(self) -> dict[str, dict]:
        """See `atmoe.study.evaluate.evaluate`."""
        drawn = {name: self._draws(name) for name in self.losses}
        result = {}
        for name in self.losses:
            macro, tasks = self.means(name, 0)
            result[name] = {"macro": macro, "interval": _interval(drawn[name]), "tasks": tasks}
            if len(self.groups) > 1:
                result[name]["macro_specialties"], result[name]["specialties"] = self.means(name, 1)
            if name != "router":
                result[name]["minus_router"] = {
                    "mean": macro - self.means("router", 0)[0],
                    "interval": _interval(drawn[name] - drawn["router"]),
                }
        return result

    def _draws(self, name: str) -> Tensor:
        """The mean over tasks under each draw of diseases. [draws]"""
        diseases = {d: i for i, d in enumerate(dict.fromkeys(e.disease for e in self.examples))}
        task_of = lambda e: e.labels.get(self.groups[0])
        tasks = {
            t: i for i, t in enumerate(dict.fromkeys(filter(None, map(task_of, self.examples))))
        }
        loss, count = torch.zeros(2, len(diseases), len(tasks), dtype=torch.float64)
        for e, value, tokens in zip(self.examples, self.losses[name], self.tokens):
            if task_of(e):
                at = diseases[e.disease], tasks[task_of(e)]
                loss[at] += value
                count[at] += tokens
        generator = torch.Generator().manual_seed(self.seed)
        picked = torch.randint(len(diseases), (DRAWS, len(diseases)), generator=generator)
        times = torch.zeros(DRAWS, len(diseases), dtype=torch.float64).scatter_add_(
            1, picked, torch.ones_like(picked, dtype=torch.float64)
        )
        return (times @ loss / (times @ count)).nanmean(
            1
        )  # a task that a draw missed counts in none of its ways


def _interval(values: Tensor) -> list[float]:
    return values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
