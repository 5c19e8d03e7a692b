"""What the tools that measure precisions share: answers of unseen topics, from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from atmoe.cli.common import data_arguments
from atmoe.cli.given import described
from atmoe.cli.measuring import on_side
from atmoe.data import Example
from atmoe.study.evaluate import choose


def arguments(said: str | None, limit: int, tokens: int) -> argparse.ArgumentParser:
    """The corpora, the model, and how many answers of how many tokens."""
    parser = argparse.ArgumentParser(description=said, parents=[data_arguments()])
    parser.add_argument("--model", type=Path, default=Path("assets/medical"))
    parser.set_defaults(base=None, split="validation")
    parser.add_argument("--limit", type=int, default=limit, help="answers a task")
    parser.add_argument("--tokens", type=int, default=tokens, help="of each answer, at most")
    return parser


def chosen(args: argparse.Namespace) -> list[Example]:
    """As many of each task as were asked for."""
    description = described(args)
    unseen = on_side(args, description.examples())
    return choose(unseen, args.limit, 0, description.main_group)
