"""atmoe.json: what a saved AT-MoE says of itself, checked before anything is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atmoe import files
from atmoe.errors import AssetError, AtMoeError
from atmoe.mixture import base_cache
from atmoe.presentation import NEUTRAL, Page, page_of
from atmoe.routing.layout import Layout
from atmoe.schema import language_of, words_of

FORMAT = 1
CONFIG, ROUTER = "atmoe.json", "router.safetensors"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
MOST_BYTES, MOST_LAYERS, MOST_TOKENS, MOST_LETTERS = 4 * 2**20, 1024, 2**24, 200
"""What atmoe.json may be and say at most: a size is not used before it is checked."""


@dataclass(frozen=True)
class Info:
    """Where a model comes from and what it may be asked. Written to and read from atmoe.json.

    Attributes:
        name: the model's own.
        base_name: of the base model that it was trained on, or that it was loaded with.
        base_sha256: of that base's weights.
        base_locator: how that base is found again, as `atmoe.mixture.base.Base` has it.
        base_content: the digest of its weights as they were read; not written.
        base_setup: of its config, tokenizer and chat template, as `atmoe.mixture.base.Base` has it;
            "" = not said.
        sha256: of atmoe.json without its page, and so of all that it names; "" where the model was
            not loaded.
        max_prompt_tokens: a prompt may have no more, template included.
        scripts: Unicode script names that most letters of a question must belong to; empty = any.
        words: what the page calls a group, by its name; a group without one goes by its name.
        language: the one that it learned from, as an ISO 639-1 code ("en"); "" = nothing is said.
        page: what it says of itself where people meet it.
    """

    name: str
    base_name: str = ""
    base_sha256: str = ""
    sha256: str = ""
    max_prompt_tokens: int = 1024
    scripts: tuple[str, ...] = ()
    base_locator: Mapping[str, str] = field(default_factory=dict)
    base_content: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    page: Page = NEUTRAL
    base_setup: str = ""

    @property
    def named(self) -> dict[str, str]:
        """What a record says of the model: which it is, and its warning."""
        return {"name": self.name, "sha256": self.sha256, "warning": self.page.warning}


def seal(path: Path, layout: Layout, info: Info) -> None:
    """Write atmoe.json over what lies in `path`: names, limits, and every file's hash."""
    write_config(path / CONFIG, [path], layout, info)


def write_config(file: Path, places: Sequence[Path], layout: Layout, info: Info) -> None:
    """Write atmoe.json.

    Args:
        file: where.
        places: directories that the files are looked for in, the first before the second.
        layout: of the model.
        info: its names and limits.

    Raises:
        OSError: a file of the model is missing, or atmoe.json cannot be written.
    """
    hashes = {}
    for name in names_of(layout):
        found = next((p / name for p in places if (p / name).is_file()), places[-1] / name)
        hashes[name] = sha256_of(found)
    config = {
        "format": FORMAT,
        "name": info.name,
        "base": {
            "name": info.base_name,
            "sha256": info.base_sha256,
            **({"setup": info.base_setup} if info.base_setup else {}),
            **({"locator": dict(info.base_locator)} if info.base_locator else {}),
        },
        "layers": layout.layers,
        "groups": [{"name": g, "experts": list(e)} for g, e in layout.groups],
        "max_prompt_tokens": info.max_prompt_tokens,
        "scripts": list(info.scripts),
        **({"words": dict(info.words)} if info.words else {}),
        **({"language": info.language} if info.language else {}),
        **({"page": page} if (page := info.page.to_dict()) else {}),
        "files": hashes,
    }
    files.replace(file, _written(config))


def fitting(info: Info, layout: Layout) -> None:
    """That what a model says of itself is of the groups that it has.

    Raises:
        AssetError: it names another.
    """
    try:
        words_of(dict(info.words), layout.group_names)
        page_of(info.page.to_dict(), (*layout.group_names, *layout.expert_names))
    except ValueError as error:
        raise AssetError(
            f"The model {info.name} says something of itself that its groups do not bear out "
            f"({error}); take that out of its description."
        ) from error


def _written(config: Mapping[str, Any]) -> bytes:
    """An atmoe.json, to the byte."""
    return (json.dumps(config, indent=1) + "\n").encode()


