"""Heads fitted to labels: the planner's, and the in-group heads of every layer.

Regression on states that were read once. Each group of heads takes the weight decay under which a
tenth of the diseases, kept out, is read best: what a need looks like is soon learned; a specialty
is read off names, which invites learning by heart. The planner takes one for all. Which groups take
part is fitted in the same way, to the shares that the router gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from atmoe.data import Example, split
from atmoe.routing.layout import Layout
from atmoe.routing.planner import Planner
from atmoe.train.rows import label_targets
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter, mean_and_spread

FIT_VALIDATION = 0.19
"""Of the training diseases (those whose hash is above 0.1), those up to here are kept out while a
decay is chosen."""


def label_losses(
    layout: Layout,
    q: Tensor,
    targets: Tensor,
    labelled: Tensor,
    smoothing: float,
    of: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the layer-averaged in-group shares with the labels, by group.

    Of the average, because two needs are better read by layers that may differ than by each layer
    alone.

    Args:
        layout: whose groups these are.
        q: [rows, layers, experts]
        targets: [rows, experts], as `label_targets` gives them.
        labelled: [rows, groups], as `label_targets` gives it.
        smoothing: of the targets, towards uniform.
        of: how many labelled rows the sum of each group is divided by, [groups] (default: those at
            hand).

    Returns:
        [groups]; 0 where nothing is labelled.
    """
    targets, labelled = targets.to(q.device), labelled.to(q.device)
    of = (labelled.sum(0) if of is None else of.to(q.device)).clamp(min=1)
    losses = []
    for g, name in enumerate(layout.group_names):
        members = layout.members(name)
        size = members.stop - members.start
        smoothed = targets[:, members] * (1 - smoothing) + smoothing / size
        cross = -(smoothed * q[..., members].mean(1).clamp(min=1e-8).log()).sum(-1)
        losses.append((cross * labelled[:, g]).sum() / of[g])
    return torch.stack(losses)


def fit_heads(
    router: TrainingRouter, states: Tensor, examples: Sequence[Example], settings: RouterSettings
) -> dict[str, float]:
    """Fit the in-group heads of all layers, as if everybody took part.

    Args:
        router: has standardised on these states.
        states: that enter each layer, [examples, layers, hidden].
        examples: with their labels.
        settings: of the fit.

    Returns:
        The weight decay that each group took.
    """
    heads = [router.expert_weight, router.expert_bias]
    layout, to_labels = router.layout, _to_labels(router.layout, examples, settings)
    return _fit(
        heads,
        lambda rows: to_labels(router(states[rows], slice(None))[1], rows),
        {group: layout.members(group) for group in layout.group_names},
        examples,
        settings,
    )


