"""The router as it is trained: it reads standardised states, which fold into its weights when it is written."""

from __future__ import annotations

import torch
from torch import Tensor

from atmoe.routing.router import GroupedRouter


class TrainingRouter(GroupedRouter):
    """A router that reads standardised states, (h − mean) / spread, so that one learning rate suits all layers
    and dimensions; and that keeps what it saw and gave in its last forward pass.
    """

    def __init__(self, router: GroupedRouter):
        hidden = router.group_weight.shape[-1]
        super().__init__(router.layout, hidden)
        self.load_state_dict(router.state_dict())
        self.register_buffer("mean", torch.zeros(router.layout.layers, hidden), persistent=False)
        self.register_buffer("spread", torch.ones(router.layout.layers, hidden), persistent=False)
        self.seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, pooled: Tensor, layer: int | slice) -> tuple[Tensor, Tensor]:
        s, q = super().forward((pooled.float() - self.mean[layer]) / self.spread[layer], layer)
        if isinstance(layer, int):
            self.seen[layer] = (pooled, s, q)
        return s, q

    def last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the last forward pass: pooled states [rows, layers, hidden], s [rows, layers, groups], q [rows, layers,
        experts].
        """
        return tuple(
            torch.stack(parts, 1) for parts in zip(*(self.seen[k] for k in sorted(self.seen)))
        )

    def standardise(self, states: Tensor) -> None:
        """Take mean and spread from states [rows, layers, hidden], leaving every share as it was."""
        plain = self.plain()
        self.mean.copy_(states.mean(0))
        self.spread.copy_(states.std(0).clamp(min=1e-4))
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
        router = GroupedRouter(self.layout, self.mean.shape[-1]).to(self.mean.device)
        fold = lambda w, b: (
            w / self.spread[:, None],
            b - torch.einsum("lnh,lh->ln", w / self.spread[:, None], self.mean),
        )
        for name, (w, b) in (
            ("group", fold(self.group_weight, self.group_bias)),
            ("expert", fold(self.expert_weight, self.expert_bias)),
        ):
            getattr(router, f"{name}_weight").copy_(w)
            getattr(router, f"{name}_bias").copy_(b)
        router.gain.copy_(self.gain)
        return router.requires_grad_(False)
