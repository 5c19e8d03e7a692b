"""What things cost beside transformers' own `generate` of the base model alone: as ratios, interleaved in one run.

An absolute time says nothing on a machine that others use too, so both sides of a ratio take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import torch
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from atmoe import base as base_models
from atmoe.decode import Sampling, decoder
from atmoe.explain import explain
from atmoe.model import AtMoe
from atmoe.smallest_change import smallest_changes

QUESTION = "My father has Parkinson's disease. What can be done for the tremor, and how will it go on?"
QUESTIONS = (QUESTION, "How is asthma treated?", "What causes gout, and who gets it?", "How is diabetes diagnosed?", "What is cystic fibrosis?",
             "Summarise the outlook for a woman with early breast cancer.", "Is aspirin of use after a stroke?", "How is malaria prevented?")
"""Eight people's, so that their plans differ."""


def bench(model: AtMoe, base: str | None, answer_tokens: int = 128, repeats: int = 5) -> dict:
    """The whole explanation of an answer (every unit, and the exact Shapley values), and the search for its smallest
    change, beside what `generate` takes to write that answer, in the model's precision; and decoding, see `decoding`.

    → {"prompt_tokens", "answer_tokens", "rows", "dtype", "threads", "seconds": {name: median},
       "ratio_to_generate": {name: {"median", "least", "most"}}, "decoding"}
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
            "dtype": model.precision, "threads": torch.get_num_threads(),
            "seconds": {name: round(statistics.median(taken), 3) for name, taken in seconds.items()},
            "ratio_to_generate": {name: _spread(r) for name, r in ratios.items()},
            "decoding": decoding(model, plain, answer_tokens, repeats)}


def decoding(model: AtMoe, plain: PreTrainedModel, tokens: int = 128, repeats: int = 5) -> dict:
    """Tokens a second after the prefill, greedy, `tokens` of them whatever they say: of one routed plan beside `generate` of
    the base model, and of eight people's questions in one batch, each under its own plan, beside one. What is done once an
    answer, such as folding its plan in, counts.

    → {"engine": {name: what decoded}, "tokens_per_second": {name: median, of all rows together},
       "routed_to_generate", "eight_to_one": {"median", "least", "most"}}
    """
    names: dict[str, str] = {}
    speeds: dict[str, list[float]] = {"generate": [], "routed": [], "routed_8": []}
    asked = {"routed": QUESTIONS[:1], "routed_8": QUESTIONS}
    for questions in asked.values():  # the first of each shape pays for the kernels that it is the first to need
        _routed_speed(model, questions, 3)
    for _ in range(repeats):
        speeds["generate"].append(_generate_speed(model, plain, tokens))
        for name, questions in asked.items():
            speed, names[name] = _routed_speed(model, questions, tokens)
            speeds[name].append(speed)
    ratio = lambda a, b: _spread([x / y for x, y in zip(speeds[a], speeds[b])])
    return {"engine": names, "tokens_per_second": {name: round(statistics.median(s), 2) for name, s in speeds.items()},
            "routed_to_generate": ratio("routed", "generate"), "eight_to_one": ratio("routed_8", "routed")}


class _Clock(BaseStreamer):
    """When `generate` gave each token."""

    def __init__(self):
        self.times: list[float] = []

    def put(self, value) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def _generate_speed(model: AtMoe, plain: PreTrainedModel, tokens: int) -> float:
    ids, clock = torch.tensor([model.encode(QUESTION).ids], device=model.device), _Clock()
    with torch.inference_mode():
        plain.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, max_new_tokens=tokens,
                       min_new_tokens=tokens, streamer=clock)
    _, first, *_, last = clock.times  # the prompt comes before the first token
    return (tokens - 1) / (last - first)


def _routed_speed(model: AtMoe, questions: Sequence[str], tokens: int) -> tuple[float, str]:
    logits, plans, cache, batch = model.prefill([model.encode(q) for q in questions], None)
    began = time.perf_counter()
    with closing(decoder(model, batch, cache, model.weights_of(plans, len(questions)), tokens)) as decode:
        for _ in range(tokens - 1):
            logits = decode(logits.argmax(-1).tolist())
    return len(questions) * (tokens - 1) / (time.perf_counter() - began), decode.name


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "least": round(min(values), 3), "most": round(max(values), 3)}


def _timed(task: Callable) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began
