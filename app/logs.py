"""What the page's process writes to its log: short, and nobody's question.

An error is told by its kind and the places it came through. Its message is left out: a library's
may quote what was sent.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

PLACES, CAUSES, LETTERS = 8, 3, 400
"""Of an error: the innermost places, and its nearest causes; of any other line: its letters."""
log = logging.getLogger(__name__)


def told(error: BaseException | None) -> str:
    """An error in one line: "KeyError at app/desk.py:12 < app/ask/desk.py:80", and its causes."""
    parts: list[str] = []
    while error is not None and len(parts) < CAUSES:
        parts.append(f"{type(error).__name__} at {_places(error.__traceback__)}")
        error = error.__cause__ or error.__context__
    return ", after ".join(parts)


def _places(back: TracebackType | None) -> str:
    """Where an error came through, the innermost first."""
    frames = [
        f"{'/'.join(frame.f_code.co_filename.rsplit('/', 2)[-2:])}:{line}"
        for frame, line in traceback.walk_tb(back)
    ]
    return " < ".join(reversed(frames[-PLACES:])) or "no place of its own"


class Line(logging.LogRecord):
    """A line of a log: the first of its message, and an error as `told` has it."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[1]:
            self.exc_text = told(self.exc_info[1])

    def getMessage(self) -> str:
        """Its first line, of so many letters at most."""
        # asyncio, for one, writes below what an error holds
        return super().getMessage().partition("\n")[0][:LETTERS]


def bound() -> None:
    """Have this process write so, from now on: every logger, and whoever prints an error."""
    logging.setLogRecordFactory(Line)

    def printed(*args: Any, **named: Any) -> None:
        log.error("in a request", exc_info=sys.exc_info())

    # Gradio prints what an event raised.
    traceback.print_exc = printed
