"""What the commands share: their arguments. What those stand for is in `atmoe.cli.given`.

Nothing here imports torch, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atmoe.mixture.precision import CHOICES, DEVICE_VARIABLE, DEVICES

MEDICAL = Path(__file__).resolve().parents[2] / "assets" / "medical"
"""The shipped model: it lies in the repository, not in the package."""
DEFAULT_MODEL = Path(os.environ.get("ATMOE_MODEL") or MEDICAL)
CORPORA = ("medquad", "pubmedqa", "mts-dialog")
BASELINES = Path("baselines")
"""Where trained baselines go, and are looked for."""
FLOATING = ("float32", "bfloat16")
"""What a model is trained in."""

QUICKER = "bfloat16 where that is quick, else float32"
"""What it is trained in where nobody says."""

Result = tuple[Any, str]
"""What --json prints, and what a person reads."""


@dataclass(frozen=True)
class Commands:
    """Where a family of commands puts itself.

    Attributes:
        into: the parser's subcommands.
        common: --base and --json.
        data: the description and the corpora.
        steering: --set, --off, --layers, --strength and what goes with them.
        listed: each command's name and its help, in their order.
    """

    into: Any
    common: argparse.ArgumentParser
    data: argparse.ArgumentParser
    steering: argparse.ArgumentParser
    listed: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], Result] | None,
        text: str,
        parents: Sequence[argparse.ArgumentParser] = (),
        into: Any = None,
    ) -> argparse.ArgumentParser:
        """Add one command.

        Args:
            name: as it is typed.
            run: what it does; None where it only groups others.
            text: its help.
            parents: whose arguments it has too.
            into: another group of subcommands than the first.
        """
        if into is None:  # the table of contents lists it, and not argparse
            self.listed.append((name, text))
            parser = self.into.add_parser(name, description=text, parents=list(parents))
        else:
            parser = into.add_parser(name, help=text, description=text, parents=list(parents))
        parser.set_defaults(run=run)
        return parser

    def of_model(
        self, dtype: str | None, choices: Sequence[str] = CHOICES
    ) -> argparse.ArgumentParser:
        """--model, --dtype and --device, and what is common to all.

        Args:
            dtype: where nobody says; None = the quicker, which is known when it is loaded.
            choices: that --dtype has.
        """
        told = dtype or QUICKER
        parser = argparse.ArgumentParser(add_help=False, parents=[self.common])
        model_argument(parser)
        auto = "; auto = what this machine is quick in" if "auto" in choices else ""
        parser.add_argument(
            "--dtype", choices=choices, default=dtype, help=f"precision{auto} (default: {told})"
        )
        device_argument(parser)
        return parser


def model_argument(parser: argparse.ArgumentParser) -> None:
    """--model."""
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODEL,
        metavar="DIR",
        help="a trained AT-MoE, a directory or a hub id (default: $ATMOE_MODEL, else the medical "
        "one)",
    )


def device_argument(parser: argparse.ArgumentParser) -> None:
    """--device."""
    parser.add_argument(
        "--device",
        metavar="|".join(DEVICES),
        help=f"where to compute (default: ${DEVICE_VARIABLE}, else auto: a GPU of CUDA's where "
        "there is one)",
    )


def common_arguments() -> argparse.ArgumentParser:
    """--base and --json."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--base",
        metavar="PATH",
        help="base model: a directory, a .gguf file or a hub id (default: the one the experts were "
        "trained on, from the cache, the hub or a wheel)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output"
    )
    return parser


def data_arguments() -> argparse.ArgumentParser:
    """The description, and the corpora named one by one."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "description",
        nargs="?",
        type=Path,
        metavar="DESCRIPTION",
        help="a YAML or JSON file that names groups, experts and data sources (default: "
        "assets/medical.yaml)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where the description's relative source paths start",
    )
    for reader, name in zip(CORPORA, ("MedQuAD", "PubMedQA", "MTS-Dialog")):
        parser.add_argument(
            f"--{reader}",
            type=Path,
            metavar="DIR",
            help=f"{name} in its original layout; where one of these is given, they replace the "
            "description's sources",
        )
    return parser


def steering_arguments() -> argparse.ArgumentParser:
    """What changes a plan; and how an answer is sampled: one set of flags fits all commands."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.set_defaults(steps=[])
    group = parser.add_argument_group(
        "steering", "SHARE is 0.6 or 60%; an expert's is its share of its group"
    )
    group.add_argument(
        "--set",
        action=_Step,
        metavar="GROUP[/EXPERT]=SHARE",
        help="fix a share; the others keep the router's proportions",
    )
    group.add_argument(
        "--off",
        action=_Step,
        metavar="GROUP[/EXPERT]",
        help="drop it: its weight becomes 0 and nobody takes it over",
    )
    group.add_argument(
        "--layers",
        action=_Step,
        metavar="all|early|middle|late|A-B",
        help="where the overrides after it apply (layers count from 0; default: all)",
    )
    group.add_argument(
        "--strength",
        type=float,
        metavar="X",
        help="multiplies the experts: 0 = base model, 1 = as trained, at most 2 (default: what the "
        "plan has; the router's has 1)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the sampling; used by answer and explain, above temperature 0 (default: 0)",
    )
    group.add_argument(
        "--max-new-tokens",
        type=int,
        default=160,
        metavar="N",
        help="used by answer and explain: at most this many tokens (default: 160)",
    )
    return parser


class _Step(argparse.Action):
    """Keeps --set, --off and --layers in the order given: a range applies to what follows it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.steps = [*namespace.steps, (self.dest, values)]


def count(text: str) -> int:
    """How many of something, on a command line: a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def positional(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """One that may be missing, and may stand behind options: with nargs="?" it could not."""
    parser.add_argument(name, metavar=f"[{name}]", help=text).required = False
