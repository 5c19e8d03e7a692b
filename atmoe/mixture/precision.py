"""Where and in what precision to compute: named by a person, or chosen by the machine.

    cpu         everywhere, and what this project is measured on
    cuda        chosen where there is one; cuda:1 is the second of several
    mps         Apple's; never chosen, for nobody has tried it

    float32     everywhere, and what the others are measured against
    bfloat16    half the memory, and about twice the speed, where the processor multiplies it
                itself; elsewhere slower than float32
    int8        the base's linears and head in int8, all else in the quicker of these two; on a CPU
                alone; never chosen, always asked for
    int4        the quicker of those two, but for the base's linears while tokens are decoded: where
                its file has them in 4-bit groups they are read so, and where it has none this is
                the quicker of the two; chosen on a CPU that has a kernel for such groups

Chosen by asking the processor what it has, not by a race: a race between two timings on a machine
that others use too would choose one precision today and another tomorrow, and a record would not be
answered again as it was.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from atmoe.errors import AtMoeError

NAMES = ("float32", "bfloat16", "int8", "int4")
CHOICES = ("auto", *NAMES)
VARIABLE = "ATMOE_DTYPE"
DEVICES = ("auto", "cpu", "cuda", "mps")
DEVICE_VARIABLE = "ATMOE_DEVICE"
FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls bfloat16 products in a processor's list of features: x86's two, and ARM's."""
GROUPED = FLAGS | {"avx2"}
"""The same of what PyTorch's kernel for 4-bit groups is written for; elsewhere it is slow."""
CPUINFO = Path("/proc/cpuinfo")


def placed(name: str | None = None, otherwise: str = "auto") -> str:
    """The device that a name stands for.

    Args:
        name: one of `DEVICES`, or one of several such as "cuda:1"; None = what $ATMOE_DEVICE names,
            and where that names none, `otherwise`.
        otherwise: the same.

    Returns:
        A name that torch takes; for "auto" "cuda" where there is one, else "cpu".

    Raises:
        AtMoeError: no device has that name, or this machine has none such.
    """
    import torch

    name = name or os.environ.get(DEVICE_VARIABLE) or otherwise
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise AtMoeError(
            f"There is no device {name!r}; choose one of {', '.join(DEVICES)} (--device, or "
            f"${DEVICE_VARIABLE})."
        )
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(number or 0) >= there:
        raise AtMoeError(
            f"This machine has {there or 'no'} device{'s' * (there > 1)} of the kind {kind} that "
            f"torch can use; leave --device out (and ${DEVICE_VARIABLE} empty) for the one that "
            "it has."
        )
    return name


def best(device: str = "cpu") -> str:
    """The quicker of "bfloat16" and "float32" on a device.

    Args:
        device: as `placed` gives it.

    Returns:
        "bfloat16" where the hardware multiplies it, else "float32".
    """
    if device.startswith("cuda"):
        import torch

        with torch.cuda.device(device):
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device == "cpu" and FLAGS & _features() else "float32"


def quick() -> str:
    """What to train in where nobody says: the quicker, on the device that is taken by itself."""
    return best(placed())


def chosen(name: str | None = None, device: str = "cpu") -> str:
    """The precision that a name stands for.

    Args:
        name: one of `CHOICES`; None = what $ATMOE_DTYPE names, and where that names none, "auto".
        device: what it is computed on, as `placed` gives it.

    Returns:
        One of `NAMES`; for "auto" the quickest that loses nothing to speak of.

    Raises:
        AtMoeError: no precision has that name, or the device does not compute in it.
    """
    name = name or os.environ.get(VARIABLE) or "auto"
    if name not in CHOICES:
        raise AtMoeError(
            f"There is no precision {name!r}; choose one of {', '.join(CHOICES)} (--dtype, or "
            f"${VARIABLE})."
        )
    if name in ("int8", "int4") and device != "cpu":
        raise AtMoeError(
            f"{name} is for the CPU; on {device} choose bfloat16 or float32 (--dtype)."
        )
    if name == "int4" and not _grouped():
        raise AtMoeError(
            "int4 needs a processor with AVX2, or one that multiplies bfloat16 itself, and this "
            "one says of neither; choose int8 or float32 (--dtype)."
        )
    if name != "auto":
        return name
    return "int4" if device == "cpu" and _grouped() else best(device)


def usable() -> tuple[str, ...]:
    """Those of `NAMES` that this machine's processor takes."""
    return tuple(name for name in NAMES if name != "int4" or _grouped())


def computed_in(name: str) -> str:
    """What activations and experts are in.

    Args:
        name: a precision of `NAMES`.

    Returns:
        "float32" or "bfloat16".
    """
    return best() if name in ("int8", "int4") else name


def _grouped() -> bool:
    """Whether the processor reads 4-bit groups quickly."""
    return bool(GROUPED & _features())


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
