"""The command line: atmoe {fetch,route,answer,explain,score,train,evaluate,…}, or python -m atmoe.

With --json a command prints one JSON document on standard output; progress and logs go to standard
error. A mistake of the user's is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from atmoe import __version__
from atmoe.cli import ask, bench, study, train
from atmoe.cli.common import Commands, common_arguments, data_arguments, steering_arguments
from atmoe.errors import AtMoeError

FAMILIES = (ask, bench, study, train)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command. Ends with status 0; 1 where a bench fell; 2 after a mistake; 130 when stopped."""
    arguments = build_parser().parse_args(argv)
    try:
        result, sentences = arguments.run(arguments)
    except AtMoeError as error:
        print(f"atmoe: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("atmoe: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    print(json.dumps(result, ensure_ascii=False) if arguments.json else sentences)
    fallen = isinstance(result, dict) and result.get("fallen")
    if fallen:
        print(f"atmoe: {'; '.join(fallen)}.", file=sys.stderr)
        raise SystemExit(1)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="atmoe", description="Mix named LoRA experts by a router one can read and steer."
    )
    parser.add_argument("--version", action="version", version=f"atmoe {__version__}")
    into = parser.add_subparsers(required=True, metavar="COMMAND")
    commands = Commands(into, common_arguments(), data_arguments(), steering_arguments())
    for family in FAMILIES:
        family.add_commands(commands)
    return parser
