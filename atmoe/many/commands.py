"""What a command makes of rows: by which steps, and how many of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from atmoe.answer.sampling import Sampling
from atmoe.many.judging import judging_steps
from atmoe.many.rows import Row
from atmoe.many.run import (
    ANSWERED,
    ROUTED,
    WINDOW,
    Done,
    answering_steps,
    batches,
    explaining_steps,
    routing_steps,
    scoring,
)
from atmoe.model import AtMoe
from atmoe.steering.overrides import Steering


def steps_of(
    command: str,
    model: AtMoe,
    rows: Iterable[Row],
    steering: Steering,
    sampling: Sampling = Sampling(),
    size: int | None = None,
) -> Iterator[Done[Any] | None]:
    """What a command makes of rows, with pauses.

    Args:
        command: route, answer, explain, score or faithfulness.
        model: is asked.
        rows: in the order in which they come out.
        steering: of rows that bring none of their own.
        sampling: of answers.
        size: of a batch; None = what suits the command.
    """
    if command == "score":
        return scoring(model, rows, steering)
    if command == "route":
        return routing_steps(model, rows, steering, size or ROUTED)
    work = {
        "answer": answering_steps,
        "explain": explaining_steps,
        "faithfulness": judging_steps,
    }[command]
    return work(model, rows, steering, sampling, size or ANSWERED)


def window_of(command: str, size: int | None = None) -> int:
    """How many rows `steps_of` works on together: what comes of them depends on no others.

    Args:
        command: one that `steps_of` knows.
        size: of a batch; None = what suits the command.
    """
    return WINDOW * (size or (ROUTED if command == "route" else ANSWERED))


def windows(command: str, rows: Iterable[Row], size: int | None = None) -> Iterator[list[Row]]:
    """The rows, so many at a time; the arguments are those of `window_of`."""
    return batches(rows, window_of(command, size))
