"""What the commands that measure a model share: which examples, how many, and intervals."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from atmoe.cli.common import CORPORA, MEDICAL, count
from atmoe.cli.given import described

if TYPE_CHECKING:
    from atmoe.data import Description, Example

SPLITS = ("all", "validation", "train")
FEW = 10
"""Of fewer topics, a bootstrap's interval is narrower than Student's by a fifth or more."""
NO_WORDING = (
    "the wordings that come with atmoe are for the medical corpora, and none fits these data"
)


def on_side(a: argparse.Namespace, examples: Iterable[Example]) -> list[Example]:
    """The examples on the side of the split that was asked for."""
    from atmoe.data import split

    return [example for example in examples if a.split in ("all", split(example))]


def between(ends: Sequence[float] | None, form: str = ".3f") -> str:
    """The two ends of an interval, as a table has them; a dash where there is none."""
    return "–" if ends is None else " to ".join(format(end, form) for end in ends)


def over(topics: int) -> str:
    """What intervals rest on; said where it is so little that they are too narrow."""
    if topics < 2:
        return "no intervals over one topic"
    few = ", so few that they are too narrow" if topics < FEW else ""
    return f"intervals over {topics} topics{few}"


def limit(parser: argparse.ArgumentParser, default: int | None, what: str) -> None:
    """How many are measured; None = all."""
    parser.add_argument(
        "--limit",
        type=count,
        default=default,
        metavar="N",
        help=f"{what} (default: {'all' if default is None else default})",
    )


def drawn(parser: argparse.ArgumentParser, split: str = "validation") -> None:
    """What decides which examples are drawn."""
    seed(parser)
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default=split,
        help=f"examples of which topics (default: {split})",
    )


def seed(parser: argparse.ArgumentParser) -> None:
    """What whatever is drawn at random begins from."""
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)"
    )


def held_out(a: argparse.Namespace) -> tuple[Description, list[Example]]:
    """The description, and its examples on the side of the split that was asked for."""
    description = described(a)
    return description, on_side(a, description.examples())


def command(a: argparse.Namespace, name: str, *options: str) -> str:
    """The command that was run, its defaults written out; DIR stands for where data lie.

    Call it before anything is read: reading fills in what was not given.
    """
    words = ["python", "-m", "atmoe", name]
    if a.description:
        words.append(str(a.description))
    for option in ("data", *CORPORA):
        if getattr(a, option.replace("-", "_")):
            words += [f"--{option}", "DIR"]
    if a.model != MEDICAL:
        words += ["--model", str(a.model)]
    for option in ("base", "device", *options, "dtype"):
        value = getattr(a, option)
        if value is not None:
            words += [f"--{option}", str(value)]
    return shlex.join([*words, "--json"])


def number(x: float | None, form: str) -> str:
    """A figure that may not be defined, in words."""
    return "not defined" if x is None or math.isnan(x) else format(x, form)
