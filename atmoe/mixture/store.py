"""A saved AT-MoE: a directory that names its experts and proves that nothing in it has changed.

atmoe.json                         names, base, limits, and the sha256 of every file below
router.safetensors                 float32
experts/<group>/<expert>/          one LoRA each, in PEFT's own format

A save replaces a model at once, for these files must agree:

1. the new files are written into .saving-…/, a directory in the model's own, locked by its writer;
2. atmoe.json is renamed over the old one: from here on the new model is the one that is saved;
3. the files that it names follow, and .saving-… is removed.

Whoever is killed before 2 leaves the old model whole. After 2, the next load or save finds a
.saving-… whose lock is free, and carries 3 out: a file there is part of the model where its hash is
the one that atmoe.json names, and is waste otherwise. So a model can be loaded after every instant.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from atmoe import files
from atmoe.errors import AssetError, AtMoeError
from atmoe.mixture import base as base_models
from atmoe.mixture import base_cache
from atmoe.mixture.experts import Adapter, ExpertBank, decoder_layers
from atmoe.mixture.int8 import to_int8
from atmoe.mixture.precision import chosen, computed_in
from atmoe.routing.plan import Layout
from atmoe.routing.router import GroupedRouter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

FORMAT = 1
CONFIG, ROUTER = "atmoe.json", "router.safetensors"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
SAVING = ".saving-"
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
        sha256: of atmoe.json, and so of all that it names; "" where the model was not loaded.
        max_prompt_tokens: a prompt may have no more, template included.
        scripts: Unicode script names that most letters of a question must belong to; empty = any.
    """

    name: str
    base_name: str = ""
    base_sha256: str = ""
    sha256: str = ""
    max_prompt_tokens: int = 1024
    scripts: tuple[str, ...] = ()
    base_locator: Mapping[str, str] = field(default_factory=dict)
    base_content: str = ""


class Parts(NamedTuple):
    """What a `Mixture` is made of, in the order in which it takes them.

    Attributes:
        model: the base, a causal language model of transformers, the experts put into it.
        tokenizer: the base's.
        bank: the experts.
        router: fits the base's layers.
        info: where the model comes from.
        base_parameters: how many the base alone has.
    """

    model: Any
    tokenizer: Any
    bank: ExpertBank
    router: GroupedRouter
    info: Info
    base_parameters: int


def save(path: str | Path, bank: ExpertBank, router: GroupedRouter, info: Info) -> None:
    """Write experts (PEFT format), router and atmoe.json.

    Args:
        path: a directory, made where it is missing. A model that lies there is replaced at once.
        bank: its experts are written in bfloat16 where it computes in that, else in float32.
        router: is written in float32.
        info: names and limits; its own sha256 is not written.

    Raises:
        OSError: something cannot be written; the model that lay there is left, whole.
    """
    with replacing(Path(path), router.layout, info) as room:
        write(room, bank, router, info)


@contextlib.contextmanager
def replacing(path: Path, layout: Layout, info: Info) -> Iterator[Path]:
    """Replace files of a saved AT-MoE, all at once.

    Args:
        path: its directory, made where it is missing.
        layout: of the new model.
        info: names and limits of the new model.

    Yields:
        A directory, to write the new files into, under the names that they have in `path`. What is
        not written there stays as it is.

    Raises:
        OSError: something cannot be written; the model that lay there is left, whole.
    """
    path.mkdir(parents=True, exist_ok=True)
    _settle(path)
    with files.room(path, SAVING) as room:
        # 1. the new model, whole and on the disk
        try:
            yield room
            _write_config(room / CONFIG, [room, path], layout, info)
            for part in sorted(room.rglob("*")):
                files.sync(part)
            files.sync(room)
        except BaseException as error:
            shutil.rmtree(room, ignore_errors=True)
            if isinstance(error, OSError) and error.filename is not None:
                # by the name that it would have had: the room is gone
                error.filename = str(error.filename).replace(str(room), str(path))
            raise
        # 2. from the first line on it is the one that is saved; a kill after it is made good by
        #    `_settle`, and so is an error
        with files.locked(path):
            os.replace(room / CONFIG, path / CONFIG)
            files.sync(path)
            _put(room, path)
        shutil.rmtree(room, ignore_errors=True)


def _put(room: Path, path: Path, only: Mapping[str, str] | None = None) -> None:
    """Move files to their places.

    Args:
        room: where they lie.
        path: the model's directory.
        only: those of these hashes, by name (default: all).
    """
    for file in sorted(p for p in room.rglob("*") if p.is_file()):
        name = file.relative_to(room)
        if only is None or only.get(name.as_posix()) == _sha256(file):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, path / name)
            files.sync((path / name).parent)


