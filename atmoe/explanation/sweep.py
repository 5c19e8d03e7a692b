"""One text under many plans: teacher-forced, side by side, in a single sweep through the layers.

All rows hold the same tokens, so what enters each layer beside the hidden states (masks, positions)
is taken from one pass of the first plan alone, the reference. A row whose plan differs from the
reference from layer k on joins there:

    layer        0 ........ k ........ L
    reference    ────────────────────────►   keeps the states that enter every layer
    drop, all    ────────────────────────►
    drop, late              └────────────►   costs a third
    the same weights again                   costs nothing: it is the row that has them

Log-probabilities are those of the model itself: without a repetition penalty, at temperature 1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atmoe.errors import AssetError, PromptError
from atmoe.mixture.experts import ExpertLinear, Mixing, decoder_layers, mixed_by
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.passes import Pass, entering, parting
from atmoe.prompt.batch import Batch, collate
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan

Watch = Callable[[ExpertLinear, Tensor, Tensor], None]

MULTIPLE = 32
"""Lengths are rounded up to it in bfloat16, whose kernels pay for every new shape on a CPU."""
ROW_TOKENS = 8192
"""At most this many tokens go through a layer at once; it bounds the memory (about 0.2 GB for a
model this small)."""
LOGIT_ROWS = 512


@dataclass(frozen=True)
class Swept:
    """What one text scored under many plans.

    Attributes:
        logp: of the tail's tokens [plans, tail], natural logarithm, float32.
        lead: by how much the likeliest token's logit, as `choose` sees it, is above that of the
            tail's own [plans, tail]; 0 where greedy decoding would have chosen the tail's.
        rows: what it cost, in full passes: layers computed / layers.
    """

    logp: Tensor
    lead: Tensor
    rows: float


def sweep(
    model: Mixture,
    prompt: Prompt,
    tail: Sequence[int],
    plans: Sequence[RoutingPlan],
    watch: Watch | None = None,
    choose: Callable[[Tensor], Tensor] | None = None,
) -> Generator[float, None, Swept]:
    """Score `tail` after `prompt` under each of `plans`, the first of which is the reference.

    A generator, so that others may have their turn.

    Args:
        model: base, experts and router; the plans take the router's place.
        prompt: as `model.encode` gives it.
        tail: the answer's token ids.
        plans: at least one.
        watch: called for each adapted linear of the reference's pass, as `Mixing` calls it.
        choose: logits [tail, vocabulary] of one row → the logits its greedy decoding would choose
            from.

    Yields:
        The fraction done, after each layer.

    Returns:
        A `Swept`.

    Raises:
        PromptError: an empty tail.
        AssetError: the base has no final norm where Llama, Qwen and Gemma have theirs.
    """
    if not tail:
        raise PromptError(
            "The answer is empty, and nothing can be measured of it; ask or steer otherwise."
        )
    norm = getattr(model.base.base_model, "norm", None)
    if norm is None:
        raise AssetError(
            f"{type(model.base).__name__} has no final norm that this program knows; use a Llama-, "
            f"Qwen- or Gemma-style base model."
        )
    # 1. one pass of the reference, which keeps what enters each layer
    layers = decoder_layers(model.base)[0]
    weights = model.weights_of(plans, len(plans))  # [plans, layers, experts]
    batch = _one_row(model, prompt, tail)
    reference = _reference_pass(model, batch, weights[:1], watch)

    # 2. rows in the order in which they join, as many at once as the memory bears
    joins = parting(weights, weights[0])
    first_with: dict[bytes, int] = {}
    stands_for = [
        first_with.setdefault(own.numpy().tobytes(), row)
        for row, own in enumerate(weights.float().cpu())
    ]
    order = sorted(first_with.values(), key=joins.__getitem__)
    at_once = max(1, ROW_TOKENS // batch.ids.shape[1])
    chunks = [order[i : i + at_once] for i in range(0, len(order), at_once)]
    work = sum(len(layers) - joins[row] for row in order)
    done = 0
    logp, lead = torch.empty(len(plans), len(tail)), torch.empty(len(plans), len(tail))
    targets = torch.tensor(tail, device=model.device)
    first = len(prompt.ids) - 1  # the state that predicts the tail's first token
    for rows in chunks:
        # 3. through the layers
        hidden = reference.states[-1].new_empty(0, *reference.states[-1].shape[1:])
        for layer in range(joins[rows[0]], len(layers) + 1):
            with torch.inference_mode():
                joining = sum(joins[row] == layer for row in rows)
                if joining:
                    hidden = torch.cat([hidden, reference.states[layer].expand(joining, -1, -1)])
                    mixing = Mixing(model.bank, weights[rows[: len(hidden)]])
                if layer == len(layers):
                    break
                with mixed_by(mixing):
                    hidden = reference.through(layer, layers[layer], hidden)
            done += len(hidden)
            yield done / max(work, 1)
        # 4. read the tail's tokens, row by row: logits are the largest tensor of all
        with torch.inference_mode():
            for row, states in zip(rows, hidden[:, first : first + len(tail)]):
                logits = torch.cat(
                    [model.logits(norm(part)).float() for part in states.split(LOGIT_ROWS)]
                )
                logp[row] = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu()
                logits = choose(logits) if choose else logits
                own = logits.gather(1, targets.to(logits.device)[:, None])[:, 0]
                lead[row] = (logits.max(-1).values - own).cpu()
    # 5. rows of the same weights are the same row, to the last bit
    return Swept(logp[stands_for], lead[stands_for], work / len(layers))


def _one_row(model: Mixture, prompt: Prompt, tail: Sequence[int]) -> Batch:
    """The prompt and the tail, lengthened where kernels want it."""
    length = len(prompt.ids) + len(tail)
    multiple = MULTIPLE if model.bank.dtype is torch.bfloat16 else 1
    # What stands behind the last token is never looked at; to attend to it costs no mask.
    filler = [model.tokenizer.pad_token_id or 0] * (-length % multiple)
    return collate([prompt], [[*tail, *filler]], pad=0, device=model.device)


def _reference_pass(model: Mixture, batch: Batch, weights: Tensor, watch: Watch | None) -> Pass:
    """One pass under one plan.

    Args:
        model: base and experts.
        batch: one row.
        weights: of the plan [1, layers, experts].
        watch: called for each adapted linear, as `Mixing` calls it.

    Returns:
        What entered each layer; its last states are those that left the last one.
    """
    layers = decoder_layers(model.base)[0]
    reference = Pass()
    with (
        torch.inference_mode(),
        mixed_by(Mixing(model.bank, weights, watch)),
        entering(reference),
    ):
        model.base.base_model(
            input_ids=batch.ids,
            attention_mask=batch.attention,
            position_ids=batch.positions,
            use_cache=False,
        )
    with torch.inference_mode(), mixed_by(Mixing(model.bank, weights)):
        last = reference.through(len(layers) - 1, layers[-1], reference.states[-1])
    reference.states.append(last)
    return reference
