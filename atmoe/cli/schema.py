"""The command that prints what comes in and goes out, as JSON Schema."""

from __future__ import annotations

import argparse
import json

from atmoe.cli.common import Commands, Result

NAMES = ("steering", "plan", "record")


def schema(a: argparse.Namespace) -> Result:
    """One of the schemas."""
    from atmoe.schema import published

    found = published(a.of)
    return found, json.dumps(found, indent=1)


def add_commands(commands: Commands) -> None:
    """Put it among the others."""
    parser = commands.add("schema", schema, "Print what is read and written, as JSON Schema.")
    parser.add_argument("of", nargs="?", choices=NAMES, default=NAMES[0], help="default: steering")
    parser.add_argument("--json", action="store_true", help="on one line")
