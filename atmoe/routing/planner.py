"""Who takes part: decided once a prompt, for all layers, before any share is dealt out.

    h_l    = mean over instruction tokens of the state that leaves the base model's layer l
    p      = softmax, inside each group, of Σ_l W_l h_l + b                       [rows, experts]
    team   = whoever has p of at least `floor` / n_g, and each group's largest    [rows, experts]

The base model is read alone, through its first `depth` layers: whoever takes part changes the
states of every layer, so it must be known before the first. Task planning is what AT-MoE
(arXiv 2410.10896) is named for; how the paper does it is not known to us.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atmoe.routing.plan import Layout


class Planner(nn.Module):
    """One linear over experts, of the states that leave the first layers.

    It starts with everybody taking part: all its weights and biases are zero.

    Args:
        layout: the names of the groups, experts and layers.
        hidden: width of the hidden states.
        depth: how many layers are read, at least 1 and fewer than there are.
        floor: the share from which an expert takes part, in units of that of equal shares.
    """

    floor: Tensor

    def __init__(self, layout: Layout, hidden: int, depth: int, floor: float = 1.0):
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.zeros(depth, len(layout.expert_names), hidden))
        self.bias = nn.Parameter(torch.zeros(1, len(layout.expert_names)))
        self.register_buffer("floor", torch.tensor([float(floor)]))

    @property
    def depth(self) -> int:
        """How many layers of the base model are read."""
        return len(self.weight)

    def forward(self, states: Tensor) -> Tensor:
        """How much each expert is asked for.

        Args:
            states: pooled, [rows, depth, hidden].

        Returns:
            [rows, experts]; each group's own sum to 1.
        """
        logits = torch.einsum("rlh,leh->re", states.float(), self.weight) + self.bias
        return in_group(self.layout, logits)

    def team(self, states: Tensor) -> Tensor:
        """Who takes part: at least one of each group.

        Args:
            states: pooled, [rows, depth, hidden].

        Returns:
            [rows, experts], True for those who do.
        """
        asked = self(states)
        parts = []
        for group in self.layout.group_names:
            own = asked[:, self.layout.members(group)]
            enough = own >= self.floor / own.shape[1]
            parts.append(enough | (own == own.max(1, keepdim=True).values))
        return torch.cat(parts, 1)


def in_group(layout: Layout, logits: Tensor, team: Tensor | None = None) -> Tensor:
    """Softmax inside each group, over those who take part.

    Args:
        layout: whose groups these are.
        logits: [..., experts].
        team: True for those who take part, at least one of each group, in a shape that broadcasts
            to that of the logits; None = everybody.

    Returns:
        [..., experts]; each group's own sum to 1, exactly 0 outside the team.
    """
    if team is not None:
        logits = logits.masked_fill(~team, float("-inf"))
    groups = [logits[..., layout.members(g)].softmax(-1) for g in layout.group_names]
    return torch.cat(groups, -1)
