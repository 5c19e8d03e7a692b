"""Where the page's time goes: of reading a prompt, and of one more token, the share of each part.

Torch's own profiler times each operation, and what an operation is for is told by its name and its
shapes: a matrix product that is as wide as the vocabulary is the head, one that is narrower than
the base's narrowest matrix is of experts, any other is the base's. The profiler itself takes time,
of small operations most, so these are shares and no speeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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

MADE_BY = (BASE, EXPERTS, HEAD, SEEN)
"""Parts of which the operators are told."""
TOLD = 0.1
"""An operator is told of a part from this share of the part's time on."""


def profile(
    path: Path, base: str | None, question: str, steps: int = STEPS
) -> dict[str, dict[str, dict[str, dict]]]:
    """The page's own decoding of somebody alone, in each quick precision.

    Args:
        path: where the model is saved.
        base: as for `AtMoe.from_pretrained`.
        question: is read, and answered.
        steps: tokens that are profiled.

    Returns:
        "profile": precision → {"prompt": of reading it, "token": of one more token} → part → its
        share of the time, 0 to 1; they sum to 1. "operators": the same, part → the names of
        PyTorch's operators that made its products, the one that took longest first.
    """
    of_each = {}
    for name in usable():
        if name in ("bfloat16", "int4"):
            model = AtMoe.from_pretrained(path, base, name, device="cpu")
            with closing(Batching(model)) as batch:
                of_each[name] = stretches(batch, question, steps)
    return {
        "profile": {n: {k: s.shares for k, s in each.items()} for n, each in of_each.items()},
        "operators": {n: {k: s.operators for k, s in each.items()} for n, each in of_each.items()},
    }


def stretches(batch: Batching, question: str, steps: int = STEPS) -> dict[str, Stretch]:
    """Of one batch with nobody in it: "prompt" and "token", as `profile` has it."""
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
    return {"prompt": prompt, "token": token}


class Stretch:
    """A stretch of time, and what it went to.

    Both are known once it has ended.

    Attributes:
        shares: part → its share of the time.
        operators: part → who made its products, by time.
    """

    shares: dict[str, float]
    operators: dict[str, list[str]]

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
        by: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for event in self._profiler.key_averages(group_by_input_shape=True):
            part = self.part(event.key, event.input_shapes)
            by[part][event.key] += event.self_cpu_time_total / 1e6
        seconds = {part: sum(taken.values()) for part, taken in by.items()}
        self.operators = {part: _largest(by[part]) for part in MADE_BY}
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


def _largest(taken: Mapping[str, float]) -> list[str]:
    """The names that took a share of the time worth telling, the largest first."""
    least = TOLD * sum(taken.values())
    return sorted((name for name in taken if taken[name] >= least), key=lambda name: -taken[name])
