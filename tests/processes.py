"""`python app.py` as a process of its own, as a person or a Space runs it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from conftest import ROOT

SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=1)
            return process, address
        except OSError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.2)
    process.kill()
    raise AssertionError("the page was not served")


def start(saved: Sequence[str], folder: Path) -> tuple[subprocess.Popen, str]:
    """`python app.py` over a model, with a temporary folder of its own, once it answers."""
    port = free_port()
    env = {"TMPDIR": str(folder), "ATMOE_CACHE": str(folder / "cache")}
    arguments = [*saved, "--port", str(port), "--dtype", "float32"]
    return start_page(ROOT / "app.py", folder, env, port, arguments)
