"""What the planner reads of one prompt, by the engine: a person's words, and no more.

    template before the words ─ read once ─► keys and values ─┐
    a person's words ─────────────────────────────────────────┴► states, of the first layers

The base reads them alone there, and no state depends on what follows, so the template behind the
words is left out. But for the order of sums it is `atmoe.mixture.planning.first_reading`, which
reads all of it, twice the tokens of a short question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atmoe.answer.causal import Causal
from atmoe.answer.engine import Engine, Products
from atmoe.answer.layers import LINEARS
from atmoe.answer.leases import bare
from atmoe.answer.pieces import Pieces, through
from atmoe.mixture.planning import First
from atmoe.prompt.template import Prompt
from atmoe.routing.planner import Planner


@dataclass(frozen=True)
class Opening:
    """What all prompts of a template begin with, as the base reads it.

    Attributes:
        ids: the tokens before a person's words.
        layers: keys and values of the planner's layers, [tokens, kv heads, d] each; none where
            there are no such tokens.
    """

    ids: tuple[int, ...]
    layers: Sequence[tuple[Tensor, Tensor]]


def foresee(engine: Engine, prompt: Prompt) -> Pieces[First]:
    """Who takes part in a prompt, and what decided it, in pieces.

    Args:
        engine: what reads.
        prompt: as encoded.

    Returns:
        None for both where the router has no planner.
    """
    planner = engine.model.router.planner
    if planner is None:
        return First(None, None)
    products = bare(engine.fused[: len(LINEARS) * planner.depth])
    opening, ids = engine.opening, tuple(prompt.ids[: prompt.start])
    deep = planner.depth if ids else 0
    if opening is None or opening.ids != ids or len(opening.layers) < deep:
        opening = engine.opening = Opening(ids, (yield from _opened(engine, ids, deep, products)))
    states = yield from _states(
        engine, prompt.ids[prompt.start : prompt.end], opening, planner, products
    )
    return First(states, planner.team(states, [prompt.text]))


def _states(
    engine: Engine, words: Sequence[int], opening: Opening, planner: Planner, products: Products
) -> Pieces[Tensor]:
    """Mean states of the words as they leave the planner's layers, [1, depth, hidden], float32."""
    states: list[Tensor] = []

    def enter(index: int, x: Tensor) -> None:
        if index:
            states.append(x.float().mean(0))

    causal = Causal()

    def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if opening.layers:
            k, v = (torch.cat([old, new]) for old, new in zip(opening.layers[index], (k, v)))
        return causal(engine.layers[index], q, k, v)

    x = yield from _read(engine, words, len(opening.ids), planner.depth, products, attend, enter)
    enter(planner.depth, x)
    return torch.stack(states)[None]


def _opened(
    engine: Engine, ids: Sequence[int], depth: int, products: Products
) -> Pieces[list[tuple[Tensor, Tensor]]]:
    """Keys and values of tokens that nothing stands before."""
    layers: list[tuple[Tensor, Tensor]] = []
    if not depth:
        return layers
    causal = Causal()

    def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        layers.append((k.clone(), v.clone()))  # or all that they are part of would be kept
        return causal(engine.layers[index], q, k, v)

    yield from _read(engine, ids, 0, depth, products, attend, lambda index, x: None)
    return layers


def _read(
    engine: Engine,
    ids: Sequence[int],
    before: int,
    depth: int,
    products: Products,
    attend: Callable[[int, Tensor, Tensor, Tensor], Tensor],
    enter: Callable[[int, Tensor], None],
) -> Pieces[Tensor]:
    """Tokens through the first layers, after so many others; what leaves them, [tokens, hidden]."""
    device = engine.embed.weight.device
    x = engine.embed(torch.tensor(ids, dtype=torch.long, device=device))
    turns = engine.turns(torch.arange(before, before + len(ids), device=device)[None])
    return (yield from through(engine, x, products, turns, attend, enter=enter, last=depth))
