"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_memory() -> None:
    """Let the system have what was freed, where the C library can be asked to (glibc).

    Weights that are moved leave holes of their size, which it would keep for the thread that made
    them.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
