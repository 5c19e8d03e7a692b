"""What the page is shipped with beside its code: scripts, styles, texts."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "assets" / "app"


def text_of(name: str) -> str:
    """A file's text."""
    return (FOLDER / name).read_text("utf-8")
