"""Commands, run in this process."""

import json

import pytest

from atmoe.cli.main import main
from atmoe.many.out import Out


def run(capsys, *argv) -> dict:
    main([*argv, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(argv))
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.out == "" and "Traceback" not in captured.err
    return captured.err.splitlines()[-1]


def stopped_after(rows: int, monkeypatch, *argv: str) -> None:
    """Run a command in this process, and interrupt it after some rows."""
    add = Out.add

    def counted(out: Out, *row) -> None:
        if out.part.read_bytes().count(b"\n") > rows:
            raise KeyboardInterrupt
        add(out, *row)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as end:
        patched.setattr(Out, "add", counted)
        main(argv)
    assert end.value.code == 130
