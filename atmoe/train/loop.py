"""One training loop for experts, router and baselines.

It is seeded, logged and resumable, on one process or several.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe import files
from atmoe.errors import TrainingError
from atmoe.mixture.replacing import replacing
from atmoe.model import AtMoe
from atmoe.train import finite
from atmoe.train.budget import Pace
from atmoe.train.checkpoint import Checkpoint
from atmoe.train.rows import Row
from atmoe.train.stopping import Stopping, Watch
from atmoe.train.team import Team

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


Loss = Callable[[list[Row], list[Row]], tuple[Tensor, dict[str, float]]]
"""This process's rows (there may be none) and the whole batch → its addend of the batch's loss, and
what to log."""


def run(
    *,
    parameters: Sequence[Mapping[str, Any]],
    batches: Iterator[list[Row]],
    budget: int,
    loss: Loss,
    out: Path,
    settings: Mapping[str, Any],
    team: Team,
    validate: Callable[[], dict[str, float]] | None = None,
    stopping: Stopping | None = None,
    every: int = 100,
    save_every: int = 25,
    warmup: float = 0.03,
    floor: float = 0.1,
    clip: float = 1.0,
) -> dict[str, Any]:
    """Train until `budget` answer tokens were seen, or `stopping` says that it is enough.

    The learning rate rises over `warmup` of the budget, then falls on a cosine to `floor` of
    itself.

    Args:
        parameters: AdamW parameter groups, each with "params" and "lr".
        batches: the same in every process; they end when the budget is spent.
        budget: in answer tokens.
        loss: this process's rows (there may be none) and the whole batch → its addend of the
            batch's loss, and what to log.
        out: a directory, for the checkpoint and the log.
        settings: what must be equal for a checkpoint in `out` to be continued.
        team: the processes.
        validate: called in the leading process alone.
        stopping: when to stop before the budget is spent, by what `validate` measures; then the
            parameters end as those of the lowest loss, and not as the last ones.
        every: steps from one validation to the next, where nothing stops before.
        save_every: steps from one checkpoint to the next.
        warmup: a share of the budget.
        floor: a share of the peak learning rate.
        clip: the largest norm of all gradients together.

    Returns:
        {"seconds", "steps", "answer_tokens"} and the last validation; with `stopping` what
        `Watch.report` has in its place.

    Raises:
        TrainingError: `out` holds a checkpoint of a run with other settings or one that cannot be
            read, or a loss is not a number.
        OSError: checkpoint or log cannot be written.
    """
    # 1. begin, or go on from a checkpoint
    out.mkdir(parents=True, exist_ok=True)
    flat = [p for group in parameters for p in group["params"]]
    optimizer = torch.optim.AdamW(
        [dict(g) for g in parameters], betas=(0.9, 0.99), weight_decay=0.0
    )
    rates = [g["lr"] for g in parameters]
    watch = Watch(stopping, flat) if stopping else None
    checkpoint = Checkpoint(out / CHECKPOINT, settings, flat, optimizer, team, watch)
    state = checkpoint.resume()
    pace = Pace(budget, stopping.every if stopping else 0)
    bar = tqdm(
        total=budget,
        initial=state["tokens"],
        unit="tok",
        file=sys.stderr,
        mininterval=5,
        disable=not team.leads,
    )
    with (out / LOG if team.leads else Path(os.devnull)).open("a") as log:

        def write(entry: Mapping[str, Any]) -> None:
            with files.writing(out / LOG):
                log.write(json.dumps(entry) + "\n")
                log.flush()

        def validated(step: int) -> None:
            """Measures, where this process is the one that does."""
            if validate and team.leads:
                state["validation"] = validate()
                write({"step": step, "validation": _rounded(state["validation"])})

        def watched(watch: Watch) -> None:
            """Measures what decides when to stop: all processes decide by the same numbers."""
            started = time.perf_counter()
            validated(state["step"])
            state["validation"] = team.agree(state["validation"])
            pace.measuring = time.perf_counter() - started
            finite.losses(state["validation"], state["step"])
            watch.take(state["validation"], state["step"], state["tokens"])

        write(
            {
                "settings": {k: str(v) for k, v in settings.items()},
                "processes": team.size,
                "resumed_at": state["step"],
            }
        )
        began = time.perf_counter() - state["seconds"]
        if watch and watch.due(0):
            watched(watch)  # before the first step
        if not state["step"] and (first := next(batches, None)):
            took = _tried(loss, team.share(first), first)
            if team.leads:
                tell(pace.before(sum(len(r.answer) for r in first), took))
            batches = itertools.chain([first], batches)
        for step, rows in enumerate(batches):
            if step < state["step"]:
                # The same seed gives the same batches: those were seen before the interruption.
                if watch and watch.over and step + 1 == state["step"]:
                    break
                continue
            started = time.perf_counter()
            # 2. the learning rate of this step
            factor = _rate(min(state["tokens"] / budget, 1.0), warmup, floor)
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * max(factor, 0.05)
            # 3. the loss, of this process's rows and of all
            value, facts = loss(team.share(rows), rows)
            number = float(team.total(value.detach()))
            if not math.isfinite(number):
                raise TrainingError(
                    f"The loss is {number} at step {step}; lower --learning-rate and start again."
                )
            # 4. the step
            optimizer.zero_grad(set_to_none=True)
            if value.requires_grad:
                value.backward()
            team.sum_gradients(flat)
            norm = torch.nn.utils.clip_grad_norm_(flat, clip)
            optimizer.step()
            # 5. what is told of it and saved
            tokens = sum(len(r.answer) for r in rows)
            state["step"] = step + 1
            state["tokens"] += tokens
            state["seconds"] = time.perf_counter() - began
            bar.update(tokens)
            bar.set_postfix(loss=f"{number:.3f}", refresh=False)
            if (said := pace.step(tokens, time.perf_counter() - started)) and team.leads:
                tell(said)
            write(
                {
                    "step": step,
                    "tokens": state["tokens"],
                    "loss": round(number, 4),
                    "norm": round(float(norm), 3),
                    "seconds": round(state["seconds"], 1),
                    **_rounded(facts),
                }
            )
            due = watch is not None and watch.due(state["tokens"])
            if watch and due:
                watched(watch)
            elif watch is None and (step + 1) % every == 0:
                validated(state["step"])
            if due or (step + 1) % save_every == 0:
                checkpoint.save(state)
            if watch and watch.over:
                break
        # 6. the end
        if watch is None:
            if state["step"] % every or not state["validation"]:  # else it was just measured
                validated(state["step"])
        elif not watch.measured(state["tokens"]):
            watched(watch)
        state["seconds"] = time.perf_counter() - began
        checkpoint.save(state)
    bar.close()
    state = team.agree(state)
    finite.losses(state["validation"], state["step"])
    if watch:
        watch.restore()
    return {
        "seconds": round(state["seconds"], 1),
        "steps": state["step"],
        "answer_tokens": state["tokens"],
        **(watch.report() if watch else state["validation"]),
    }


def _tried(loss: Loss, rows: list[Row], whole: list[Row]) -> float:
    """Seconds that a step takes, tried without taking it: no number is other for it afterwards."""
    drawn = random.getstate()
    with torch.random.fork_rng():
        started = time.perf_counter()
        value, _ = loss(rows, whole)
        if value.requires_grad:
            value.backward()  # the first step begins by forgetting it
        took = time.perf_counter() - started
    random.setstate(drawn)
    return took


def tell(sentence: str) -> None:
    """Tell a person something while training goes on, above the bar of its progress."""
    tqdm.write(sentence, file=sys.stderr)


def conclude(
    model: AtMoe,
    out: Path,
    report: Mapping[str, Any],
    team: Team,
    write: Callable[[Path], None],
) -> None:
    """Write what a stage trained and what it says of itself; all processes wait for that.

    Args:
        model: what was trained.
        out: the directory of the saved model.
        report: with its "stage", which names the log.
        team: the processes; the one that leads writes.
        write: puts what was trained into a directory, whose files replace those of `out`.

    Raises:
        TrainingError: a weight is not a number; the model in `out` is the one before.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    factors = (p for linear in model.bank.linears.values() for p in (linear.A, linear.B))
    finite.weights((*factors, *model.router.state_dict().values()), out)
    if team.leads:
        with replacing(out, model.layout, model.info) as room:
            write(room)
        write_report(out / f"{report['stage']}.log.json", report)
    team.wait()


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write what a training says of itself.

    Raises:
        OSError: it cannot be written.
    """
    files.replace(path, (json.dumps(report, indent=1) + "\n").encode())


def _rate(progress: float, warmup: float, floor: float) -> float:
    """What the peak learning rate is multiplied by, after this share of the budget."""
    if progress < warmup:
        return min(progress / warmup, 1.0)
    cosine = math.cos(math.pi * (progress - warmup) / (1 - warmup))
    return floor + (1 - floor) * 0.5 * (1 + cosine)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python and torch; returns a generator for what is drawn apart."""
    random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
