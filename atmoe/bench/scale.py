"""What a size costs: rows, experts, ranks, layers steered, bits a weight.

Ratios, whose two sides take turns; more is better.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from atmoe.answer.batching import MOST_ROWS, Batching
from atmoe.answer.decoder import decoder
from atmoe.answer.kept import Kept
from atmoe.answer.prefill import prefill
from atmoe.answer.sampling import Sampling
from atmoe.mixture.config import Info
from atmoe.mixture.experts import Adapter, layer_linears
from atmoe.mixture.precision import usable
from atmoe.mixture.store import build
from atmoe.model import AtMoe
from atmoe.routing.layout import Layout
from atmoe.routing.plan import RoutingPlan
from atmoe.routing.router import GroupedRouter
from atmoe.steering.overrides import Override, State, Steering
from atmoe.study.baselines import base_alone

now: Callable[[], float] = time.perf_counter
"""What all is timed by; `atmoe.bench.run.bench` sets it to the wall's clock or the processor's."""
ROWS = (2, 4, 8)
EXPERTS, RANK = (4, 16, 64), 4
RANKS = (4, 16, 64)

Name = TypeVar("Name", bound=Hashable)


def in_turns(tasks: Mapping[Name, Callable[[], float]], repeats: int) -> dict[Name, list[float]]:
    """What each task measures of itself, one after the other, and so on `repeats` times.

    What a first call alone pays for is paid before.
    """
    for task in tasks.values():
        task()
    values: dict[Name, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            values[name].append(task())
    return values


def timed(task: Callable[[], Any]) -> float:
    """Seconds that a task takes."""
    began = now()
    task()
    return now() - began


def over(values: Mapping[Name, Sequence[float]], a: Name, b: Name) -> list[float]:
    """Ratios of a to b, turn by turn."""
    return [x / y for x, y in zip(values[a], values[b])]


def decoded(model: AtMoe, questions: Sequence[str], tokens: int) -> tuple[float, str]:
    """Decodes all questions in a batch, greedily, each under its own routed plan.

    What is done once an answer counts; the prefill does not.

    Returns:
        Tokens a second of all rows together, and the name of what decoded.
    """
    logits, plans, cache, batch = prefill(model, [model.encode(q) for q in questions], None)
    assert logits is not None  # to be decoded from, as is the cache
    began = now()
    weights = model.weights_of(plans, len(questions))
    with closing(decoder(model, batch, cache, weights, tokens)) as decode:
        for _ in range(tokens - 1):
            # In float32, as an answer's tokens are chosen; in bfloat16 argmax takes five times as
            # long.
            logits = decode(logits.float().argmax(-1).tolist())
    return len(questions) * (tokens - 1) / (now() - began), decode.name


def routed_speed(model: AtMoe, questions: Sequence[str], tokens: int) -> float:
    """Tokens a second of all rows together, as `decoded` measures them."""
    return decoded(model, questions, tokens)[0]


def prefill_speed(model: AtMoe, question: str) -> float:
    """Prefills a second as the page reads, the router's reading in it.

    The copy of the weights was made before.
    """
    with closing(Batching(model)) as batch:
        batch.ready()
        return 1 / timed(lambda: batch.prefill(model.encode(question)))


def base_prefill_speed(model: AtMoe, plain: PreTrainedModel, question: str) -> float:
    """The same of the base model by transformers: the same tokens, padded alike.

    The last one's logits are computed as here, from a state of two dimensions: given three, as
    transformers gives it, the head alone was seen to take as long as the layers.
    """
    began = now()
    batch = model.collate([model.encode(question)])
    with torch.inference_mode():
        hidden = plain.base_model(
            input_ids=batch.ids,
            attention_mask=batch.attention,
            position_ids=batch.positions,
            use_cache=True,
        )[0]
        plain.get_output_embeddings()(hidden[:, -1])
    return 1 / (now() - began)


def rows(
    model: AtMoe, questions: Sequence[str], tokens: int, repeats: int
) -> dict[str, list[float]]:
    """All rows' tokens a second together, each under its own plan, against one row's."""
    tasks = {n: partial(routed_speed, model, questions[:n], tokens) for n in (1, *ROWS)}
    speeds = in_turns(tasks, repeats)
    return {f"rows {n} to 1": over(speeds, n, 1) for n in ROWS}


def gain(model: AtMoe, questions: Sequence[str], steps: int = 64) -> dict[str, float]:
    """Tokens a second of these questions, each answered in its own row, beside the first alone.

    Steps of both take turns, so that whatever else the machine does slows both; it ends early where
    an answer does.

    Returns:
        {"rows", "steps", "alone" and "together": medians, "ratio": median of the steps' own
        ratios}; "together" is of all rows.
    """
    with (
        closing(Batching(model, 1)) as one,
        closing(Batching(model, max(len(questions), MOST_ROWS))) as all_rows,
    ):
        one.add(questions[0], None, Sampling(steps + 2))
        for question in questions:
            all_rows.add(question, None, Sampling(steps + 2))
        pairs: list[tuple[float, float]] = []
        while one.rows and len(all_rows.rows) == len(questions):
            pairs.append((timed(one.step), timed(all_rows.step)))
    pairs = pairs[1:]  # what is done once is in the first

    def middle(values: Sequence[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "rows": len(questions),
        "steps": len(pairs),
        "alone": middle([1 / a for a, _ in pairs]),
        "together": middle([len(questions) / b for _, b in pairs]),
        "ratio": middle([len(questions) * a / b for a, b in pairs]),
    }


def prefills(
    model: AtMoe, plain: PreTrainedModel, question: str, repeats: int
) -> dict[str, list[float]]:
    """Reading a prompt with routing, and one steered late.

    The one is against the base model's, the other, steered in the last third of the layers, against
    the whole prefill.
    """
    prompt, kept = model.encode(question), Kept()
    with closing(Batching(model)) as batch:
        override = Override(model.layout.group_names[0], State.OFF, scope="late")
        late = Steering((override,)).apply(batch.route(question, kept))

        def speed(plan: RoutingPlan | None = None, begun: Kept | None = None) -> float:
            return 1 / timed(lambda: batch.prefill(prompt, plan, begun))

        speeds = in_turns(
            {
                "routed": speed,
                "base": lambda: base_prefill_speed(model, plain, question),
                "whole": lambda: speed(late),
                "late": lambda: speed(late, kept),
            },
            3 * repeats,
        )
    return {
        "prefill routed to base": over(speeds, "routed", "base"),
        "first token steered late to whole prefill": over(speeds, "late", "whole"),
    }


def sizes(
    model: AtMoe, base: str | None, question: str, tokens: int, repeats: int
) -> dict[str, list[float]]:
    """Decoding and prefill with more experts, and with larger ranks.

    They are against the fewest and the smallest: random experts in all linears, in four groups, on
    the same base.
    """
    kinds = {
        **{f"experts {n}": (n, RANK) for n in EXPERTS},
        **{f"rank {r}": (EXPERTS[0], r) for r in RANKS[1:]},
    }
    models = {name: _made_up(model, base, *size) for name, size in kinds.items()}
    tasks: dict[tuple[str, str], Callable[[], float]] = {}
    for name, made_up in models.items():
        tasks["decode", name] = partial(routed_speed, made_up, [question], tokens)
    for name, made_up in models.items():
        tasks["prefill", name] = partial(prefill_speed, made_up, question)
    speeds = in_turns(tasks, repeats)
    smallest = f"experts {EXPERTS[0]}"
    ratios = {}
    for what, name in tasks:
        if name != smallest:
            least = EXPERTS[0] if "experts" in name else RANK
            ratios[f"{what} {name} to {least}"] = over(speeds, (what, name), (what, smallest))
    return ratios


def precisions(
    model: AtMoe,
    path: Path,
    base: str | None,
    question: str,
    generate: Callable[[], float],
    tokens: int,
    repeats: int,
) -> dict[str, list[float]]:
    """Decoding in fewer bits against the model itself, and transformers' generate of the base.

    Args:
        model: in the precision that these are compared with.
        path: where it is saved.
        base: as for `AtMoe.from_pretrained`.
        question: what is asked.
        generate: → tokens a second of the base in the model's precision, through transformers.
        tokens: to decode.
        repeats: of each.
    """
    fewer = [name for name in usable() if name.startswith("int")]
    small = {name: AtMoe.from_pretrained(path, base, name, device="cpu") for name in fewer}
    speeds = in_turns(
        {
            "generate": generate,
            "model": lambda: routed_speed(model, [question], tokens),
            **{name: partial(routed_speed, of, [question], tokens) for name, of in small.items()},
        },
        repeats,
    )
    return {
        f"{name} to {called}": over(speeds, name, beside)
        for name in fewer
        for beside, called in (("generate", "generate"), ("model", "the model"))
    }


def _made_up(model: AtMoe, base: str | None, experts: int, rank: int) -> AtMoe:
    """A model of random experts in four groups, on the base of `model`."""
    plain = base_alone(model, base)
    names = [f"expert{e}" for e in range(experts // 4)]
    layout = Layout.of(model.layout.layers, {f"group{g}": names for g in range(4)})
    generator = torch.Generator().manual_seed(0)
    adapters = [
        Adapter.random(plain, layer_linears(plain), rank, rank, generator)
        for _ in layout.expert_names
    ]
    router = GroupedRouter(layout, plain.config.get_text_config().hidden_size).requires_grad_(False)
    made_up = AtMoe(*build(plain, model.tokenizer, adapters, router, Info("made up")))
    gc.collect()
    return made_up
