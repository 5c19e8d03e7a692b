"""The command line: atmoe {route,answer,explain,score,export,train,evaluate,…}, or python -m atmoe.

With --json a command prints one JSON document on standard output; progress and logs go to standard
error. A mistake of the user's is one sentence on standard error and exit code 2; so is a full disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from atmoe import __version__, files
from atmoe.cli import ask, bench, flags, schema, sources, space, study, take, train
from atmoe.cli.common import Commands, common_arguments, data_arguments, steering_arguments
from atmoe.cli.ending import emit, ending

CHAPTERS: tuple[tuple[str, tuple[Callable[[Commands], None], ...]], ...] = (
    ("Ask one question, or a file of them", (ask.add_commands,)),
    ("Take it along", (take.add_commands, space.add_commands, schema.add_commands)),
    ("Train on examples of your own", (train.add_commands, sources.add_index)),
    (
        "Measure a model",
        (
            study.add_commands,
            flags.add_commands,
            sources.add_studies,
            bench.add_commands,
        ),
    ),
)
"""The commands, as `--help` lists them."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        argv: its words (default: those of this process).

    Raises:
        SystemExit: with status 1 where a bench fell; else as `atmoe.cli.ending` has it.
    """
    with ending("atmoe"):
        arguments = build_parser().parse_args(argv)
        result, sentences = arguments.run(arguments)
        emit(_json(result) if arguments.json else sentences)
    fallen = isinstance(result, dict) and result.get("fallen")
    if fallen:
        print(f"atmoe: {'; '.join(fallen)}.", file=sys.stderr)
        raise SystemExit(1)


def _json(result: Any) -> str:
    """One JSON document; JSON has no word for what is not a number, so that is null."""
    # Where the output cannot hold every letter, JSON has its own way to spell them.
    ascii_only = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    try:
        return json.dumps(result, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(files.finite(result), ensure_ascii=ascii_only, allow_nan=False)


class _Parser(argparse.ArgumentParser):
    """argparse's own, but for a help that cannot be printed: that is an error too."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            emit(message, end="")
        else:
            super()._print_message(message, file)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="atmoe",
        description="Mix named LoRA experts by a router one can read and steer.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"atmoe {__version__}")
    into = parser.add_subparsers(required=True, metavar="COMMAND", help="one of those below")
    commands = Commands(into, common_arguments(), data_arguments(), steering_arguments())
    chapters = []
    for title, families in CHAPTERS:
        before = len(commands.listed)
        for add in families:
            add(commands)
        chapters.append(_chapter(title, commands.listed[before:]))
    parser.epilog = "\n\n".join([*chapters, "atmoe COMMAND --help says more of each."])
    return parser


def _chapter(title: str, commands: Sequence[tuple[str, str]]) -> str:
    """A table of contents of some commands, as wide as argparse's own help."""
    width, indent = max(shutil.get_terminal_size().columns - 2, 40), 24
    lines = [f"{title}:"]
    for name, text in commands:
        first = f"  {name:<{indent - 4}}  "
        lines.append(
            textwrap.fill(text, width, initial_indent=first, subsequent_indent=" " * indent)
        )
    return "\n".join(lines)
