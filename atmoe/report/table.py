"""Tables of the report, and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from atmoe.wording import minus


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 99
) -> str:
    """A table of texts.

    Args:
        caption: above it.
        heads: of its columns; none = no row of heads.
        rows: the first text of each names it.
        numbers: from this column on they are numbers.
    """
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in heads)
    lines = []
    for first, *others in rows:
        cells = "".join(
            f"<td{' class=n' if column >= numbers else ''}>{escape(text)}</td>"
            for column, text in enumerate(others, 1)
        )
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return (
        f"<table><caption>{escape(caption)}</caption>{top}<tbody>{''.join(lines)}</tbody></table>"
    )


def nats(number: float, sign: bool = False) -> str:
    """A number of nats, its plus sign on demand."""
    return minus(f"{number:+.3f}" if sign else f"{number:.3f}")