def digest_of(data: bytes) -> str:
    """The sha256 of an atmoe.json as it is without its page.

    Other words on the page make no other model: its records, its index and what was measured of it
    still belong to it.

    Raises:
        ValueError: it is not JSON.
    """
    config = json.loads(data)
    if isinstance(config, dict) and "page" in config:
        data = _written({name: value for name, value in config.items() if name != "page"})
    return hashlib.sha256(data).hexdigest()


def names_of(layout: Layout) -> list[str]:
    """All files that a model of this layout is read from, atmoe.json aside."""
    experts = [f"experts/{name}/{file}" for name in layout.expert_names for file in ADAPTER]
    return [ROUTER, *sorted(experts)]


def parsed(file: Path) -> tuple[Info, Layout, dict[str, str]]:
    """What an atmoe.json says: names and limits, the layout, and every file's hash.

    Raises:
        AssetError: it is missing, says something that cannot be, or leaves a file out.
        OSError: it cannot be read.
    """
    if not file.is_file():
        raise AssetError(
            f"{file.parent} holds no AT-MoE model ({CONFIG} is missing); name the directory of a "
            f"trained one."
        )
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        data = file.read_bytes()
        config = json.loads(data)
        if config["format"] != FORMAT:
            raise AssetError(
                f"{file} has format {str(config['format'])[:20]}; this version reads format "
                f"{FORMAT}; use the version it was saved with, or train it again."
            )
        groups = {_text(g["name"], "a group"): _texts(g["experts"]) for g in config["groups"]}
        if len(groups) != len(config["groups"]):
            raise ValueError("it names a group twice")
        layout = Layout.of(_whole(config["layers"], "layers", MOST_LAYERS), groups)
        info = Info(
            _text(config["name"], "the name"),
            _text(config["base"]["name"], "the base"),
            _text(config["base"]["sha256"], "the base"),
            digest_of(data),
            _whole(config["max_prompt_tokens"], "max_prompt_tokens", MOST_TOKENS),
            _texts(config["scripts"]),
            _locator(config["base"].get("locator", {})),
            words=words_of(config.get("words", {}), layout.group_names),
            language=language_of(config.get("language", "")),
            page=page_of(config.get("page", {}), (*layout.group_names, *layout.expert_names)),
            base_setup=_text(config["base"].get("setup", ""), "the base's setup"),
        )
        hashes = {name: _text(config["files"][name], name) for name in names_of(layout)}
    except AssetError:
        raise
    except KeyError as error:
        raise AssetError(
            f"{file} says nothing of {error}; restore it, for example with git checkout."
        ) from error
    except (AtMoeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AssetError(
            f"{file} cannot be read ({base_cache.reason(error)}); restore it, for example with git "
            f"checkout."
        ) from error
    return info, layout, hashes


def sha256_at(path: Path) -> str:
    """The sha256 of the model in a directory, its files not checked; "" where none can be read."""
    try:
        return parsed(path / CONFIG)[0].sha256
    except (AssetError, OSError):
        return ""


def _locator(value: object) -> dict[str, str]:
    """How a base is found again: a few texts by name."""
    if not isinstance(value, dict) or len(value) > 8:
        raise ValueError("the base's locator is no mapping of a few names")
    return {_text(k, "the locator"): _text(v, "the locator", 4096) for k, v in value.items()}


def check(file: Path, sha256: str) -> None:
    """That a file is the one that was saved."""
    if not file.is_file():
        raise AssetError(f"{file} is missing; restore it, for example with git checkout.")
    if sha256_of(file) != sha256:
        raise AssetError(f"{file} is not the file that was saved (its sha256 differs); restore it.")


def _whole(value: object, name: str, most: int) -> int:
    """A number of something, 1 to `most`."""
    if type(value) is not int or not 1 <= value <= most:  # True is an int too
        raise ValueError(f"{name} is no whole number from 1 to {most:,}")
    return value


def _text(value: object, name: str, most: int = MOST_LETTERS) -> str:
    """A text of one line that can be shown."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name} is no text of at most {most} characters")
    value.encode()  # a lone surrogate is a ValueError
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError("a list of names is none")
    return tuple(_text(value, "a name in a list") for value in values)


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
