"""The cache of base models: a GGUF file is dequantised once, and a half-written conversion is never seen."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from atmoe.errors import BaseModelError

HALF = "bf16"
"""transformers' name for a second set of weights, rounded to bfloat16. Who computes in it reads half as much."""
STALE_SECONDS = 24 * 3600  # after this long a temporary directory is nobody's


def convert(gguf: Path, home: Path, name: str, sha256: str, origin: str) -> None:
    """Dequantise a GGUF file into directory ``home``, which appears complete or not at all."""
    with scratch(home.parent) as room:
        try:
            with quiet(bars=True):
                _write_model(gguf, room)
        except Exception as error:
            raise BaseModelError(
                f"{gguf.name} cannot be converted to a causal language model ({reason(error)}); "
                f"pass --base with another model."
            ) from error
        files = {file.name: file.stat().st_size for file in sorted(room.iterdir())}
        record = {"name": name, "source": origin, "sha256": sha256, "files": files}
        (room / "base.json").write_text(json.dumps(record, indent=2))
        _install(room, home)


def _write_model(gguf: Path, directory: Path) -> None:
    location = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
        "local_files_only": True,
    }
    model = AutoModelForCausalLM.from_pretrained(
        **location, dtype=torch.float32, trust_remote_code=False
    )
    # transformers will not save a model it calls quantised, although the weights in memory no longer are.
    del model.config.quantization_config
    plain = type(model)(model.config).to(torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(directory)
    plain.to(torch.bfloat16).save_pretrained(directory, variant=HALF)
    AutoTokenizer.from_pretrained(**location, trust_remote_code=False).save_pretrained(directory)


def intact(home: Path) -> bool:
    """Whether ``home`` is a finished conversion whose files all still have the size they were written with."""
    try:
        files = json.loads((home / "base.json").read_text())["files"]
        return "model.safetensors" in files and all(
            (home / f).stat().st_size == size for f, size in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _install(finished: Path, home: Path) -> None:
    """Rename a finished directory into place, keeping an intact one that another process put there first."""
    if home.exists() and not intact(home):
        with contextlib.suppress(OSError):  # another process may be clearing the same ruin
            os.replace(home, finished.with_name(finished.name + "-old"))
        shutil.rmtree(finished.with_name(finished.name + "-old"), ignore_errors=True)
    try:
        os.replace(finished, home)
    except OSError:
        if not intact(home):
            raise


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A temporary directory on the cache's own disk, so that renaming out of it is atomic."""
    for left in cache.glob(".tmp-*"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=".tmp-", dir=cache))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remembered_digest(files: list[Path], cache: Path) -> str:
    """``digest_of(files)``, remembered in the cache for as long as paths, sizes and times stay the same."""
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    note = cache / "digests" / hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    with contextlib.suppress(OSError):
        if re.fullmatch("[0-9a-f]{64}", text := note.read_text()):
            return text
    digest = digest_of(files)
    with contextlib.suppress(OSError):  # a read-only cache only costs the next start some time
        note.parent.mkdir(exist_ok=True)
        note.write_text(digest)
    return digest


def digest_of(files: list[Path]) -> str:
    """SHA-256 over the files' contents, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


@contextlib.contextmanager
def quiet(bars: bool = False) -> Iterator[None]:
    """Hold back transformers' messages and, unless ``bars``, its progress bars."""
    logging = transformers.utils.logging
    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()


def reason(error: BaseException) -> str:
    """The first line of an error's message, short enough to stand inside a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".;: ")[:160]
