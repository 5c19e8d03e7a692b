"""What a process takes: time until it has loaded a model, and memory; the page's too."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from atmoe.bench.load import MB, alone
from atmoe.bench.served import PAGE, connected, page
from atmoe.mixture.memory import most_memory

IMPORTS = "import app.page, psutil; print(psutil.Process().memory_info().rss)"
LOADED = """
import json, resource, sys, time
from atmoe.mixture.memory import most_memory

def peak():  # what rusage says of a process counts its parent's memory before it was started
    return most_memory() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

began = time.perf_counter()
from atmoe import AtMoe, Sampling
imported, before = time.perf_counter(), peak()
model = AtMoe.from_pretrained(sys.argv[1], sys.argv[2] or None, sys.argv[3], device="cpu")
loaded = time.perf_counter()
model.answer("How is asthma treated?", sampling=Sampling(8))
parameters = (*model.base.parameters(), *model.router.parameters())
weights = sum({t.data_ptr(): t.nbytes for t in parameters}.values())
print(json.dumps({"import_s": imported - began, "load_s": loaded - imported,
                  "weights_mb": weights / 2**20, "imports_mb": before / 2**20,
                  "peak_mb": peak() / 2**20}))
"""


def start(path: Path, base: str | None, precision: str) -> dict[str, float]:
    """What a process of its own takes up to the end of a first short answer.

    Returns:
        {"import_s", "load_s": seconds; "weights_mb", "imports_mb", "peak_mb": the most memory, in
        MiB; "own_to_weights": that as a multiple of its weights, less what the libraries had taken
        before}.
    """
    out = subprocess.run(
        [sys.executable, "-c", LOADED, str(path), base or "", precision],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    figures = json.loads(out.splitlines()[-1])
    own = figures["peak_mb"] - figures["imports_mb"]
    figures["own_to_weights"] = own / figures["weights_mb"]
    return {name: round(value, 2) for name, value in figures.items()}


def memory(model: Path, precision: str, base: str | None = None) -> dict[str, Any]:
    """What the page takes: once it is there, and at most, up to each question's answer.

    Args:
        model: where a model is saved.
        precision: to serve it in.
        base: as for `AtMoe.from_pretrained`.

    Returns:
        {"precision"; "libraries_mb": of the page's imports alone, "ready_mb", "answered_mb",
        "peak_mb", and "own_to_weights": the peak less the libraries, times the weights}; None where
        the system does not tell the peak.

    Raises:
        AtMoeError: there is no page here.
    """

    async def ask(address: str) -> None:
        async with connected(address) as client:
            await alone(client)

    with page(model, precision, base) as (address, process):
        ready = process.memory_info().rss / MB
        asyncio.run(ask(address))
        answered, peak = process.memory_info().rss / MB, most_memory(process.pid)
    libraries = _imports()
    weights = start(model, base, "bfloat16")["weights_mb"] * 2**20 / MB
    own = None if peak is None else round((peak / MB - libraries) / weights, 2)
    return {
        "precision": precision,
        "libraries_mb": round(libraries),
        "ready_mb": round(ready),
        "answered_mb": round(answered),
        "peak_mb": None if peak is None else round(peak / MB),
        "own_to_weights": own,
    }


def _imports() -> float:
    """What a process takes that has imported what the page imports, and nothing else, in MB."""
    out = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env=os.environ | {"PYTHONPATH": str(PAGE.resolve().parent)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return int(out.split()[-1]) / MB
