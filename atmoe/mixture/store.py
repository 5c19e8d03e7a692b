"""A saved AT-MoE: a directory that names its experts and proves that nothing in it has changed.

atmoe.json                         names, base, limits, and the sha256 of every file below
router.safetensors                 float32
experts/<group>/<expert>/          one LoRA each, in PEFT's own format
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file

from atmoe import files
from atmoe.errors import AssetError
from atmoe.mixture import base as base_models
from atmoe.mixture import base_loading
from atmoe.mixture.config import ADAPTER, CONFIG, ROUTER, Info, digest_of
from atmoe.mixture.experts import Adapter, ExpertBank, decoder_layers
from atmoe.mixture.int4 import to_int4
from atmoe.mixture.int8 import to_int8
from atmoe.mixture.precision import chosen, computed_in
from atmoe.mixture.replacing import read_config, replacing
from atmoe.routing.layout import Layout
from atmoe.routing.router import GroupedRouter

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


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


def save(
    path: str | Path,
    bank: ExpertBank,
    router: GroupedRouter,
    info: Info,
    origin: Path | None = None,
) -> None:
    """Write experts (PEFT format), router and atmoe.json.

    Args:
        path: a directory, made where it is missing. A model that lies there is replaced at once.
        bank: its experts are written in bfloat16 where that holds every number, else in float32.
        router: is written in float32.
        info: names and limits; its own sha256 is not written.
        origin: as of `write`.

    Raises:
        OSError: something cannot be written; the model that lay there is left, whole.
    """
    with replacing(Path(path), router.layout, info) as room:
        write(room, bank, router, info, origin)


def write(
    path: Path,
    bank: ExpertBank,
    router: GroupedRouter,
    info: Info,
    origin: Path | None = None,
) -> None:
    """Write experts and router, without atmoe.json.

    Args:
        path: a directory.
        bank: its experts are written in bfloat16 where that holds every number, else in float32.
        router: is written in float32.
        info: whose base the experts name as their own.
        origin: where the model was loaded from: what is still the same there, in the precision
            that it is held in, is taken to the byte, so that a model that nobody changed stays the
            same model.

    Raises:
        OSError: something cannot be written.
    """
    base = base_models.peft_name(info.base_name, info.base_sha256, info.base_locator)
    for index, name in enumerate(router.layout.expert_names):
        with files.writing(path / "experts" / name):
            adapter, own = bank.adapter(index), path / "experts" / name
            if origin is None or not _copied(origin / "experts" / name, adapter, own):
                adapter.save(own, *base, adapter.exact, bank.names)
    save_router(router, path)


def _copied(source: Path, adapter: Adapter, path: Path) -> bool:
    """Copy an expert's files where they hold this very adapter; else do nothing."""
    try:
        if not Adapter.load(source).same(adapter):
            return False
    except AssetError as error:  # gone, or changed since it was read
        if adapter.dtype != torch.float32:
            log.warning(
                "%s An expert is saved as it was rounded when it was loaded; to have every number, "
                "load the model in float32 before it is saved.",
                error,
            )
        return False
    path.mkdir(parents=True, exist_ok=True)
    copy_expert(source, path)
    return True


def copy_expert(source: Path, path: Path) -> None:
    """Take an expert's files as they are, from directory to directory."""
    for file in ADAPTER:
        shutil.copyfile(source / file, path / file)


def save_router(router: GroupedRouter, path: Path) -> None:
    """Write the router alone into a directory, in float32."""
    tensors = {
        name: tensor.detach().float().cpu().contiguous()
        for name, tensor in router.state_dict().items()
    }
    floor = tensors.get("planner.group_floor")
    if floor is not None and bool((floor == floor[0]).all()):
        # One for all, as it was written before groups had floors of their own: a model of then that
        # is saved again must stay the same to the byte, or its index and card would not be its own.
        tensors["planner.group_floor"] = floor[:1].clone()
    files.write_tensors(path / ROUTER, tensors)


