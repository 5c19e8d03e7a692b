"""The cache of base models: a GGUF file is dequantised once, and never seen half-written."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from atmoe import files
from atmoe.errors import BaseModelError

HALF = "bf16"
"""transformers' name for a second set of weights, rounded to bfloat16: half as much to read."""
CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")
SETUP = (
    *CONFIGS,
    *("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)
"""The files beside a model's weights that change what it answers."""
BOOKKEEPING = frozenset(
    ("_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype")
)
ROOM = ".tmp-"
"""What the name of a temporary directory begins with."""


def convert(gguf: Path, home: Path, name: str, sha256: str, origin: str) -> None:
    """Dequantise a GGUF file into a directory that appears complete or not at all.

    Args:
        gguf: the file.
        home: the directory, in the cache.
        name: how the base is called from now on.
        sha256: of the file.
        origin: where the file comes from, as `atmoe.mixture.base.Base` has it.

    Raises:
        BaseModelError: the file cannot be converted.
    """
    with scratch(home.parent) as room:
        try:
            with files.writing(home), quiet(bars=True):
                _write_model(gguf, room)
        except OSError as error:
            if error.errno is not None:  # the system's, such as a full disk: `fetch` says it
                raise
            raise _unconvertible(gguf, error) from error
        except Exception as error:
            raise _unconvertible(gguf, error) from error
        written = sorted(room.iterdir())
        record = {
            "name": name,
            "source": origin,
            "sha256": sha256,
            "files": {file.name: file.stat().st_size for file in written},
            "contents": {file.name: digest_of([file]) for file in written},
        }
        (room / "base.json").write_text(json.dumps(record, indent=2))
        _install(room, home)


def _unconvertible(gguf: Path, error: Exception) -> BaseModelError:
    return BaseModelError(
        f"{gguf.name} cannot be converted to a causal language model ({reason(error)}); pass "
        f"--base with another model."
    )


def _write_model(gguf: Path, directory: Path) -> None:
    location = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
        "local_files_only": True,
    }
    model = AutoModelForCausalLM.from_pretrained(
        **location, dtype=torch.float32, trust_remote_code=False
    )
    # transformers will not save a model it calls quantised, although the weights in memory no
    # longer are.
    del model.config.quantization_config
    plain = type(model)(model.config).to(torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(directory)
    plain.to(torch.bfloat16).save_pretrained(directory, variant=HALF)
    AutoTokenizer.from_pretrained(**location, trust_remote_code=False).save_pretrained(directory)


def intact(home: Path, cache: Path) -> bool:
    """Whether a directory is a finished conversion whose files hold what was written then.

    What a file holds is read once, and again whenever its stamp has changed.

    Args:
        home: the directory.
        cache: the cache's root directory, which remembers what was read.
    """
    try:
        record = json.loads((home / "base.json").read_text())
        sizes = record["files"]
        if "model.safetensors" not in sizes:
            return False
        if any((home / f).stat().st_size != size for f, size in sizes.items()):
            return False
        digests = {f: remembered_digest([home / f], cache) for f in sizes}
        if "contents" not in record:  # of a version that wrote sizes alone: believed this once
            with contextlib.suppress(OSError):
                text = json.dumps(record | {"contents": digests}, indent=2)
                files.replace(home / "base.json", text.encode())
            return True
        return digests == record["contents"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def content_of(home: Path) -> str:
    """The digest of the weights in an intact conversion."""
    return json.loads((home / "base.json").read_text())["contents"]["model.safetensors"]


def setup_of(home: Path, cache: Path) -> str:
    """The digest of what else a base answers by: its config, its tokenizer and its chat template.

    Who wrote a config with what makes no difference, nor the precision that it asks for.

    Args:
        home: a directory in Hugging Face format.
        cache: the cache's root directory, which remembers what was read.
    """
    parts = []
    for name in SETUP:
        file = home / name
        if not file.is_file():
            continue
        own = remembered_digest([file], cache)
        if name in CONFIGS:
            with contextlib.suppress(ValueError, AttributeError):  # no mapping: transformers says
                config = json.loads(file.read_text("utf-8"))
                said = {key: value for key, value in config.items() if key not in BOOKKEEPING}
                own = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        parts += [name, own]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _install(finished: Path, home: Path) -> None:
    """Rename a finished directory into place, unless another process put an intact one there."""
    cache = home.parent
    if home.exists() and not intact(home, cache):
        print(f"{home} is not as it was written; it is made again", file=sys.stderr)
        ruin = finished.with_name(finished.name + "-old")
        with contextlib.suppress(OSError):  # another process may be clearing the same ruin
            os.replace(home, ruin)
        shutil.rmtree(ruin, ignore_errors=True)
    try:
        os.replace(finished, home)
    except OSError:
        if not intact(home, cache):
            raise


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A temporary directory on the cache's own disk, so that renaming out of it is atomic.

    Yields:
        The directory; it is deleted afterwards, with what still lies in it.
    """
    sweep(cache)
    with files.room(cache, ROOM) as directory:
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def sweep(cache: Path) -> None:
    """Remove the temporary directories of processes that were killed."""
    for directory in files.abandoned(cache, ROOM):
        shutil.rmtree(directory, ignore_errors=True)


def remembered_digest(files: list[Path], cache: Path) -> str:
    """What `digest_of` says, remembered for as long as the files' stamps stay the same.

    A stamp is the path, the inode, the size, and the times of change: of the content, which a
    program can set back, and of the file, which none can.

    Args:
        files: in the order in which they are read.
        cache: the cache's root directory.
    """
    stamps = [(str(file.resolve()), *_stamp(file)) for file in files]
    note = cache / "digests" / hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    with contextlib.suppress(OSError):
        text = note.read_text()
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    digest = digest_of(files)
    with contextlib.suppress(OSError):  # a read-only cache only costs the next start some time
        note.parent.mkdir(exist_ok=True)
        note.write_text(digest)
    return digest


def _stamp(file: Path) -> tuple[int, int, int, int]:
    stat = file.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest_of(files: list[Path]) -> str:
    """SHA-256 over the files' contents, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


@contextlib.contextmanager
def quiet(bars: bool = False) -> Iterator[None]:
    """Hold back transformers' messages, and its progress bars too unless `bars`."""
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
