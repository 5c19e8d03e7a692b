"""Memory: what a process has had at most, and what was freed given back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path


def give_back_memory() -> None:
    """Let the system have what was freed, where the C library can be asked to (glibc).

    Weights that are moved leave holes of their size, which it would keep for the thread that made
    them.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def most_memory(process: int | str = "self") -> int | None:
    """The most that a process has had, in bytes.

    Args:
        process: its number.

    Returns:
        None where the system does not tell (not Linux).
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
