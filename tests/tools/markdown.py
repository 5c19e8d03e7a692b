"""Text → Markdown, as the documents of the repository have it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

COLUMNS = 118
"""Of what is made; a table's rows may be longer."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """A table.

    Args:
        numbers: so many columns, from the right, are aligned to the right.
    """
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    return "\n".join(line.replace("|  |", "| |") for line in lines)


def two_columns(rows: Sequence[tuple[str, str]]) -> str:
    """Names and a sentence each, broken so that the names stand alone in their column."""
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(
        textwrap.fill(
            line,
            COLUMNS,
            initial_indent=f"{name:<{width}}",
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, line in rows
    )


def wrapped(paragraph: str) -> str:
    """A paragraph, broken into lines."""
    return textwrap.fill(paragraph, COLUMNS, break_long_words=False, break_on_hyphens=False)


def fenced(text: str) -> str:
    """Text that is shown as it is."""
    return f"```text\n{text}\n```"
