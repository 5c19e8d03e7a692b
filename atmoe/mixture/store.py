"""A saved AT-MoE: a directory that names its experts and proves that nothing in it has changed.

atmoe.json                         names, base, limits, and the sha256 of every file below
router.safetensors                 float32
experts/<group>/<expert>/          one LoRA each, in PEFT's own format
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from atmoe.errors import AssetError
from atmoe.mixture import base as base_models
from atmoe.mixture.experts import Adapter, ExpertBank, decoder_layers
from atmoe.mixture.int8 import to_int8
from atmoe.mixture.precision import chosen, computed_in
from atmoe.routing.plan import Layout
from atmoe.routing.router import GroupedRouter

FORMAT = 1
CONFIG, ROUTER = "atmoe.json", "router.safetensors"


@dataclass(frozen=True)
class Info:
    """Where a model comes from and what it may be asked. Written to and read from atmoe.json."""

    name: str
    base_name: str = ""
    base_sha256: str = ""
    sha256: str = ""
    max_prompt_tokens: int = 1024
    scripts: tuple[str, ...] = ()


class Parts(NamedTuple):
    """What a `Mixture` is made of, in the order in which it takes them."""

    model: Any
    tokenizer: Any
    bank: ExpertBank
    router: GroupedRouter
    info: Info
    base_parameters: int


def save(path: str | Path, bank: ExpertBank, router: GroupedRouter, info: Info) -> None:
    """Write experts (PEFT format), router and atmoe.json."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    dtype = bank.dtype if bank.dtype is torch.bfloat16 else torch.float32
    for index, name in enumerate(router.layout.expert_names):
        bank.adapter(index).save(path / "experts" / name, info.base_name, dtype)
    save_router(router, path)
    seal(path, router.layout, info)


def save_router(router: GroupedRouter, path: Path) -> None:
    save_file(
        {k: v.detach().float().cpu().contiguous() for k, v in router.state_dict().items()},
        str(path / ROUTER),
    )


def seal(path: Path, layout: Layout, info: Info) -> None:
    """Write atmoe.json over what lies in `path`: names, limits, and every file's hash."""
    files = [
        path / ROUTER,
        *sorted(p for p in (path / "experts").rglob("*") if p.suffix in (".safetensors", ".json")),
    ]
    (path / CONFIG).write_text(
        json.dumps(
            {
                "format": FORMAT,
                "name": info.name,
                "base": {"name": info.base_name, "sha256": info.base_sha256},
                "layers": layout.layers,
                "groups": [{"name": g, "experts": list(e)} for g, e in layout.groups],
                "max_prompt_tokens": info.max_prompt_tokens,
                "scripts": list(info.scripts),
                "files": {str(p.relative_to(path)): _sha256(p) for p in files},
            },
            indent=1,
        )
        + "\n"
    )


def read_config(path: str | Path) -> tuple[Info, Layout]:
    """What a saved AT-MoE says of itself, its files checked.

    Raises:
        AssetError: a file is missing, corrupt or unreadable; the sentence names it.
    """
    path = Path(path)
    file = path / CONFIG
    if not file.is_file():
        raise AssetError(
            f"{path} holds no AT-MoE model ({CONFIG} is missing); name the directory of a trained one."
        )
    try:
        config = json.loads(file.read_text())
        if config["format"] != FORMAT:
            raise AssetError(
                f"{file} has format {config['format']}; this version reads format {FORMAT}; "
                f"use the version it was saved with, or train it again."
            )
        layout = Layout.of(config["layers"], {g["name"]: g["experts"] for g in config["groups"]})
        info = Info(
            config["name"],
            config["base"]["name"],
            config["base"]["sha256"],
            _sha256(file),
            config["max_prompt_tokens"],
            tuple(config["scripts"]),
        )
        files = dict(config["files"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, AssetError):
            raise
        raise AssetError(
            f"{file} cannot be read ({error}); restore it, for example with git checkout."
        ) from error
    for name, sha256 in files.items():
        if not (path / name).is_file():
            raise AssetError(
                f"{path / name} is missing; restore it, for example with git checkout."
            )
        if _sha256(path / name) != sha256:
            raise AssetError(
                f"{path / name} is not the file that was saved (its sha256 differs); restore it."
            )
    return info, layout


def experts_digest(path: Path) -> str:
    """One hash for all experts saved in `path`: what a router is trained on."""
    files = json.loads((path / CONFIG).read_text())["files"]
    return hashlib.sha256(
        "".join(v for k, v in sorted(files.items()) if k.startswith("experts/")).encode()
    ).hexdigest()


def load(
    path: str | Path, base: str | Path | None, dtype: torch.dtype | str, check_base: bool = True
) -> Parts:
    """Read a saved AT-MoE and its base.  Arguments and errors: see `AtMoe.from_pretrained`."""
    precision = chosen(str(dtype).removeprefix("torch."))
    path = Path(path)
    info, layout = read_config(path)
    fetched = base_models.fetch(base)
    if check_base and info.base_sha256 and fetched.sha256 != info.base_sha256:
        raise AssetError(
            f"{path} was trained on the base {info.base_name} ({info.base_sha256[:12]}…), not on "
            f"{fetched.name} ({fetched.sha256[:12]}…); name that base with --base."
        )
    # The base first, for that needs most memory.
    model, tokenizer = base_models.load(fetched, getattr(torch, computed_in(precision)))
    adapters = [Adapter.load(path / "experts" / name) for name in layout.expert_names]
    router = load_router(path, layout, model)
    info = replace(info, base_name=fetched.name, base_sha256=fetched.sha256)
    parts = build(model, tokenizer, adapters, router, info)
    if precision == "int8":
        to_int8(model)
    return parts


def load_router(path: Path, layout: Layout, model: torch.nn.Module) -> GroupedRouter:
    """The router saved in `path`.

    Raises:
        AssetError: it is missing, corrupt, or of another base's size.
    """
    router = GroupedRouter(layout, model.config.get_text_config().hidden_size)
    try:
        router.load_state_dict(load_file(str(path / ROUTER)))
    except Exception as error:  # safetensors, torch and the file system each raise their own
        raise AssetError(
            f"The router in {path / ROUTER} cannot be used ({str(error).splitlines()[0]}); restore it or "
            f"train it again."
        ) from error
    return router.requires_grad_(False)


def build(
    model, tokenizer, adapters: Sequence[Adapter], router: GroupedRouter, info: Info
) -> Parts:
    """Put adapters around a base model, in place, and check that the router is of its size.

    Raises:
        AssetError: the base has another number of layers than the router, or the adapters do not fit it.
    """
    layers = len(decoder_layers(model)[0])
    if layers != router.layout.layers:
        raise AssetError(
            f"The base model has {layers} layers, the router {router.layout.layers}; use its own base."
        )
    parameters = (
        model.num_parameters()
    )  # before adapters are put in, and before int8 parts a head from its embedding
    return Parts(model, tokenizer, ExpertBank(model, adapters), router, info, parameters)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
