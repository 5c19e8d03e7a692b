"""What an example pulls the experts towards: the gradient of its loss, projected at random.

    loss of the answer ─ backward ─► gradient of the last layers' B ─ sketch ─► vector

Two examples are near where their gradients point the same way (TracIn, Pruthi et al. 2020; the
random projection as in TRAK, Park et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from atmoe.data import Example
from atmoe.errors import PromptError
from atmoe.model import AtMoe

SIZE = 4096
"""Numbers of a projected gradient."""
LAST = 0.8
"""Gradients are taken in the layers from this share of the depth on."""


def gradients(model: AtMoe, examples: Sequence[Example], seed: int = 0) -> Tensor:
    """The projected gradient of each example's loss under the router's own plan.

    Args:
        model: its weights are left as they are.
        examples: each with its answer.
        seed: of the projection.

    Returns:
        [examples, SIZE], each of length 1; zeros where an example cannot be read.
    """
    first = int(LAST * model.layout.layers)
    linears = [linear for linear in model.bank.linears.values() if linear.layer >= first]
    generator = torch.Generator().manual_seed(seed)
    # A count sketch: every number goes to one place, with one sign.
    places = [
        (
            torch.randint(SIZE, (linear.B.numel(),), generator=generator),
            torch.randint(2, (linear.B.numel(),), generator=generator) * 2.0 - 1.0,
        )
        for linear in linears
    ]
    sketches = torch.zeros(len(examples), SIZE)
    try:
        for linear in linears:
            linear.B.requires_grad_(True)
        for i, example in enumerate(tqdm(examples, desc="gradients", mininterval=5)):
            try:
                loss = _loss(model, example)
            except PromptError:
                continue
            parts = torch.autograd.grad(loss, [linear.B for linear in linears])
            for part, (place, sign) in zip(parts, places):
                sketches[i].index_add_(0, place, part.float().cpu().flatten() * sign)
    finally:
        for linear in linears:
            linear.B.requires_grad_(False)
    return normalize(sketches, dim=1)


def _loss(model: AtMoe, example: Example) -> Tensor:
    """Nats per token of the example's answer, with gradients."""
    prompt, answer = model.encode(example.prompt), model.encode_answer(example.answer)
    batch = model.collate([prompt], [answer])
    hidden, _, _ = model.forward(batch, logits=False)
    logits = model.logits(hidden[0, -len(answer) - 1 : -1]).float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(answer, device=logits.device))