def _settle(path: Path) -> None:
    """Bring to an end what a save has left that was killed; nothing where none was.

    Where nothing may be written (a model on a read-only disk), it is left as it is.
    """
    for room in files.abandoned(path, SAVING):
        hashes: dict[str, str] = {}
        with contextlib.suppress(AssetError):
            hashes = _checked(path / CONFIG)[2]
        with contextlib.suppress(OSError):
            _put(room, path, hashes)
            shutil.rmtree(room)


def write(path: Path, bank: ExpertBank, router: GroupedRouter, info: Info) -> None:
    """Write experts and router, without atmoe.json.

    Args:
        path: a directory.
        bank: its experts are written in bfloat16 where it computes in that, else in float32.
        router: is written in float32.
        info: whose base the experts name as their own.

    Raises:
        OSError: something cannot be written.
    """
    dtype = bank.dtype if bank.dtype is torch.bfloat16 else torch.float32
    base = base_models.peft_name(info.base_name, info.base_sha256, info.base_locator)
    for index, name in enumerate(router.layout.expert_names):
        with files.writing(path / "experts" / name):
            bank.adapter(index).save(path / "experts" / name, *base, dtype, bank.layers)
    save_router(router, path)


def save_router(router: GroupedRouter, path: Path) -> None:
    """Write the router alone into a directory, in float32."""
    tensors = {
        name: tensor.detach().float().cpu().contiguous()
        for name, tensor in router.state_dict().items()
    }
    with files.writing(path / ROUTER):
        save_file(tensors, str(path / ROUTER))


def seal(path: Path, layout: Layout, info: Info) -> None:
    """Write atmoe.json over what lies in `path`: names, limits, and every file's hash."""
    _write_config(path / CONFIG, [path], layout, info)


def _write_config(file: Path, places: Sequence[Path], layout: Layout, info: Info) -> None:
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
    for name in _names(layout):
        found = next((p / name for p in places if (p / name).is_file()), places[-1] / name)
        hashes[name] = _sha256(found)
    config = {
        "format": FORMAT,
        "name": info.name,
        "base": {
            "name": info.base_name,
            "sha256": info.base_sha256,
            **({"locator": dict(info.base_locator)} if info.base_locator else {}),
        },
        "layers": layout.layers,
        "groups": [{"name": g, "experts": list(e)} for g, e in layout.groups],
        "max_prompt_tokens": info.max_prompt_tokens,
        "scripts": list(info.scripts),
        "files": hashes,
    }
    files.replace(file, (json.dumps(config, indent=1) + "\n").encode())


def _names(layout: Layout) -> list[str]:
    """All files that a model of this layout is read from, atmoe.json aside."""
    experts = [f"experts/{name}/{file}" for name in layout.expert_names for file in ADAPTER]
    return [ROUTER, *sorted(experts)]


def read_config(path: str | Path) -> tuple[Info, Layout]:
    """What a saved AT-MoE says of itself, its files checked.

    Raises:
        AssetError: a file is missing, corrupt or unreadable; the sentence names it.
    """
    path = Path(path)
    try:
        _settle(path)
        with files.locked(path, shared=True):  # no save may come between two of these files
            info, layout, hashes = _checked(path / CONFIG)
            for name, sha256 in hashes.items():
                _check(path / name, sha256)
    except OSError as error:
        raise AssetError(
            f"{error.filename or path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    return info, layout


def _checked(file: Path) -> tuple[Info, Layout, dict[str, str]]:
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
            hashlib.sha256(data).hexdigest(),
            _whole(config["max_prompt_tokens"], "max_prompt_tokens", MOST_TOKENS),
            _texts(config["scripts"]),
            _locator(config["base"].get("locator", {})),
        )
        hashes = {name: _text(config["files"][name], name) for name in _names(layout)}
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


def _locator(value: object) -> dict[str, str]:
    """How a base is found again: a few texts by name."""
    if not isinstance(value, dict) or len(value) > 8:
        raise ValueError("the base's locator is no mapping of a few names")
    return {_text(k, "the locator"): _text(v, "the locator", 4096) for k, v in value.items()}


def _check(file: Path, sha256: str) -> None:
    """That a file is the one that was saved."""
    if not file.is_file():
        raise AssetError(f"{file} is missing; restore it, for example with git checkout.")
    if _sha256(file) != sha256:
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


