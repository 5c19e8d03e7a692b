"""What the commands that read data share: the description, and the corpora named one by one."""

from __future__ import annotations

import argparse
from pathlib import Path

from atmoe.errors import DataError

CORPORA = ("medquad", "pubmedqa", "mts-dialog")
BASELINES = Path("baselines")
"""Where trained baselines go, and are looked for."""


def count(text: str) -> int:
    """How many of something, on a command line: a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def sources() -> argparse.ArgumentParser:
    """The arguments that name them, to be a parent of such a command."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("description", nargs="?", type=Path, metavar="DESCRIPTION", help="a YAML or JSON file that names "
                      "groups, experts and data sources (default: assets/medical.yaml)")
    made.add_argument("--data", type=Path, metavar="DIR", help="where the description's relative source paths start")
    for reader, name in zip(CORPORA, ("MedQuAD", "PubMedQA", "MTS-Dialog")):
        made.add_argument(f"--{reader}", type=Path, metavar="DIR", help=f"{name} in its original layout; where one of these "
                          "is given, they replace the description's sources")
    return made


def described(a):
    """The description, its sources replaced by the corpora that were named on the command line."""
    from atmoe.data import MEDICAL, Description

    found = Description.load(a.description or MEDICAL, a.data)
    a.base = a.base or found.base
    named = {reader: getattr(a, reader.replace("-", "_")) for reader in CORPORA}
    if any(named.values()):
        return found.reading(named)
    if not (a.description or a.data):
        raise DataError("No corpus was named; give at least one of --medquad DIR, --pubmedqa DIR, --mts-dialog DIR, or a "
                        "description of your own.")
    return found
