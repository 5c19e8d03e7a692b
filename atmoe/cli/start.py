"""Where the command line starts: before anything is imported that takes time."""

from __future__ import annotations

from typing import NoReturn

from atmoe.cli.ending import run


def main() -> NoReturn:
    """The command line of this process."""
    run("atmoe", _command)


def _command() -> None:
    from atmoe.cli.main import main

    main()
