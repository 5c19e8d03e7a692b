"""The router as it is trained: it reads standardised states, folded into its weights on writing."""

from __future__ import annotations

import torch
from torch import Tensor

from atmoe.errors import DataError
from atmoe.routing.planner import Members
from atmoe.routing.router import GroupedRouter


class TrainingRouter(GroupedRouter):
    """A router that reads standardised states, (h − mean) / spread.

    One learning rate then suits all layers and dimensions. It also keeps what it read and gave in
    its last forward pass.

    Attributes:
        mean: [layers, hidden]
        spread: [layers, hidden]; standard deviations.
        seen: of the last pass, by layer: pooled states [rows, hidden], s [rows, groups] and
            q [rows, experts].
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, router: GroupedRouter):
        hidden = router.group_weight.shape[-1]
        super().__init__(router.layout, hidden, **router.sizes)
        self.load_state_dict(router.state_dict())
        self.register_buffer("mean", torch.zeros(router.layout.layers, hidden), persistent=False)
        self.register_buffer("spread", torch.ones(router.layout.layers, hidden), persistent=False)
        self.seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(
        self, pooled: Tensor, layer: int | slice, team: Members | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `GroupedRouter.forward`, of states as they are; a pass through one layer is kept."""
        states = (pooled.float() - self.mean[layer]) / self.spread[layer]
        s, q = super().forward(states, layer, team)
        if isinstance(layer, int):
            self.seen[layer] = (pooled, s, q)
        return s, q

    def last(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the last forward pass read and gave.

        Returns:
            Pooled states [rows, layers, hidden], s [rows, layers, groups] and
            q [rows, layers, experts].
        """
        layers = [self.seen[layer] for layer in sorted(self.seen)]
        pooled, s, q = (torch.stack(parts, 1) for parts in zip(*layers))
        return pooled, s, q

    def standardise(self, states: Tensor) -> None:
        """Take mean and spread from states, leaving every share as it was.

        Args:
            states: [rows, layers, hidden]

        Raises:
            DataError: there is one row alone.
        """
        plain = self.plain()
        for own, read in zip((self.mean, self.spread), mean_and_spread(states)):
            own.copy_(read)
        with torch.no_grad():
            for weight, bias, old, old_bias in (
                (self.group_weight, self.group_bias, plain.group_weight, plain.group_bias),
                (self.expert_weight, self.expert_bias, plain.expert_weight, plain.expert_bias),
            ):
                weight.copy_(old * self.spread[:, None])
                bias.copy_(old_bias + torch.einsum("lnh,lh->ln", old, self.mean))

    @torch.no_grad()
    def plain(self) -> GroupedRouter:
        """The same router, reading states as they are."""
        hidden = self.mean.shape[-1]
        router = GroupedRouter(self.layout, hidden, **self.sizes)
        router.to(self.mean.device)
        for weight, bias, own, own_bias in (
            (router.group_weight, router.group_bias, self.group_weight, self.group_bias),
            (router.expert_weight, router.expert_bias, self.expert_weight, self.expert_bias),
        ):
            folded = own / self.spread[:, None]
            weight.copy_(folded)
            bias.copy_(own_bias - torch.einsum("lnh,lh->ln", folded, self.mean))
        router.gain.copy_(self.gain)
        if router.planner and self.planner:
            router.planner.load_state_dict(self.planner.state_dict())
        return router.requires_grad_(False)


def mean_and_spread(states: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows.

    Raises:
        DataError: there is one row alone, which has no spread.
    """
    if len(states) < 2:
        raise DataError(
            "Only one of the instructions is short enough to be read, and two at least are needed; "
            "give --instructions a larger number, or the data more rows that are short."
        )
    return states.mean(0), states.std(0).clamp(min=1e-4)
