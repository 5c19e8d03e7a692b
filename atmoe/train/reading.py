"""What the router and its planner read of many instructions, in a pass over prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.mixture.planning import first_states
from atmoe.model import AtMoe
from atmoe.prompt.batch import Batch
from atmoe.train.rows import Row, collate_rows, encode_row, of_one_length
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team


def pooled_states(
    model: AtMoe, router: TrainingRouter, examples: Sequence[Example], team: Team
) -> tuple[Tensor, list[Example]]:
    """What the router reads at each layer when it routes itself.

    Returns:
        [instructions, layers, hidden], and the examples in the order of its rows.

    Raises:
        DataError: none of them is short enough.
    """
    return _read(model, examples, team, lambda batch: _routed(model, router, batch)[0])


def routed_shares(
    model: AtMoe, router: TrainingRouter, examples: Sequence[Example], team: Team
) -> tuple[Tensor, Tensor, list[Example]]:
    """The shares that the router gives, averaged over layers.

    Returns:
        Of the groups, [instructions, groups]; in-group among who takes part, [instructions,
        experts]; and the examples in the order of their rows.

    Raises:
        DataError: none of them is short enough.
    """

    def both(batch: Batch) -> Tensor:
        _, s, q = _routed(model, router, batch)
        return torch.cat([s, q], -1).mean(1)

    shares, read = _read(model, examples, team, both)
    s, q = shares.tensor_split([len(model.layout.groups)], 1)
    return s, q, read


def planner_states(
    model: AtMoe, depth: int, examples: Sequence[Example], team: Team
) -> tuple[Tensor, list[Example]]:
    """What a planner of that depth reads.

    Returns:
        [instructions, depth, hidden], and the examples in the order of its rows.

    Raises:
        DataError: none of them is short enough.
    """
    return _read(model, examples, team, lambda batch: first_states(model.base, batch, depth))


def _routed(model: AtMoe, router: TrainingRouter, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """What the router reads and gives in a pass of its own; see `TrainingRouter.last`."""
    model.forward(batch, router=router, logits=False)
    return router.last()


@torch.no_grad()
def _read(
    model: AtMoe, examples: Sequence[Example], team: Team, read: Callable[[Batch], Tensor]
) -> tuple[Tensor, list[Example]]:
    encoded = (encode_row(model, e) for e in examples)
    rows = [Row(row.example, row.prompt, ()) for row in encoded if row]
    if not rows:
        raise DataError("None of the instructions is short enough to be read; shorten them.")
    groups = list(of_one_length(rows))
    states = []
    for group in tqdm(
        team.share(groups),
        unit="batch",
        desc="reading instructions",
        mininterval=5,
        disable=not team.leads,
    ):
        batch, _, _ = collate_rows(model, group)
        states.append(read(batch).float())
    states = [part.to(model.device) for part in team.gather([part.cpu() for part in states])]
    return torch.cat(states), [r.example for group in groups for r in group]
