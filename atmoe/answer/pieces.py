"""Reading in pieces: a long prompt takes as long as many steps, and others need not wait for all.

    layers ── as many as `PIECE_SECONDS` hold ──► yield, whoever else may compute ──► further layers

The router reads all of a prompt at each layer, so that a prompt is cut between layers, not between
tokens. The same products are computed in the same order: no bit depends on where it was cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from torch import Tensor

from atmoe.answer.engine import Attend, Engine, Products, Turns

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
Pieces = Generator[None, None, T]
"""Yields between two pieces; returns what they give together."""

PIECE_SECONDS = 0.1
"""As long as a step or two of eight rows. A short question is read in one piece or two."""


def through(
    engine: Engine,
    x: Tensor,
    products: Products,
    turns: Turns,
    attend: Attend,
    first: int = 0,
    enter: Callable[[int, Tensor], None] = lambda index, x: None,
    last: int | None = None,
) -> Pieces[Tensor]:
    """`Engine.through` in pieces; the arguments are its own."""
    began = time.perf_counter()
    for index in range(len(engine.layers))[first:last]:
        if index > first and time.perf_counter() - began >= PIECE_SECONDS:
            yield
            began = time.perf_counter()
        x = engine.through(x, products, turns, attend, index, enter, index + 1)
    return x


def whole(steps: Generator[Any, None, T]) -> T:
    """What a generator returns, once all of it is run."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def telling(steps: Generator[R, None, T], tell: Callable[[R], S]) -> Generator[S, None, T]:
    """The same steps, each told in another way.

    Yields:
        What each step yields, as `tell` has it.

    Returns:
        What `steps` returns.
    """
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield tell(step)
