"""In what precision to compute: named by a person, or chosen by the machine.

    float32     everywhere, and what the others are measured against
    bfloat16    half the memory, and about twice the speed, where the processor multiplies it
                itself; elsewhere slower than float32
    int8        the base's linears and head in int8, all else in bfloat16 where that is quick;
                never chosen, always asked for

Chosen by asking the processor what it has, not by a race: a race between two timings on a machine
that others use too would choose one precision today and another tomorrow, and a record would not be
answered again as it was.
"""

from __future__ import annotations

import os
from pathlib import Path

from atmoe.errors import AtMoeError

NAMES = ("float32", "bfloat16", "int8")
CHOICES = ("auto", *NAMES)
VARIABLE = "ATMOE_DTYPE"
FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls bfloat16 products in a processor's list of features: x86's two, and ARM's."""
CPUINFO = Path("/proc/cpuinfo")


def best() -> str:
    """The quicker of "bfloat16" and "float32" on the processor, where every model is loaded.

    Returns:
        "bfloat16" where the processor multiplies it in hardware, else "float32".
    """
    return "bfloat16" if FLAGS & _features() else "float32"


def chosen(name: str | None = None) -> str:
    """The precision that a name stands for.

    Args:
        name: one of `CHOICES`; None = what $ATMOE_DTYPE names, and where that names none, "auto".

    Returns:
        One of `NAMES`; for "auto" what `best` says.

    Raises:
        AtMoeError: no precision has that name.
    """
    name = name or os.environ.get(VARIABLE) or "auto"
    if name not in CHOICES:
        raise AtMoeError(
            f"There is no precision {name!r}; choose one of {', '.join(CHOICES)} (--dtype, or "
            f"${VARIABLE})."
        )
    return best() if name == "auto" else name


def computed_in(name: str) -> str:
    """What activations and experts are in.

    Args:
        name: a precision of `NAMES`.

    Returns:
        "float32" or "bfloat16".
    """
    return best() if name == "int8" else name


def _features() -> set[str]:
    """What the processor says that it has; nothing where no one says it (not Linux)."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()
