"""One training loop for experts, router and baselines.

It is seeded, logged and resumable, on one process or several.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe import files
from atmoe.errors import TrainingError
from atmoe.mixture.base_cache import reason
from atmoe.train.rows import Row
from atmoe.train.team import Team

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


Loss = Callable[[list[Row], list[Row]], tuple[Tensor, dict[str, float]]]
"""This process's rows (there may be none) and the whole batch → its addend of the batch's loss, and
what to log."""


class State(TypedDict):
    """How far a run has come: steps taken, answer tokens seen, seconds, the last validation."""

    step: int
    tokens: int
    seconds: float
    validation: dict[str, float]


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
    every: int = 100,
    save_every: int = 25,
    warmup: float = 0.03,
    floor: float = 0.1,
    clip: float = 1.0,
) -> dict[str, float]:
    """Train until `budget` answer tokens were seen.

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
        every: steps from one validation to the next.
        save_every: steps from one checkpoint to the next.
        warmup: a share of the budget.
        floor: a share of the peak learning rate.
        clip: the largest norm of all gradients together.

    Returns:
        {"seconds", "steps", "answer_tokens"} and the last validation.

    Raises:
        TrainingError: `out` holds a checkpoint of a run with other settings or one that cannot be
            read, or the loss is not a number.
        OSError: checkpoint or log cannot be written.
    """
    # 1. begin, or go on from a checkpoint
    out.mkdir(parents=True, exist_ok=True)
    flat = [p for group in parameters for p in group["params"]]
    optimizer = torch.optim.AdamW(
        [dict(g) for g in parameters], betas=(0.9, 0.99), weight_decay=0.0
    )
    rates = [g["lr"] for g in parameters]
    checkpoint = _Checkpoint(out / CHECKPOINT, settings, flat, optimizer, team)
    state = checkpoint.resume()
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

        write(
            {
                "settings": {k: str(v) for k, v in settings.items()},
                "processes": team.size,
                "resumed_at": state["step"],
            }
        )
        began = time.perf_counter() - state["seconds"]
        for step, rows in enumerate(batches):
            if step < state["step"]:
                # The same seed gives the same batches: those were seen before the interruption.
                continue
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
            if (step + 1) % every == 0:
                validated(step)
            if (step + 1) % save_every == 0:
                checkpoint.save(state)
        # 6. the end
        validated(state["step"])
        state["seconds"] = time.perf_counter() - began
        checkpoint.save(state)
    bar.close()
    state = team.agree(state)
    return {
        "seconds": round(state["seconds"], 1),
        "steps": state["step"],
        "answer_tokens": state["tokens"],
        **state["validation"],
    }


class _Checkpoint:
    """The file from which an interrupted run goes on: parameters, optimizer, how far it came."""

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        parameters: Sequence[Tensor],
        optimizer: torch.optim.Optimizer,
        team: Team,
    ):
        self._path = path
        text = json.dumps(settings, sort_keys=True, default=str)
        self._mark = hashlib.sha256(text.encode()).hexdigest()
        self._parameters, self._optimizer, self._team = parameters, optimizer, team

    def resume(self) -> State:
        """Take up what the file holds; the state of a new run where there is none.

        Raises:
            TrainingError: it is of a run with other settings, or cannot be read.
        """
        cure = f"delete {self._path}, or name an empty --out"
        saved = read_tensors(self._path, self._team, cure)
        if saved is None:
            return {"step": 0, "tokens": 0, "seconds": 0.0, "validation": {}}
        if saved.get("mark") != self._mark:
            raise TrainingError(
                f"{self._path.parent} holds a checkpoint of a run with other settings; name an "
                f"empty --out, or delete {self._path}."
            )
        try:
            return self._take(saved)
        except Exception as error:  # torch raises nearly every type on a state that does not fit
            raise TrainingError(
                f"{self._path} is no checkpoint of this run ({reason(error)}); {cure}."
            ) from error

    def _take(self, saved: Mapping[str, Any]) -> State:
        """Take up a checkpoint whose mark is right.

        Raises:
            Exception: of any type, where something in it is not what was saved.
        """
        # 1. does it fit? a tensor of another shape would be stretched, or fail only at the step
        state: State = saved["state"]
        step, tokens, seconds = state["step"], state["tokens"], state["seconds"]
        if not (isinstance(step, int) and isinstance(tokens, int) and step >= 0 and tokens >= 0):
            raise ValueError("it does not say how far the run has come")
        if not (isinstance(seconds, float) and isinstance(state["validation"], dict)):
            raise ValueError("it does not say how long the run has taken")
        for p, value in zip(self._parameters, saved["parameters"], strict=True):
            if p.shape != value.shape:
                raise ValueError("its weights are of another shape")
        # 2. take it
        self._optimizer.load_state_dict(saved["optimizer"])
        for p in self._parameters:
            moments = self._optimizer.state[p].values() if p in self._optimizer.state else ()
            if any(m.ndim and m.shape != p.shape for m in moments):
                raise ValueError("its optimizer is of another shape")
        for p, value in zip(self._parameters, saved["parameters"]):
            p.data.copy_(value)
        return state

    def save(self, state: State) -> None:
        """Write it in one stroke, so that an interruption leaves the one before.

        Raises:
            OSError: it cannot be written; the one before is left.
        """
        if not self._team.leads:
            return
        content = {
            "mark": self._mark,
            "parameters": [p.data for p in self._parameters],
            "optimizer": self._optimizer.state_dict(),
            "state": state,
        }
        write_tensors(self._path, content)


def read_tensors(path: Path, team: Team, cure: str) -> dict[str, Any] | None:
    """What `write_tensors` wrote, read by the leading process for all.

    Args:
        path: the file.
        team: the processes; every one of them gets the content, or the error.
        cure: what to do about a file that cannot be read.

    Returns:
        None where there is no such file.

    Raises:
        TrainingError: it is truncated, garbled, or something else.
    """
    content: Any = None
    if team.leads and path.is_file():
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(content, dict):
                content = "it holds something else"
        except Exception as error:  # torch raises nearly every type on a damaged file
            content = reason(error)
    content = team.agree(content)
    if isinstance(content, str):
        raise TrainingError(f"{path} cannot be read ({content}); {cure}.")
    return content


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that `read_tensors` reads, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()  # torch itself says of a full disk that a position is unexpected
    torch.save(content, buffer)
    files.replace(path, buffer.getvalue())


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
