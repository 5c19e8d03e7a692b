"""Heads fitted to labels: the planner's, and the in-group heads of every layer.

Logistic regression on states that were read once. Each group takes the weight decay under which a
tenth of the diseases, kept out, is read best: what a need looks like is soon learned; a specialty
is read off names, which invites learning by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from atmoe.data import Example, split
from atmoe.routing.plan import Layout
from atmoe.routing.planner import Planner
from atmoe.train.rows import label_targets
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter

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
    return _fit(
        heads, lambda z: router(z, slice(None))[1], router.layout, states, examples, settings
    )


def fit_planner(
    planner: Planner, states: Tensor, examples: Sequence[Example], settings: RouterSettings
) -> dict[str, float]:
    """Fit a planner.

    Args:
        planner: changed in place.
        states: as it reads them, [examples, depth, hidden].
        examples: with their labels.
        settings: of the fit.

    Returns:
        The weight decay that each group took.
    """
    # One learning rate suits all dimensions once they are standardised; √depth, for layers add up.
    mean, spread = states.mean(0), states.std(0).clamp(min=1e-4) * planner.depth**0.5
    states = (states - mean) / spread
    decays = _fit(
        [planner.weight, planner.bias],
        lambda z: planner(z)[:, None],
        planner.layout,
        states,
        examples,
        settings,
    )
    with torch.no_grad():
        planner.weight.div_(spread[:, None])
        planner.bias.sub_(torch.einsum("leh,lh->e", planner.weight, mean))
    return decays


def _fit(
    heads: list[nn.Parameter],
    shares: Callable[[Tensor], Tensor],
    layout: Layout,
    states: Tensor,
    examples: Sequence[Example],
    settings: RouterSettings,
) -> dict[str, float]:
    """Fit heads in minibatches.

    Args:
        heads: their second dimension is that of experts.
        shares: states of some examples → in-group shares [examples, layers, experts].
        layout: of the experts.
        states: [examples, ...]
        examples: with their labels.
        settings: of the fit.

    Returns:
        The weight decay that each group took.
    """
    start = [p.detach().clone() for p in heads]
    targets, labelled = label_targets(layout, examples)
    apart = torch.tensor([split(e, FIT_VALIDATION) == "validation" for e in examples])

    def fit(rows: Tensor, decay: float) -> None:
        """Fits the heads to these rows, from where they started."""
        for p, value in zip(heads, start):
            p.data.copy_(value)
        optimizer = torch.optim.AdamW(heads, lr=settings.fit_learning_rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.fit_steps)
        generator = torch.Generator().manual_seed(settings.seed)
        for _ in tqdm(
            range(settings.fit_steps),
            desc=f"fitting heads, weight decay {decay:g}",
            mininterval=5,
        ):
            batch = rows[torch.randint(len(rows), (min(256, len(rows)),), generator=generator)]
            optimizer.zero_grad()
            losses = label_losses(
                layout,
                shares(states[batch]),
                targets[batch],
                labelled[batch],
                settings.smoothing,
            )
            losses.sum().backward()
            optimizer.step()
            schedule.step()

    # 1. each group's decay, by the loss on what is kept out
    best = dict.fromkeys(layout.group_names, settings.fit_decays[0])
    if len(settings.fit_decays) > 1 and apart.any() and not apart.all():
        by_decay = []
        for decay in settings.fit_decays:
            fit((~apart).nonzero()[:, 0], decay)
            with torch.no_grad():
                q = shares(states[apart])
                by_decay.append(
                    label_losses(layout, q, targets[apart], labelled[apart], settings.smoothing)
                )
        least = torch.stack(by_decay).argmin(0).tolist()
        best = {g: settings.fit_decays[k] for g, k in zip(layout.group_names, least)}

    # 2. with it, its heads fitted to all
    fitted = [torch.empty_like(p) for p in heads]
    for decay in sorted(set(best.values())):
        fit(torch.arange(len(examples)), decay)
        for group in (g for g, d in best.items() if d == decay):
            for whole, p in zip(fitted, heads):
                whole[:, layout.members(group)] = p.detach()[:, layout.members(group)]
    for p, whole in zip(heads, fitted):
        p.data.copy_(whole)
    return best
