"""`python app.py` as a process of its own, as a person or a Space runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from conftest import ROOT

from atmoe.bench.served import comes_up, free_port

SECONDS = 90


def start_page(
    script: Path, folder: Path, env: Mapping[str, str], port: int, arguments: Sequence[str] = ()
) -> tuple[subprocess.Popen, str]:
    """The process in its folder, and the address at which it answers by now."""
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env=os.environ | env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    if comes_up(process, address, SECONDS):
        return process, address
    assert process.poll() is None, process.stdout.read()
    process.kill()
    raise AssertionError("the page was not served")


def start(saved: Sequence[str], folder: Path) -> tuple[subprocess.Popen, str]:
    """`python app.py` over a model, with a temporary folder of its own, once it answers."""
    port = free_port()
    env = {"TMPDIR": str(folder), "ATMOE_CACHE": str(folder / "cache")}
    arguments = [*saved, "--port", str(port), "--dtype", "float32"]
    return start_page(ROOT / "app.py", folder, env, port, arguments)