def load(
    path: str | Path,
    base: str | Path | None,
    dtype: torch.dtype | str,
    check_base: bool = True,
    device: str = "cpu",
) -> Parts:
    """Read a saved AT-MoE and its base.

    Args:
        path: its directory.
        base: a path or hub id; None = what $ATMOE_BASE names, else the base that the model names.
        dtype: a name that `atmoe.mixture.precision.chosen` takes, or torch's own.
        check_base: False takes another base than the one that `path` was trained on.
        device: where it will be, for "auto" is what that is quick in; the parts are on the CPU.

    Raises:
        AssetError: something under `path` is missing, corrupt, or made for another base.
        BaseModelError: the base model cannot be had.
        AtMoeError: no precision has that name.
    """
    # 1. what is asked for, and whether this base is the one
    precision = chosen(str(dtype).removeprefix("torch."), device)
    path = Path(path)
    info, layout = read_config(path)
    fetched = base_of(info, base_models.named(base))
    if check_base and not info.base_sha256:
        raise AssetError(f"{path} does not say which base it was trained on; train it again.")
    if check_base and fetched.sha256 != info.base_sha256:
        raise AssetError(
            f"{path} was trained on the base {info.base_name} ({info.base_sha256[:12]}…), not on "
            f"{fetched.name} ({fetched.sha256[:12]}…); name that base with --base."
        )
    if check_base and info.base_setup not in ("", fetched.setup):
        raise AssetError(
            f"{path} was trained on the base {info.base_name} with another config, tokenizer or "
            f"chat template than {fetched.path} has; name the base as it was with --base."
        )
    # 2. the parts; the base first, for that needs most memory
    model, tokenizer = base_loading.load(fetched, getattr(torch, computed_in(precision)))
    adapters = [Adapter.load(path / "experts" / name) for name in layout.expert_names]
    names: set[str] = set()
    if fetched.sha256 == info.base_sha256:  # the very same, wherever it lies now
        own = base_models.peft_name(info.base_name, info.base_sha256, info.base_locator)[0]
        names = {info.base_name, own, *info.base_locator.values()}
    for name, adapter in zip(layout.expert_names, adapters):
        warn_of_another_base(name, adapter, fetched, names)
    router = load_router(path, layout, model)
    if digest_of((path / CONFIG).read_bytes()) != info.sha256:
        raise AssetError(f"{path} was saved anew while it was read; load it again.")
    info = replace(
        info,
        base_name=fetched.name,
        base_sha256=fetched.sha256,
        # A model that names no place for its base is left so: saved again, not a byte changes.
        base_locator=fetched.locator if info.base_locator else {},
        base_content=fetched.content,
        base_setup=fetched.setup if info.base_setup else "",  # so is one that says none
    )
    parts = build(model, tokenizer, adapters, router, info)
    if precision == "int8":
        to_int8(model)
    elif precision == "int4":
        to_int4(model)
    return parts


def base_of(info: Info, base: str | Path | None) -> base_models.Base:
    """The base that is named, else the one that a model names.

    Args:
        info: of the model; one that names no place for its base is on the default.
        base: a path or hub id; None = the model's own.

    Raises:
        BaseModelError: it cannot be had.
    """
    if base is None and info.base_locator:
        return base_models.locate(info.base_name, info.base_sha256, info.base_locator)
    return base_models.fetch(base)


def warn_of_another_base(
    name: str, adapter: Adapter, base: base_models.Base, also: Iterable[str] = ()
) -> None:
    """Say so where an adapter's config names another base than the one that it is put beside.

    Args:
        name: the expert's.
        adapter: as it was read.
        base: the base in use.
        also: other names of it.
    """
    own = {*also, base.name, base.for_peft[0], *base.locator.values(), base.path.name}
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
    hidden = model.config.get_text_config().hidden_size
    try:
        tensors = load_file(str(path / ROUTER))
        layer = tensors.get("planner.hidden_weight")
        width = 0 if layer is None else layer.shape[1]
        reads = tensors.get("planner.weight") if layer is None else layer
        depth = 0 if reads is None else len(reads)
        letters = tensors.get("planner.spelling.rarity")
        pieces = 0 if letters is None else len(letters)
        if depth >= layout.layers:
            raise ValueError(f"its planner reads {depth} of {layout.layers} layers")
        router = GroupedRouter(layout, hidden, depth=depth, width=width, pieces=pieces)
        if depth:
            # a planner of before groups could take no part: they all do, as in a new one
            own = router.state_dict()
            tensors = {k: own[k] for k in own if k.startswith("planner.group_")} | tensors
            # one of before groups had floors of their own: all have that one
            for name in ("planner.floor", "planner.group_floor"):
                tensors[name] = tensors[name].expand_as(own[name])
        router.load_state_dict(tensors)
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
