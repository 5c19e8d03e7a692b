"""Checkpoints: the file from which an interrupted training goes on, to the same weights."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from atmoe import files
from atmoe.errors import TrainingError
from atmoe.mixture.base_cache import reason
from atmoe.train.stopping import Watch
from atmoe.train.team import Team


class State(TypedDict):
    """How far a run has come: steps taken, answer tokens seen, seconds, the last validation."""

    step: int
    tokens: int
    seconds: float
    validation: dict[str, float]


class Checkpoint:
    """The file from which an interrupted run goes on: parameters, optimizer, how far it came."""

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        parameters: Sequence[Tensor],
        optimizer: torch.optim.Optimizer,
        team: Team,
        watch: Watch | None = None,
    ):
        self._path = path
        text = json.dumps(settings, sort_keys=True, default=str)
        self._mark = hashlib.sha256(text.encode()).hexdigest()
        self._parameters, self._optimizer, self._team = parameters, optimizer, team
        self._watch = watch

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
        if self._watch:
            self._watch.resume(saved["watch"])
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
        if self._watch:
            content["watch"] = self._watch.content()
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