def fit_planner(
    planner: Planner, states: Tensor, examples: Sequence[Example], settings: RouterSettings
) -> float:
    """Fit how likely each expert is asked for: one yes or no for each, so two needs are two yeses.

    Args:
        planner: changed in place; it has a hidden layer.
        states: as it reads them, [examples, depth, hidden].
        examples: with their labels; an expert of a group without one is no no.
        settings: of the fit.

    Returns:
        The weight decay that was taken.
    """
    asked, known = labelled_yes_or_no(planner.layout, examples, states.device)

    def to_labels(rows: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(
            planner.logits(states[rows]), asked[rows], reduction="none"
        )
        return (losses * known[rows]).sum()[None] / len(rows)

    bound = (planner.depth * states.shape[-1]) ** -0.5  # as torch begins a linear
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        for hidden in (planner.hidden_weight, planner.hidden_bias):
            hidden.copy_(torch.empty(hidden.shape).uniform_(-bound, bound, generator=generator))
        planner.weight.zero_()
        planner.bias.zero_()
    heads = [planner.hidden_weight, planner.hidden_bias, planner.weight, planner.bias]
    with _standardised(planner.hidden_weight, planner.hidden_bias, states) as states:
        return _fit(heads, to_labels, {"experts": slice(None)}, examples, settings)["experts"]


def labelled_yes_or_no(
    layout: Layout, examples: Sequence[Example], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Whether each expert is asked for, and whether that is known, [examples, experts], 0 or 1."""
    targets, labelled = label_targets(layout, examples)
    known = labelled[:, list(layout.group_of)].float()
    return (targets > 0).float().to(device), known.to(device)


def kept_out(examples: Sequence[Example]) -> Tensor:
    """Whether an example's topic is kept out while something is chosen, [examples]."""
    return torch.tensor([split(e, FIT_VALIDATION) == "validation" for e in examples])


def fit_groups(
    planner: Planner,
    states: Tensor,
    shares: Tensor,
    examples: Sequence[Example],
    settings: RouterSettings,
) -> float:
    """Fit what a planner expects of each group to the shares that the router gave it.

    Args:
        planner: changed in place.
        states: as it reads them, [examples, depth, hidden].
        shares: of the groups, averaged over layers, [examples, groups].
        examples: that were read.
        settings: of the fit.

    Returns:
        The weight decay that was taken.
    """

    def to_shares(rows: Tensor) -> Tensor:
        expected = planner.of_groups(states[rows]).clamp(min=1e-8)
        return -(shares[rows] * expected.log()).sum(-1).mean()[None]

    heads = [planner.group_weight, planner.group_bias]
    with torch.no_grad():
        planner.group_weight.zero_()
        planner.group_bias.copy_(shares.mean(0).clamp(min=1e-8).log())
    with _standardised(planner.group_weight, planner.group_bias, states) as states:
        # A bias that decays would draw what is expected of a group towards an equal share.
        whole = {"groups": slice(None)}
        return _fit(heads, to_shares, whole, examples, settings, free_bias=True)["groups"]


@contextmanager
def _standardised(weight: Tensor, bias: Tensor, states: Tensor) -> Iterator[Tensor]:
    """States of zero mean and unit spread; what is fitted on them is folded back afterwards.

    One learning rate then suits all dimensions. Over √depth, for layers add up.

    Args:
        weight: [depth, n, hidden], of the head that is fitted inside.
        bias: [1, n], of that head.
        states: [examples, depth, hidden].
    """
    mean, spread = mean_and_spread(states)
    spread = spread * len(weight) ** 0.5
    yield (states - mean) / spread
    with torch.no_grad():
        weight.div_(spread[:, None])
        bias.sub_(torch.einsum("lnh,lh->n", weight, mean))


def _to_labels(
    layout: Layout, examples: Sequence[Example], settings: RouterSettings
) -> Callable[[Tensor, Tensor], Tensor]:
    """What tells the loss of in-group shares [rows, layers, experts] of these rows, by group."""
    targets, labelled = label_targets(layout, examples)
    return lambda q, rows: label_losses(
        layout, q, targets[rows], labelled[rows], settings.smoothing
    )


def _fit(
    heads: list[nn.Parameter],
    losses: Callable[[Tensor], Tensor],
    columns: Mapping[str, slice],
    examples: Sequence[Example],
    settings: RouterSettings,
    free_bias: bool = False,
) -> dict[str, float]:
    """Fit heads in minibatches.

    Args:
        heads: weights and biases; their second dimension is what is told apart.
        losses: indices of some examples → the loss of each part of the heads, [parts].
        columns: the parts that take a weight decay of their own, by name.
        examples: that were read.
        settings: of the fit.
        free_bias: all but the first, biases, do not decay.

    Returns:
        The weight decay that each part took.
    """
    start = [p.detach().clone() for p in heads]
    apart = kept_out(examples)

    def fit(rows: Tensor, decay: float) -> None:
        """Fits the heads to these rows, from where they started."""
        for p, value in zip(heads, start):
            p.data.copy_(value)
        optimizer = torch.optim.AdamW(
            [
                {"params": heads[:1], "weight_decay": decay},
                {"params": heads[1:], "weight_decay": 0.0 if free_bias else decay},
            ],
            lr=settings.fit_learning_rate,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.fit_steps)
        generator = torch.Generator().manual_seed(settings.seed)
        for _ in tqdm(
            range(settings.fit_steps),
            desc=f"fitting heads, weight decay {decay:g}",
            mininterval=5,
        ):
            batch = rows[torch.randint(len(rows), (min(256, len(rows)),), generator=generator)]
            optimizer.zero_grad()
            losses(batch).sum().backward()
            optimizer.step()
            schedule.step()

    # 1. each part's decay, by the loss on what is kept out
    best = dict.fromkeys(columns, settings.fit_decays[0])
    if len(settings.fit_decays) > 1 and apart.any() and not apart.all():
        by_decay = []
        for decay in settings.fit_decays:
            fit((~apart).nonzero()[:, 0], decay)
            with torch.no_grad():
                by_decay.append(losses(apart.nonzero()[:, 0]))
        least = torch.stack(by_decay).argmin(0).tolist()
        best = {name: settings.fit_decays[k] for name, k in zip(columns, least)}

    # 2. with it, its heads fitted to all
    fitted = [torch.empty_like(p) for p in heads]
    for decay in sorted(set(best.values())):
        fit(torch.arange(len(examples)), decay)
        for part in (columns[name] for name, d in best.items() if d == decay):
            for whole, p in zip(fitted, heads):
                whole[:, part] = p.detach()[:, part]
    for p, whole in zip(heads, fitted):
        p.data.copy_(whole)
    return best
