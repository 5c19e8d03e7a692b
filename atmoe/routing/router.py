"""The layer-wise grouped router (AT-MoE, arXiv 2410.10896): first groups, then experts inside each.

    h_l = mean over instruction tokens of the hidden state that enters layer l      [rows, hidden]
    s_l = softmax(W_l^G h_l + b), taken over the groups that take part              [rows, groups]
    q_l = softmax(W_l^E h_l + b), taken inside each group over its members of the team
                                                                                    [rows, experts]

Who takes part, the planner decides (`atmoe.routing.planner`); without one everybody does. All of it
in float32, whatever the model runs in. `gain` [layers] multiplies the mixture: without it,
groups that share one unit of weight would dilute each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atmoe.routing.layout import Layout
from atmoe.routing.planner import Members, Planner, in_group


class GroupedRouter(nn.Module):
    """One linear over groups and one over experts for each decoder layer.

    It starts at uniform shares: all its weights and biases are zero.

    Args:
        layout: the names of the groups, experts and layers.
        hidden: width of the hidden state that enters a layer.
        gain: what the mixture of every layer is multiplied by at first.
        depth: how many layers its planner reads; 0 = it has none.
        width: of its planner's hidden layer; 0 = it has none.
        pieces: of words, that its planner knows; 0 = it does not read letters.

    Attributes:
        planner: decides who takes part; None = everybody does.
    """

    def __init__(
        self,
        layout: Layout,
        hidden: int,
        gain: float = 1.0,
        depth: int = 0,
        width: int = 0,
        pieces: int = 0,
    ):
        super().__init__()
        self.layout = layout
        L, G, E = layout.layers, len(layout.groups), len(layout.expert_names)
        self.group_weight = _zeros(L, G, hidden)
        self.group_bias = _zeros(L, G)
        self.expert_weight = _zeros(L, E, hidden)
        self.expert_bias = _zeros(L, E)
        self.gain = nn.Parameter(torch.full((L,), float(gain)))
        self.planner = Planner(layout, hidden, depth, width, pieces=pieces) if depth else None

    @property
    def sizes(self) -> dict[str, int]:
        """How deep, wide and with how many pieces its planner reads, as arguments of a router."""
        planner = self.planner
        if planner is None:
            return {"depth": 0, "width": 0, "pieces": 0}
        pieces = 0 if planner.spelling is None else len(planner.spelling.rarity)
        return {"depth": planner.depth, "width": planner.width, "pieces": pieces}

    def forward(
        self, pooled: Tensor, layer: int | slice, team: Members | None = None
    ) -> tuple[Tensor, Tensor]:
        """Shares of groups, and of experts inside their groups, at one layer or at several.

        Args:
            pooled: [rows, hidden] for one layer, [rows, layers, hidden] for several.
            layer: an index, or a slice of the layers.
            team: who takes part; None = everybody.

        Returns:
            [rows, groups] and [rows, experts], or [rows, layers, groups] and
            [rows, layers, experts].
        """
        pooled = pooled.float()
        groups = _logits(pooled, self.group_weight[layer], self.group_bias[layer])
        experts = _logits(pooled, self.expert_weight[layer], self.expert_bias[layer])
        if team is None:
            return groups.softmax(-1), in_group(self.layout, experts)
        if isinstance(layer, slice):
            team = team.by_layer()
        s = groups.masked_fill(~team.groups, float("-inf")).softmax(-1)
        return s, in_group(self.layout, experts, team.experts)

    @torch.no_grad()
    def soften(self, temperature: float) -> None:
        """Divide the logits inside each group: who has most keeps most, and others have more.

        Args:
            temperature: 1 leaves every share as it is; above, they come nearer to equal.
        """
        self.expert_weight.div_(temperature)
        self.expert_bias.div_(temperature)

    def mixing(self, s: Tensor, q: Tensor, layer: int) -> Tensor:
        """What the experts of one layer are multiplied by: gain · s · q.

        In the order in which a plan's weights are multiplied, so that a given plan is the router's
        own to the last bit.

        Args:
            s: group shares, [rows, groups].
            q: in-group shares of the experts, [rows, experts].
            layer: whose gain it is.

        Returns:
            [rows, experts]
        """
        return s[:, list(self.layout.group_of)] * q * self.gain[layer]


def pool_instruction(hidden: Tensor, instruction: Tensor) -> Tensor:
    """Mean over the words a person typed: not the chat template, not the system turn, not padding.

    Args:
        hidden: [rows, tokens, hidden].
        instruction: [rows, tokens], 1 where the token is the person's.

    Returns:
        [rows, hidden], float32.
    """
    mask = instruction.to(hidden.device, torch.float32)
    return (mask[:, None] @ hidden.float())[:, 0] / mask.sum(1, keepdim=True)


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape))


def _logits(pooled: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The linear of one layer, weight [n, hidden], or of several, [layers, n, hidden]."""
    if weight.dim() == 2:
        return nn.functional.linear(pooled, weight, bias)
    return torch.einsum("...h,...nh->...n", pooled, weight) + bias
