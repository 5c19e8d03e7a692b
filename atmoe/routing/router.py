"""The layer-wise grouped router (AT-MoE, arXiv 2410.10896): at each layer, first groups, then experts inside each.

    h_l = mean over instruction tokens of the hidden state that enters layer l      [rows, hidden]
    s_l = softmax(W_l^G h_l + b)                                                    [rows, groups]
    q_l = softmax(W_l^E h_l + b), taken inside each group                           [rows, experts]

All of it in float32, whatever the model runs in. `gain` [layers] multiplies the mixture: without it, groups that
share one unit of weight would dilute each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atmoe.routing.plan import Layout


class GroupedRouter(nn.Module):
    """One linear over groups and one over experts for each decoder layer."""

    def __init__(self, layout: Layout, hidden: int, gain: float = 1.0):
        """hidden: width of the hidden state that enters a layer.  Starts at uniform shares (all zero)."""
        super().__init__()
        self.layout = layout
        L, G, E = layout.layers, len(layout.groups), len(layout.expert_names)
        zeros = lambda *shape: nn.Parameter(torch.zeros(*shape))
        self.group_weight, self.group_bias = zeros(L, G, hidden), zeros(L, G)
        self.expert_weight, self.expert_bias = zeros(L, E, hidden), zeros(L, E)
        self.gain = nn.Parameter(torch.full((L,), float(gain)))

    def forward(self, pooled: Tensor, layer: int | slice) -> tuple[Tensor, Tensor]:
        """Shares at one layer, pooled [rows, hidden] → [rows, groups], [rows, experts]; or at several,
        [rows, layers, hidden] → [rows, layers, groups], [rows, layers, experts].
        """
        pooled = pooled.float()
        if isinstance(layer, int):
            logits = lambda w, b: nn.functional.linear(pooled, w[layer], b[layer])
        else:
            logits = lambda w, b: torch.einsum("...h,...nh->...n", pooled, w[layer]) + b[layer]
        return (
            logits(self.group_weight, self.group_bias).softmax(-1),
            self.in_group(logits(self.expert_weight, self.expert_bias)),
        )

    def mixing(self, s: Tensor, q: Tensor, layer: int) -> Tensor:
        """What the experts of one layer are multiplied by: gain · s · q, in the order in which a plan's weights are multiplied, so
        that a given plan is the router's own to the last bit. [rows, groups], [rows, experts] → [rows, experts]
        """
        return s[:, list(self.layout.group_of)] * q * self.gain[layer]

    def in_group(self, logits: Tensor) -> Tensor:
        """Softmax inside each group. [..., experts] → [..., experts]"""
        return torch.cat(
            [logits[..., self.layout.members(g)].softmax(-1) for g in self.layout.group_names], -1
        )


def pool_instruction(hidden: Tensor, instruction: Tensor) -> Tensor:
    """Mean over the words a person typed: not the chat template, not the system turn, not padding.

    hidden: [rows, tokens, hidden].  instruction: [rows, tokens], 1 where the token is the person's.
    → [rows, hidden], float32
    """
    mask = instruction.to(hidden.device, torch.float32)
    return (mask[:, None] @ hidden.float())[:, 0] / mask.sum(1, keepdim=True)