def experts_digest(path: Path) -> str:
    """One hash for all experts saved in `path`: what a router is trained on."""
    hashes = _checked(path / CONFIG)[2]
    digests = [hashes[name] for name in sorted(hashes) if name.startswith("experts/")]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load(
    path: str | Path, base: str | Path | None, dtype: torch.dtype | str, check_base: bool = True
) -> Parts:
    """Read a saved AT-MoE and its base.

    Args:
        path: its directory.
        base: a path or hub id; None = what $ATMOE_BASE names, else the base that the model names.
        dtype: a name that `atmoe.mixture.precision.chosen` takes, or torch's own.
        check_base: False takes another base than the one that `path` was trained on.

    Raises:
        AssetError: something under `path` is missing, corrupt, or made for another base.
        BaseModelError: the base model cannot be had.
        AtMoeError: no precision has that name.
    """
    # 1. what is asked for, and whether this base is the one
    precision = chosen(str(dtype).removeprefix("torch."))
    path = Path(path)
    info, layout = read_config(path)
    base = base or os.environ.get(base_models.VARIABLE) or None
    if base is None and info.base_locator:
        fetched = base_models.locate(info.base_name, info.base_sha256, info.base_locator)
    else:
        fetched = base_models.fetch(base)
    if check_base and info.base_sha256 and fetched.sha256 != info.base_sha256:
        raise AssetError(
            f"{path} was trained on the base {info.base_name} ({info.base_sha256[:12]}…), not on "
            f"{fetched.name} ({fetched.sha256[:12]}…); name that base with --base."
        )
    # 2. the parts; the base first, for that needs most memory
    model, tokenizer = base_models.load(fetched, getattr(torch, computed_in(precision)))
    adapters = [Adapter.load(path / "experts" / name) for name in layout.expert_names]
    for name, adapter in zip(layout.expert_names, adapters):
        warn_of_another_base(name, adapter, fetched)
    router = load_router(path, layout, model)
    if _sha256(path / CONFIG) != info.sha256:
        raise AssetError(f"{path} was saved anew while it was read; load it again.")
    info = replace(
        info,
        base_name=fetched.name,
        base_sha256=fetched.sha256,
        # A model that names no place for its base is left so: saved again, not a byte changes.
        base_locator=fetched.locator if info.base_locator else {},
        base_content=fetched.content,
    )
    parts = build(model, tokenizer, adapters, router, info)
    if precision == "int8":
        to_int8(model)
    return parts


def warn_of_another_base(name: str, adapter: Adapter, base: base_models.Base) -> None:
    """Say so where an adapter's config names another base than the one that it is put beside.

    Args:
        name: the expert's.
        adapter: as it was read.
        base: the base in use.
    """
    own = {base.name, base.for_peft[0], *base.locator.values(), base.path.name}
    if base.sha256 == base_models.DEFAULT.sha256:
        own |= {base_models.DEFAULT.repo, base_models.DEFAULT.file}
    names = {part.casefold() for part in own} | {Path(part).name.casefold() for part in own}
    given = adapter.base.casefold()
    if given and given not in names and Path(given).name not in names:
        log.warning(
            "The adapter %s says that it was trained on %s; beside %s it computes something else "
            "than there.",
            name,
            adapter.base,
            base.name,
        )


def load_router(path: Path, layout: Layout, model: PreTrainedModel) -> GroupedRouter:
    """The router saved in `path`, without gradients.

    Args:
        path: the directory of a saved AT-MoE.
        layout: of that AT-MoE.
        model: the base, for the width of its hidden states.

    Raises:
        AssetError: it is missing, corrupt, or of another base's size.
    """
    router = GroupedRouter(layout, model.config.get_text_config().hidden_size)
    try:
        router.load_state_dict(load_file(str(path / ROUTER)))
    except Exception as error:  # safetensors, torch and the file system each raise their own
        raise AssetError(
            f"The router in {path / ROUTER} cannot be used ({str(error).splitlines()[0]}); restore "
            f"it or train it again."
        ) from error
    return router.requires_grad_(False)


def build(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    adapters: Sequence[Adapter],
    router: GroupedRouter,
    info: Info,
) -> Parts:
    """Put adapters into a base model, in place, and check that the router is of its size.

    Args:
        model: the base.
        tokenizer: the base's.
        adapters: one an expert, in the order of the router's layout.
        router: of the same layout.
        info: where the model comes from.

    Raises:
        AssetError: the base has another number of layers than the router, or the adapters do not
            fit it.
    """
    layers = len(decoder_layers(model)[0])
    if layers != router.layout.layers:
        raise AssetError(
            f"The base model has {layers} layers, the router {router.layout.layers}; use its own "
            f"base."
        )
    # Before adapters are put in, and before int8 parts a head from its embedding.
    parameters = model.num_parameters()
    return Parts(model, tokenizer, ExpertBank(model, adapters), router, info, parameters)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
