"""Who takes part: decided once a prompt, for all layers, before any share is dealt out.

    h_l    = mean over instruction tokens of the state that leaves the base model's layer l
    u      = gelu(Σ_l U_l h_l + d)                                                [rows, width]
    p      = sigmoid(W u + b + v), how likely each expert is asked for            [rows, experts]
    v      = what the letters of the words say, where they are read               [rows, experts]
    r      = softmax of Σ_l V_l h_l + c, what is expected of each group           [rows, groups]
    team   = whoever has p of at least its group's `floor`, and each group's
             largest                                                              [rows, experts]
    groups = whoever has r of at least `group_floor` / G, the largest half, and
             whoever has several experts in the team                              [rows, groups]

Each expert is asked for or not, whoever else is: a prompt may have two needs, whose group has its
weight divided between two and would look as if little were expected of it. A planner of before that
has no width: p = softmax, inside each group, of Σ_l W_l h_l + b, `floor` is in units of an equal
share, and several experts call no group in.

A group that takes no part has a share of exactly 0 in every layer. Its experts keep their in-group
shares: they are who would take part if a hand gave the group a share.

The base model is read alone, through its first `depth` layers: whoever takes part changes the
states of every layer, so it must be known before the first. Task planning is what AT-MoE
(arXiv 2410.10896) is named for; how the paper does it is not known to us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from atmoe.routing.layout import Layout
from atmoe.routing.spelling import Spelling


class Members(NamedTuple):
    """Who takes part in each prompt: at least half of the groups, and one expert of each group.

    Attributes:
        groups: [rows, groups], True for those who do.
        experts: [rows, experts], True for those who do, if their group does.
        likely: how likely each expert is asked for, [rows, experts]; None = nobody told.
    """

    groups: Tensor
    experts: Tensor
    likely: Tensor | None = None

    def by_layer(self) -> Members:
        """The same with a dimension for layers, [rows, 1, ...]."""
        return Members(self.groups[:, None], self.experts[:, None])


class Planner(nn.Module):
    """A head of one hidden layer over experts, and one linear over groups.

    Both read the states that leave the first layers. It starts with everybody taking part: all its
    weights and biases are zero.

    Args:
        layout: the names of the groups, experts and layers.
        hidden: width of the hidden states.
        depth: how many layers are read, at least 1 and fewer than there are.
        width: of the hidden layer; 0 = there is none, and experts of a group share.
        pieces: how many numbers stand for pieces of words (`atmoe.routing.spelling`); 0 = letters
            are not read.
        floor: how likely an expert must be asked for to take part; without a hidden layer, the
            share from which it does, in units of that of equal shares. Each group has its own.
        group_floor: the share from which a group takes part, in units of that of equal shares; 0 =
            it always does. Each group has its own.
    """

    floor: Tensor
    group_floor: Tensor

    def __init__(
        self,
        layout: Layout,
        hidden: int,
        depth: int,
        width: int = 0,
        floor: float = 0.25,
        group_floor: float = 0.0,
        pieces: int = 0,
    ):
        super().__init__()
        self.layout = layout
        E, G = len(layout.expert_names), len(layout.groups)
        if width:
            self.hidden_weight = nn.Parameter(torch.zeros(depth, width, hidden))
            self.hidden_bias = nn.Parameter(torch.zeros(1, width))
        self.weight = nn.Parameter(
            torch.zeros(1, E, width) if width else torch.zeros(depth, E, hidden)
        )
        self.bias = nn.Parameter(torch.zeros(1, E))
        self.register_buffer("floor", torch.full((G,), float(floor)))
        self.group_weight = nn.Parameter(torch.zeros(depth, G, hidden))
        self.group_bias = nn.Parameter(torch.zeros(1, G))
        self.register_buffer("group_floor", torch.full((G,), float(group_floor)))
        self.spelling = Spelling(pieces, E) if pieces else None
        self.depth, self.width = depth, width

    def forward(self, states: Tensor, texts: Sequence[str]) -> Tensor:
        """How much each expert is asked for.

        Args:
            states: pooled, [rows, depth, hidden].
            texts: the words themselves, one a row.

        Returns:
            [rows, experts], each from 0 to 1; without a hidden layer, each group's own sum to 1.
        """
        logits = self.logits(states)
        if self.spelling is not None:
            logits = logits + self.spelling(texts)
        return logits.sigmoid() if self.width else in_group(self.layout, logits)

    def logits(self, states: Tensor) -> Tensor:
        """The same before the sigmoid, or before the softmax, of states alone.

        Args:
            states: pooled, [rows, depth, hidden].

        Returns:
            [rows, experts]
        """
        states = states.float()
        if self.width:
            read = torch.einsum("rlh,lwh->rw", states, self.hidden_weight) + self.hidden_bias
            states = nn.functional.gelu(read)[:, None]
        return torch.einsum("rlh,leh->re", states, self.weight) + self.bias

    def of_groups(self, states: Tensor) -> Tensor:
        """What share of all the weight each group is expected to have.

        Args:
            states: pooled, [rows, depth, hidden].

        Returns:
            [rows, groups]; each row sums to 1.
        """
        logits = torch.einsum("rlh,lgh->rg", states.float(), self.group_weight) + self.group_bias
        return logits.softmax(-1)

    def chosen(self, shares: Tensor) -> Tensor:
        """Which groups take part, where these are their shares: at least half of them.

        Answers bear it: without one of the medical model's three groups their loss rose by 0.04
        nats a token, without two by 0.3.

        Args:
            shares: of all the weight, [rows, groups].

        Returns:
            [rows, groups], True for those who do.
        """
        groups = len(self.layout.groups)
        return _enough(shares, self.group_floor / groups, (groups + 1) // 2)

    def team(self, states: Tensor, texts: Sequence[str]) -> Members:
        """Who takes part.

        Args:
            states: pooled, [rows, depth, hidden].
            texts: the words themselves, one a row.
        """
        asked, groups = self(states, texts), self.chosen(self.of_groups(states))
        parts = []
        for group, floor in zip(self.layout.group_names, self.floor):
            shares = asked[:, self.layout.members(group)]
            parts.append(_enough(shares, floor / (1 if self.width else shares.shape[1])))
        if self.width:
            groups = groups | torch.stack([part.sum(1) > 1 for part in parts], 1)
        return Members(groups, torch.cat(parts, 1), asked)


def _enough(shares: Tensor, floor: Tensor, least: int = 1) -> Tensor:
    """Who of siblings has that much, and the `least` who have most."""
    last = shares.topk(least, 1).values[:, -1:]
    return (shares >= floor) | (shares >= last)


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
