"""Where the page's time goes: of reading a prompt, and of one more token, the share of each part.

Torch's own profiler times each operation, and what an operation is for is told by its name and its
shapes: a matrix product that is as wide as the vocabulary is the head, one that is narrower than
the base's narrowest matrix is of experts, any other is the base's. The profiler itself takes time,
of small operations most, so these are shares and no speeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from atmoe.answer.batching import Batching
from atmoe.answer.sampling import Sampling
from atmoe.bench import scale
from atmoe.mixture.mixture import Mixture
from atmoe.mixture.precision import usable
from atmoe.model import AtMoe

STEPS = 32
"""Tokens that are profiled, after one that is not."""
PRODUCT = ("mm", "mv", "linear", "matmul")
"""What the names of matrix products hold."""
ATTENTION = ("attention", "softmax")
BASE, EXPERTS, HEAD = "the base's matrices", "the experts' matrices", "the head"
SEEN, ELSE = "attention", "all else: norms, activations, copies, choosing"
OUTSIDE = "outside of operations: Python, and the profiler"

Shares = dict[str, float]
"""Part → its share of the time, 0 to 1; they sum to 1."""


def profile(
    path: Path, base: str | None, question: str, steps: int = STEPS
) -> dict[str, dict[str, Shares]]:
    """The page's own decoding of somebody alone, in each quick precision.

    Args:
        path: where the model is saved.
        base: as for `AtMoe.from_pretrained`.
        question: is read, and answered.
        steps: tokens that are profiled.

    Returns:
        Precision → {"prompt": shares of reading it, "token": of one more token}.
    """
    told = {}
    for name in usable():
        if name in ("bfloat16", "int4"):
            model = AtMoe.from_pretrained(path, base, name)
            with closing(Batching(model)) as batch:
                told[name] = shares(batch, question, steps)
    return told


def shares(batch: Batching, question: str, steps: int = STEPS) -> dict[str, Shares]:
    """Of one batch with nobody in it, as `profile` has it."""
    batch.warm()
    sampling = Sampling(2 * steps + 2)
    batch.remove(batch.add(question, None, sampling))  # the first pays for what is made once
    with Stretch(batch.model) as prompt:
        row = batch.add(question, None, sampling)
    batch.step()
    with Stretch(batch.model) as token:
        for _ in range(steps):
            if row not in batch.rows:
                break
            batch.step()
    batch.remove(row)
    return {"prompt": prompt.shares, "token": token.shares}


class Stretch:
    """A stretch of time, and what it went to.

    Attributes:
        shares: known once it has ended.
    """

    shares: Shares

    def __init__(self, model: Mixture):
        linears = [expert.linear for expert in model.bank.linears.values()]
        self._narrowest = min(min(w.in_features, w.out_features) for w in linears)
        self._vocabulary = model.base.config.get_text_config().vocab_size
        self._profiler = profiling(activities=[ProfilerActivity.CPU], record_shapes=True)

    def __enter__(self) -> Stretch:
        self._profiler.__enter__()
        self._began = scale.now()
        return self

    def __exit__(self, *error: Any) -> None:
        whole = scale.now() - self._began
        self._profiler.__exit__(*error)
        seconds: dict[str, float] = defaultdict(float)
        for event in self._profiler.key_averages(group_by_input_shape=True):
            part = self.part(event.key, event.input_shapes)
            seconds[part] += event.self_cpu_time_total / 1e6
        seconds[OUTSIDE] = max(whole - sum(seconds.values()), 0.0)
        total = sum(seconds.values())
        largest = sorted(seconds.items(), key=lambda item: -item[1])
        self.shares = {part: taken / total for part, taken in largest}

    def part(self, name: str, shapes: Sequence[Sequence[int]]) -> str:
        """What an operation is for."""
        if any(word in name for word in ATTENTION):
            return SEEN
        if not any(word in name for word in PRODUCT):
            return ELSE
        sizes = [size for shape in shapes for size in shape[-2:]]
        if self._vocabulary in sizes:
            return HEAD
        if "pack" in name:  # an operand in fewer bits, whose shape is not the matrix's
            return BASE
        operands = [shape for shape in shapes if len(shape) >= 2]
        # behind the rows, and behind a bias; one row alone is no matrix
        place = 0 if "mv" in name else 2 if "add" in name and len(operands) > 2 else 1
        if len(operands) <= place:
            return ELSE
        matrix = operands[place]
        return EXPERTS if min(matrix[-2:]) < self._narrowest else BASE
