"""What things cost beside transformers' own `generate` of the base model alone: as ratios, interleaved in one run.

An absolute time says nothing on a machine that others use too, so both sides of a ratio take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from atmoe import base as base_models
from atmoe.decode import Sampling
from atmoe.explain import explain
from atmoe.model import AtMoe
from atmoe.smallest_change import smallest_changes

QUESTION = "My father has Parkinson's disease. What can be done for the tremor, and how will it go on?"


def bench(model: AtMoe, base: str | None, answer_tokens: int = 128, repeats: int = 5) -> dict:
    """The whole explanation of an answer (every unit, and the exact Shapley values), and the search for its smallest
    change, beside what `generate` takes to write that answer, in the model's precision.

    → {"prompt_tokens", "answer_tokens", "rows", "dtype", "threads", "seconds": {name: median},
       "ratio_to_generate": {name: {"median", "least", "most"}}}
    """
    plain = base_models.load(base_models.fetch(base), model.bank.dtype)[0].to(model.device).eval()
    ids = torch.tensor([model.encode(QUESTION).ids], device=model.device)

    def generate() -> torch.Tensor:
        with torch.inference_mode():
            return plain.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0,
                                  max_new_tokens=answer_tokens, min_new_tokens=answer_tokens)[0, ids.shape[1]:]

    written = generate().tolist()
    record = replace(model.answer(QUESTION, sampling=Sampling(1)), answer_tokens=tuple(written),
                     answer=model.tokenizer.decode(written, skip_special_tokens=True))
    rows = explain(model, record).rows
    tasks = {"generate": generate, "explanation": lambda: explain(model, record), "smallest_change": lambda: smallest_changes(model, record)}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(_timed(task))
    ratios = {name: [s / g for s, g in zip(taken, seconds["generate"])] for name, taken in seconds.items() if name != "generate"}
    return {"prompt_tokens": ids.shape[1], "answer_tokens": len(written), "rows": rows,
            "dtype": str(model.bank.dtype).removeprefix("torch."), "threads": torch.get_num_threads(),
            "seconds": {name: round(statistics.median(taken), 3) for name, taken in seconds.items()},
            "ratio_to_generate": {name: {"median": round(statistics.median(r), 3), "least": round(min(r), 3), "most": round(max(r), 3)}
                                  for name, r in ratios.items()}}


def _timed(task: Callable) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began
