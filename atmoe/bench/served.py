"""The page as a process of its own, started as a person starts it: `python app.py`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from atmoe.errors import AtMoeError

PAGE = Path("app.py")
"""Of a checkout, from its root."""
MISSING = (
    "This part starts the page, and there is no app.py here; run it from the root of a checkout of "
    "AT-MoE Explorer."
)
SECONDS = 180
"""It comes up within so many."""
IDLE_SECONDS = 2
"""A connection unused for so long is given up. The page's server (uvicorn) closes one after five,
and who asks by it in that moment gets an error in place of an answer."""


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def comes_up(process: subprocess.Popen, address: str, seconds: float = SECONDS) -> bool:
    """Whether a page is served at an address before its process ends and the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(address, timeout=1).raise_for_status()
            return True
        except httpx.HTTPError:
            time.sleep(0.2)
    return False


def connected(address: str) -> httpx.AsyncClient:
    """A client of a page, for any number of people; it waits as long as an answer takes."""
    return httpx.AsyncClient(
        base_url=address, timeout=None, limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS)
    )


def must_be_there() -> None:
    """Ask for a page before anything else takes time.

    Raises:
        AtMoeError: there is none here.
    """
    if not PAGE.is_file():
        raise AtMoeError(MISSING)


@contextmanager
def page(
    model: Path, precision: str, base: str | None = None
) -> Iterator[tuple[str, psutil.Process]]:
    """The page over a model, once it answers: its address, and its process.

    Args:
        model: where it is saved.
        precision: to load it in.
        base: as for `AtMoe.from_pretrained`.

    Raises:
        AtMoeError: there is no page here, or it did not come up.
    """
    must_be_there()
    port = str(free_port())
    arguments = ["--model", str(model.resolve()), "--dtype", precision, "--port", port]
    arguments += ["--device", "cpu"]  # as bench compares, whatever $ATMOE_DEVICE names
    arguments += ["--base", base] if base else []
    address = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, str(PAGE.resolve()), *arguments],
            env=os.environ | {"TMPDIR": folder},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            if not comes_up(process, address):
                last = Path(log.name).read_text().strip().splitlines()[-1:]
                said = " ".join(last) or "it said nothing"
                raise AtMoeError(f"The page did not come up: {said}")
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()
