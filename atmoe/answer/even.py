"""Does a row's rounding depend on how many rows a step has? Tried out on the machine.

a step of made-up rows, whole      ┐  the same bits in any number of rows and at any place?
products that come to nothing      ┘  else so many rows are always taken together
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from atmoe.answer.engine import Engine, Turns


def even_rows(engine: Engine, most: int) -> int:
    """The least number of which a step's rows must be a multiple so that none depends on others.

    That is: no row's logits depend, in any bit, on how many rows there are or where it stands, from
    1 to `most` of them. Tried out with steps of made-up rows.

    Args:
        engine: what decodes.
        most: rows at once.

    Returns:
        A power of two; 0 where there is none.
    """
    layout = engine.model.layout
    one = engine.model.router.gain.new_zeros(1, layout.layers, len(layout.expert_names))
    # Leased throughout, so that the copy is made once.
    with torch.inference_mode(), closing(engine.copy.lease(one, fold=False, steps=True)):
        multiple = 1
        while multiple < 2 * most:
            if _even(engine, multiple, -(-most // multiple) * multiple):
                return multiple
            multiple *= 2
    return 0


def _even(engine: Engine, multiple: int, top: int) -> bool:
    """Whether any multiple of so many rows up to `top`, in any place, gives the same bits."""
    for trial in (_trial_products, _trial_step):
        all_rows = trial(engine, torch.arange(top))
        for rows in range(multiple, top + 1, multiple):
            order = (torch.arange(rows) + rows // 2 + 1) % top
            if not torch.equal(trial(engine, order), all_rows[order]):
                return False
    return True


def _trial_products(engine: Engine, which: Tensor) -> Tensor:
    """One product of each shape, of rows made so that it comes to nothing in one place.

    What is left there is what the order of adding up left, and shows that order. Elsewhere bfloat16
    rounds it away, all but once in thousands of numbers: seen as one other bit in 40 tokens.

    Args:
        engine: what computes them.
        which: of the 64 made-up rows, [rows].

    Returns:
        All that the products gave, [rows, …].
    """
    random = torch.Generator().manual_seed(0)
    layout, gain = engine.model.layout, engine.model.router.gain
    nothing = gain.new_zeros(len(which), layout.layers, len(layout.expert_names))
    everybody = gain.new_ones(layout.layers, len(layout.expert_names))
    outputs, shapes = [], set()

    def draw(weight: Tensor, bias: Tensor | None) -> Tensor:
        at = torch.randint(len(weight), (64,), generator=random)
        # of many sizes, for sums of a few alike are exact in any order
        large, small = torch.randn(2, 64, weight.shape[1], generator=random)
        x = (large * torch.exp2(4 * small)).to(gain.device, engine.embed.weight.dtype)
        return _cancelled(x, weight[at], None if bias is None else bias[at])[which]

    with (
        torch.inference_mode(),
        closing(engine.copy.lease(nothing, fold=False, steps=True)) as lease,
    ):
        for product in lease.products:
            fused = product.fused
            shape = fused.W.shape, None if fused.A is None else fused.A.shape, fused.bias is None
            if shape in shapes:
                continue
            shapes.add(shape)
            outputs.append(product(draw(fused.W, fused.bias).to(engine.stream)))
            beside = fused.picked(everybody) if fused.groups else None
            if beside is not None:  # float32, in which no order is rounded away
                rows = torch.randn(64, fused.W.shape[1], generator=random)[which]
                nothing = rows.new_zeros(1, len(fused.W))
                outputs.append(torch.cat([beside(row, nothing) for row in rows.split(1)]))
            elif fused.A is not None:
                outputs.append(product.low(draw(fused.A, None)))
        return torch.cat(outputs, 1)


def _cancelled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Inputs of which weight · x + bias is nothing but rounding.

    Args:
        x: made-up inputs, [rows, in]; the three that weigh most are set anew.
        weight: of the output that is to cancel in each row, [rows, in].
        bias: its own, [rows].
    """
    weight = weight.double()
    heavy = weight.abs().topk(min(3, weight.shape[1])).indices
    x = x.scatter(1, heavy, 0)
    # each takes up what the one before it was too coarse for
    for at in heavy.split(1, 1):
        rest = (weight * x.double()).sum(1, keepdim=True)
        if bias is not None:
            rest = rest + bias[:, None]
        x = x.scatter(1, at, (-rest / weight.gather(1, at)).to(x.dtype))
    return x


def _trial_step(engine: Engine, which: Tensor) -> Tensor:
    """One step of these out of many made-up rows that have no past.

    Args:
        engine: what computes it.
        which: of the 64 made-up rows, [rows].

    Returns:
        All that its products gave, and the logits, [rows, …].
    """
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(64, *shape, generator=random)[which]

    # 1. made-up tokens and positions; two plans in turn, each of its own half of the experts, for a
    # step may hold all numbers of those
    layout, embed = engine.model.layout, engine.embed.weight
    experts = len(layout.expert_names)
    plans = torch.rand(2, layout.layers, experts, generator=random)
    plans *= torch.arange(experts) % 2 == torch.arange(2)[:, None, None]
    weights = plans[which % 2].to(embed.device)
    tokens = (draw() * len(embed)).long().tolist()
    turns: Turns = {}
    for layer in engine.layers:
        cos, sin = (draw(1, layer.d).to(embed.device, engine.stream) for _ in range(2))
        turns[layer.rope] = cos, sin

    # 2. a step that looks back on nothing but itself
    outputs: list[Tensor] = []

    def recorded(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            y = product(x)
            outputs.append(y)
            return y

        return run

    def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return v[:, :, None].expand_as(q)

    with (
        torch.inference_mode(),
        closing(engine.copy.lease(weights, fold=False, steps=True)) as lease,
    ):
        products = [recorded(product) for product in lease.products]
        logits = engine.step(products, tokens, turns, attend)
        return torch.cat([*outputs, logits], 1)
