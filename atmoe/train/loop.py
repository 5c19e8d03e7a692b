"""One training loop for experts, router and baselines: seeded, logged, resumable, on one process or several."""

from __future__ import annotations

import hashlib
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

from atmoe.errors import TrainingError
from atmoe.train.rows import Row
from atmoe.train.team import Team

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


def run(
    *,
    parameters: Sequence[Mapping[str, Any]],
    batches: Iterator[list[Row]],
    budget: int,
    loss: Callable[[list[Row], list[Row]], tuple[Tensor, dict[str, float]]],
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

    parameters: AdamW parameter groups, each with "params" and "lr".
    loss: this process's rows (there may be none) and the whole batch → its addend of the batch's loss, and what to log.
    settings: what must be equal for a checkpoint in `out` to be continued.
    validate: called in the leading process alone.
    The learning rate rises over `warmup` of the budget, then falls on a cosine to `floor` of itself.
    → {"seconds", "steps", "answer_tokens", ...last validation}

    Raises:
        TrainingError: `out` holds a checkpoint of a run with other settings, or the loss is not a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    flat = [p for group in parameters for p in group["params"]]
    optimizer = torch.optim.AdamW(
        [dict(g) for g in parameters], betas=(0.9, 0.99), weight_decay=0.0
    )
    rates = [g["lr"] for g in parameters]
    state = {"step": 0, "tokens": 0, "seconds": 0.0, "validation": {}}
    mark = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    saved = (
        torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
        if team.leads and (out / CHECKPOINT).is_file()
        else None
    )
    saved = team.agree(saved)
    if saved is not None:
        if saved["mark"] != mark:
            raise TrainingError(
                f"{out} holds a checkpoint of a run with other settings; name an empty --out, or "
                f"delete {out / CHECKPOINT}."
            )
        for p, value in zip(flat, saved["parameters"]):
            p.data.copy_(value)
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]

    def save() -> None:
        if not team.leads:
            return
        temporary = out / (CHECKPOINT + ".tmp")
        torch.save(
            {
                "mark": mark,
                "parameters": [p.data for p in flat],
                "optimizer": optimizer.state_dict(),
                "state": state,
            },
            temporary,
        )
        os.replace(temporary, out / CHECKPOINT)

    bar = tqdm(
        total=budget,
        initial=state["tokens"],
        unit="tok",
        file=sys.stderr,
        mininterval=5,
        disable=not team.leads,
    )
    with (out / LOG if team.leads else Path(os.devnull)).open("a") as log:
        write = lambda entry: (log.write(json.dumps(entry) + "\n"), log.flush())
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
                continue  # the same seed gives the same batches: those were seen before the interruption
            progress = min(state["tokens"] / budget, 1.0)
            factor = (
                min(progress / warmup, 1.0)
                if progress < warmup
                else floor
                + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
            )
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * max(factor, 0.05)
            value, facts = loss(team.share(rows), rows)
            number = float(team.total(value.detach()))
            if not math.isfinite(number):
                raise TrainingError(
                    f"The loss is {number} at step {step}; lower --learning-rate and start again."
                )
            optimizer.zero_grad(set_to_none=True)
            if value.requires_grad:
                value.backward()
            team.sum_gradients(flat)
            norm = torch.nn.utils.clip_grad_norm_(flat, clip)
            optimizer.step()
            taken = sum(len(r.answer) for r in rows)
            state |= {
                "step": step + 1,
                "tokens": state["tokens"] + taken,
                "seconds": time.perf_counter() - began,
            }
            bar.update(taken)
            bar.set_postfix(loss=f"{number:.3f}", refresh=False)
            write(
                {
                    "step": step,
                    "tokens": state["tokens"],
                    "loss": round(number, 4),
                    "norm": round(float(norm), 3),
                    "seconds": round(state["seconds"], 1),
                    **{k: round(v, 4) for k, v in facts.items()},
                }
            )
            if validate and team.leads and (step + 1) % every == 0:
                state["validation"] = validate()
                write(
                    {
                        "step": step,
                        "validation": {k: round(v, 4) for k, v in state["validation"].items()},
                    }
                )
            if (step + 1) % save_every == 0:
                save()
        if validate and team.leads:
            state["validation"] = validate()
            write(
                {
                    "step": state["step"],
                    "validation": {k: round(v, 4) for k, v in state["validation"].items()},
                }
            )
        state["seconds"] = time.perf_counter() - began
        save()
    bar.close()
    state = team.agree(state)
    return {
        "seconds": round(state["seconds"], 1),
        "steps": state["step"],
        "answer_tokens": state["tokens"],
        **state["validation"],
    }


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python and torch; returns a generator for what is drawn apart."""
    random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
