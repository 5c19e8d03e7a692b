"""Uploaded files: read at once, and deleted soon after.

Gradio stores a file under a name made of its content, so two people who open the same file have one
path between them. Who reads it first must not delete it under the other's hands: it goes once it
has lain there for a while, counted from the last time that anybody sent it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from atmoe import AtMoeError

KEPT_SECONDS = 30.0
"""Between a person's sending a file and our reading it lie moments."""


def read(path: Path) -> str:
    """The text of an uploaded file, which is deleted soon.

    Raises:
        AtMoeError: it is not there any more.
        UnicodeDecodeError: it is no text.
    """
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise AtMoeError("The file was gone before it was read; choose it once more.") from error
    finally:
        delete_later(path, KEPT_SECONDS)


def delete_later(path: Path, seconds: float) -> None:
    """Delete a file after so long, or later where somebody has sent it again meanwhile."""
    timer = threading.Timer(seconds, _delete, [path])
    timer.daemon = True
    timer.start()


def _delete(path: Path) -> None:
    try:
        left = path.stat().st_mtime + KEPT_SECONDS - time.time()
    except FileNotFoundError:
        return
    if left > 0:
        delete_later(path, left + 0.1)
    else:
        path.unlink(missing_ok=True)  # a question is in it
