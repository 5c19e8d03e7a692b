"""What things cost beside transformers' own `generate` of the base model alone.

An absolute time says nothing on a machine that others use too, so these are ratios whose two sides
take turns in one run (`atmoe.bench.ratios`).
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from atmoe.answer.sampling import Sampling
from atmoe.bench import QUESTION, QUESTIONS, UNLESS_ASKED
from atmoe.bench import scale as bench_scale
from atmoe.bench.llama import llama
from atmoe.bench.load import load
from atmoe.bench.page import page
from atmoe.bench.peers import peers
from atmoe.bench.profile import profile
from atmoe.bench.ratios import inverse, of_load, of_memory, spread
from atmoe.bench.scale import decoded, over, precisions, prefills, rows, sizes, timed
from atmoe.bench.taken import memory, start
from atmoe.explanation.measure import explain
from atmoe.explanation.smallest_change import smallest_changes
from atmoe.mixture.precision import chosen, usable
from atmoe.model import AtMoe
from atmoe.study.baselines import base_alone


def bench(
    model: AtMoe,
    path: Path,
    base: str | None,
    parts: Sequence[str] = UNLESS_ASKED,
    answer_tokens: int = 128,
    repeats: int = 5,
    processor: bool = False,
    gguf: Path | None = None,
    people: int = 50,
    seconds: float = 60,
) -> dict:
    """Ratios, more of which is better, part by part.

    Args:
        model: what is timed.
        path: where it was loaded from.
        base: as for `AtMoe.from_pretrained`.
        parts: some of `atmoe.bench.PARTS`.
        answer_tokens: the length of every answer.
        repeats: of each measurement.
        processor: time what this process has of the processor, not the clock on the wall: of one
            thread, that is nearly free of what others do meanwhile. (Of several it is not: they
            wait for one another awake.)
        gguf: the base as a GGUF file, to compare with llama.cpp too.
        people: of the part "load", at once.
        seconds: of the part "load".

    Returns:
        {"model": its sha256, "date", "dtype", "threads", "clock", "answer_tokens", "repeats",
        "ratios": {name: {"median", "least", "most"}}}, and a part's own figures.
    """
    bench_scale.now = time.process_time if processor else time.perf_counter
    plain = base_alone(model, base).eval()

    def generate(causal: PreTrainedModel, tokens: int) -> float:
        return _generate_speed(model, causal, tokens)

    report: dict[str, Any] = {
        "model": model.info.sha256,
        "date": date.today().isoformat(),
        "dtype": model.precision,
        "threads": torch.get_num_threads(),
        "clock": "processor" if processor else "wall",
        "answer_tokens": answer_tokens,
        "repeats": repeats,
    }
    ratios: dict[str, dict[str, float]] = {}
    measure = {
        "rows": lambda: rows(model, QUESTIONS, answer_tokens, repeats),
        "prefill": lambda: prefills(model, plain, QUESTION, repeats),
        "sizes": lambda: sizes(model, base, QUESTION, answer_tokens, repeats),
        "page": lambda: page(
            path, base, QUESTIONS, lambda: generate(plain, answer_tokens), answer_tokens, repeats
        ),
        "precision": lambda: precisions(
            model,
            path,
            base,
            QUESTION,
            lambda: generate(plain, answer_tokens),
            answer_tokens,
            repeats,
        ),
        "peers": lambda: peers(model, path, base, QUESTION, generate, answer_tokens, repeats),
    }
    # It may end the process, and what was measured before with it.
    if gguf is not None:
        print("bench: llama.cpp", file=sys.stderr)
        beside = llama(model, path, base, gguf, QUESTION, answer_tokens, repeats)
        ratios |= {name: spread(values) for name, values in beside.items()}
    for part in parts:
        print(f"bench: {part}", file=sys.stderr)
        if part == "explanation":
            report |= explaining(model, plain, answer_tokens, repeats)
            cost = report["ratio_to_generate"]
            ratios["writing an answer to explaining it"] = inverse(cost["explanation"])
            ratios["writing an answer to its smallest change"] = inverse(cost["smallest_change"])
        elif part == "decoding":
            report["decoding"] = decoding(model, plain, answer_tokens, repeats)
            ratios |= {
                "routed to generate": report["decoding"]["routed_to_generate"],
                "eight rows to one": report["decoding"]["eight_to_one"],
            }
        elif part == "profile":
            report |= profile(path, base, QUESTION)
        elif part == "start":
            report["start"] = {name: start(path, base, name) for name in usable()}
        elif part == "load":
            report[part] = load(path, chosen(), people, seconds, base)
            ratios |= of_load(report[part])
        elif part == "memory":
            report[part] = memory(path, chosen(), base)
            ratios |= of_memory(report[part])
        else:
            ratios |= {name: spread(values) for name, values in measure[part]().items()}
        gc.collect()
    return report | {"ratios": ratios}


def explaining(model: AtMoe, plain: PreTrainedModel, answer_tokens: int, repeats: int) -> dict:
    """What explaining an answer takes beside writing it by `generate`, in the model's precision.

    It is the whole explanation (every unit, and the exact Shapley values), and the search for the
    answer's smallest change.

    Returns:
        {"prompt_tokens", "answer_tokens", "rows", "seconds": {name: median}, "ratio_to_generate":
        {name: {"median", "least", "most"}}}.
    """
    ids = torch.tensor([model.encode(QUESTION).ids], device=model.device)

    def generate() -> torch.Tensor:
        with torch.inference_mode():
            return plain.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                pad_token_id=0,
                max_new_tokens=answer_tokens,
                min_new_tokens=answer_tokens,
            )[0, ids.shape[1] :]

    written = generate().tolist()
    record = replace(
        model.answer(QUESTION, sampling=Sampling(1)),
        answer_tokens=tuple(written),
        answer=model.tokenizer.decode(written, skip_special_tokens=True),
    )
    count = explain(model, record).rows
    tasks: dict[str, Callable[[], Any]] = {
        "generate": generate,
        "explanation": lambda: explain(model, record),
        "smallest_change": lambda: smallest_changes(model, record),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(timed(task))
    ratios = {
        name: [s / g for s, g in zip(taken, seconds["generate"])]
        for name, taken in seconds.items()
        if name != "generate"
    }
    return {
        "prompt_tokens": ids.shape[1],
        "answer_tokens": len(written),
        "rows": count,
        "seconds": {name: round(statistics.median(taken), 3) for name, taken in seconds.items()},
        "ratio_to_generate": {name: spread(r) for name, r in ratios.items()},
    }


def decoding(model: AtMoe, plain: PreTrainedModel, tokens: int = 128, repeats: int = 5) -> dict:
    """Tokens a second after the prefill, greedy, `tokens` of them whatever they say.

    Of one routed plan beside `generate` of the base model, and of eight people's questions in one
    batch, each under its own plan, beside one. What is done once an answer, such as folding its
    plan in, counts.

    Returns:
        {"engine": {name: what decoded}, "tokens_per_second": {name: median, of all rows together},
        "routed_to_generate", "eight_to_one": {"median", "least", "most"}}.
    """
    names: dict[str, str] = {}
    speeds: dict[str, list[float]] = {"generate": [], "routed": [], "routed_8": []}
    asked = {"routed": QUESTIONS[:1], "routed_8": QUESTIONS}
    # The first of each shape pays for the kernels that it is the first to need.
    for questions in asked.values():
        decoded(model, questions, 3)
    for _ in range(repeats):
        speeds["generate"].append(_generate_speed(model, plain, tokens))
        for name, questions in asked.items():
            speed, names[name] = decoded(model, questions, tokens)
            speeds[name].append(speed)
    return {
        "engine": names,
        "tokens_per_second": {name: round(statistics.median(s), 2) for name, s in speeds.items()},
        "routed_to_generate": spread(over(speeds, "routed", "generate")),
        "eight_to_one": spread(over(speeds, "routed_8", "routed")),
    }


class _Clock(BaseStreamer):
    """When `generate` gave each token."""

    def __init__(self):
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Called by `generate` with the prompt, then with each token."""
        self.times.append(bench_scale.now())

    def end(self) -> None:
        """Called by `generate` at the end."""


def _generate_speed(model: AtMoe, plain: PreTrainedModel, tokens: int) -> float:
    """Tokens a second of `generate`, greedy, after the first."""
    ids = torch.tensor([model.encode(QUESTION).ids], device=model.device)
    clock = _Clock()
    with torch.inference_mode():
        plain.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            pad_token_id=0,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            streamer=clock,
        )
    _, first, *_, last = clock.times  # the prompt comes before the first token
    return (tokens - 1) / (last - first)
