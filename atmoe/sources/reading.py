"""What a planner reads of many prompts, quickly: what all of them begin with is read once.

    template before the words ─ read once ─► keys and values ─┐
    the words of many prompts ────────────────────────────────┴► their states, layer by layer

A causal model's states do not depend on what follows, so the template behind the words is left out.
The numbers are those of `atmoe.mixture.planning.first_states`, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache

from atmoe.errors import AssetError, PromptError
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.planning import first_states
from atmoe.prompt.batch import Batch
from atmoe.prompt.template import Prompt
from atmoe.routing.planner import Planner

T = TypeVar("T")
STEP_TOKENS = 1024
"""Tokens of one batch, padding included."""


def read(mixture: Mixture, prompts: Sequence[str], label: str = "reading") -> Tensor:
    """What the planner reads of each prompt.

    Args:
        mixture: its router must have a planner.
        prompts: what a person typed.
        label: what the bar that shows progress is called.

    Returns:
        [prompts, depth, hidden], float32, on the CPU; not a number where a prompt is refused.

    Raises:
        AssetError: the router has no planner.
    """
    planner = mixture.router.planner
    if planner is None:
        raise AssetError(
            "This model's router has no planner, whose reading an index is made of; train the "
            "router again with --depth of at least 1."
        )
    return states_of(mixture, planner, [_encoded(mixture, prompt) for prompt in prompts], label)


def states_of(
    mixture: Mixture, planner: Planner, encoded: Sequence[Prompt | None], label: str | None = None
) -> Tensor:
    """The same of encoded prompts; of None it is not a number.

    Args:
        mixture: whose base reads.
        planner: its router's.
        encoded: the prompts.
        label: what the bar that shows progress is called; None = there is no bar.

    Returns:
        [prompts, depth, hidden], float32, on the CPU.
    """
    hidden = planner.group_weight.shape[-1]
    states = torch.full((len(encoded), planner.depth, hidden), torch.nan)
    first = next((prompt for prompt in encoded if prompt), None)
    if first is None:
        return states
    beginning = first.ids[: first.start]
    shared = [i for i, p in enumerate(encoded) if p and p.ids[: p.start] == beginning]
    # 1. those that begin alike, together
    cache = _read_once(mixture, beginning, planner.depth)
    shown = {"desc": label, "unit": "prompt", "mininterval": 5, "disable": label is None}
    with torch.no_grad(), tqdm(total=len(shared), **shown) as bar:
        for rows in _batches(shared, encoded):
            batch = _words(mixture, [encoded[i] for i in rows], len(beginning))
            again = _for_rows(mixture, cache, len(rows))
            states[rows] = first_states(mixture.base, batch, planner.depth, again).float().cpu()
            bar.update(len(rows))
    # 2. the others one by one
    for i in {i for i, p in enumerate(encoded) if p} - set(shared):
        batch = mixture.collate([encoded[i]])  # type: ignore[list-item]  # None was left out
        states[i] = first_states(mixture.base, batch, planner.depth)[0].float().cpu()
    return states


def well_read(states: Tensor) -> Tensor:
    """Which prompts were not refused [rows], of what `read` gave."""
    return ~states.isnan().flatten(1).any(1)


def readable(examples: Sequence[T], states: Tensor) -> tuple[list[T], Tensor]:
    """Without those that the model refuses to read.

    Args:
        examples: one a row.
        states: as `read` gave them.
    """
    well = well_read(states)
    return [example for example, ok in zip(examples, well.tolist()) if ok], states[well]


def _encoded(mixture: Mixture, prompt: str) -> Prompt | None:
    try:
        return mixture.encode(prompt)
    except PromptError:
        return None


def _read_once(
    mixture: Mixture, beginning: Sequence[int], depth: int
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values [1, heads, tokens, d] of what prompts begin with, of the first layers."""
    if not beginning:
        return []
    cache = DynamicCache(config=mixture.base.config)
    prompt = Prompt(tuple(beginning), 0, len(beginning))
    first_states(mixture.base, mixture.collate([prompt]), depth, cache)
    read = slice(-len(beginning), None)  # what stands before it is padding, in bfloat16
    return [(layer.keys[:, :, read], layer.values[:, :, read]) for layer in cache.layers[:depth]]


def _for_rows(
    mixture: Mixture, layers: Sequence[tuple[Tensor, Tensor]], rows: int
) -> DynamicCache | None:
    """The same keys and values for so many rows; None where there are none."""
    if not layers:
        return None
    cache = DynamicCache(config=mixture.base.config)
    for index, (keys, values) in enumerate(layers):
        cache.update(*(t.expand(rows, -1, -1, -1) for t in (keys, values)), index)
    return cache


def _batches(rows: Sequence[int], prompts: Sequence[Prompt | None]) -> Iterator[list[int]]:
    """Rows of similar length together, the shortest first."""

    def words(i: int) -> int:
        prompt = prompts[i]
        return prompt.end - prompt.start if prompt else 0

    batch: list[int] = []
    for i in sorted(rows, key=words):
        longer = batch and words(i) > 1.2 * words(batch[0]) + 2
        if longer or (len(batch) + 1) * words(i) > STEP_TOKENS:
            if batch:
                yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _words(mixture: Mixture, prompts: Sequence[Prompt | None], before: int) -> Batch:
    """The words alone as a batch, padded behind, after `before` tokens that were read already."""
    words = [torch.tensor(p.ids[p.start : p.end]) for p in prompts if p]
    lengths = torch.tensor([len(w) for w in words])
    ids = torch.nn.utils.rnn.pad_sequence(words, True, mixture.tokenizer.pad_token_id)
    instruction = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    attention = torch.cat([torch.ones(len(ids), before, dtype=torch.long), instruction], 1)
    positions = (before + torch.arange(ids.shape[1])).expand(len(ids), -1)
    ids, attention = ids.to(mixture.device), attention.to(mixture.device)
    instruction, positions = instruction.to(mixture.device), positions.to(mixture.device)
    return Batch(ids, attention, instruction, positions, tuple(p.text for p in prompts if p))
