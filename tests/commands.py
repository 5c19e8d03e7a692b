"""Commands, run in this process."""

import json

import pytest

from atmoe.cli.main import main


def run(capsys, *argv) -> dict:
    main([*argv, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(argv))
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.out == "" and "Traceback" not in captured.err
    return captured.err.splitlines()[-1]
