"""A LoRA as PEFT saved it, held against its own config.

adapter_config.json ─► a setting is computed, changes nothing here, or is refused with its cure
adapter_model.*     ─► every matrix has the config's shape and is finite; nothing else is there
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import load_file
from torch import Tensor

from atmoe.errors import AssetError, BaseModelError
from atmoe.mixture.snapshots import is_hub_id, snapshot

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PEFT_PREFIX = "base_model.model."
MOST_SCALING, MOST_RANK = 1e9, 2**20
FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

COMPUTED = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")
TARGETS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
HARMLESS = frozenset(
    (
        # Who made it, and for what.
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        # Of training alone: an adapter at rest has no dropout, and its matrices are there already.
        "inference_mode",
        "lora_dropout",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "loftq_config",
        "runtime_config",
        "ensure_weight_tying",
        # For layers of other kinds than the linears of a decoder, which are all that we change.
        "fan_in_fan_out",
        "megatron_config",
        "megatron_core",
        "qalora_group_size",
    )
)
BEGINNINGS = (True, False, None, "true", "false", "gaussian", "orthogonal", "eva", "mica")
"""`init_lora_weights` that leave the base as it was.

The others take what they begin with out of the base's weights."""
CURES = {
    "use_dora": "DoRA also rescales the weights; train without use_dora, or merge it into the base",
    "bias": "it changes the base's biases too; train with bias='none'",
    "lora_bias": "it adds biases of its own; train with lora_bias=False",
    "modules_to_save": "it replaces whole modules of the base; train without modules_to_save",
    "trainable_token_indices": "it changes token embeddings; train without trainable_token_indices",
    "layer_replication": "it repeats layers of the base; expand the base and train on that",
    "target_parameters": "it changes bare parameters; target linear layers by target_modules",
    "alora_invocation_tokens": "it acts on a part of the prompt only; train a plain LoRA",
    "arrow_config": "it routes among other adapters; name those one by one as experts",
}
UNKNOWN = "this program knows no such setting; train it with PEFT's default LoRA settings"


def located(source: str | Path) -> Path:
    """The directory that holds the adapter.

    Raises:
        AssetError: there is none, and no hub has one.
    """
    path = Path(os.path.expanduser(source))  # unlike Path's own, lets an unknown ~user pass
    try:
        holds, exists = (path / CONFIG).is_file(), path.exists()
    except OSError as error:  # a name that no file can have
        raise AssetError(f"{str(path)[:100]} is no path ({error.strerror}); check it.") from error
    if holds:
        return path
    if exists:
        raise AssetError(
            f"{path} holds no PEFT adapter ({CONFIG} is missing); restore the directory."
        )
    if not is_hub_id(source) or path.parent.is_dir():
        raise AssetError(
            f"{path} holds no PEFT adapter (there is no such directory); restore it, or name "
            f"another, or a hub id like org/name."
        )
    try:
        return snapshot(str(source), [CONFIG, *WEIGHTS])
    except BaseModelError as error:
        raise AssetError(
            f"There is no directory {source} here, and no such adapter on the hub ({error}); check "
            f"the spelling, or use the path of an adapter that you have."
        ) from error


def config_of(path: Path) -> dict[str, Any]:
    """The config as it stands in the file, whatever version of PEFT wrote it."""
    try:
        config = json.loads((path / CONFIG).read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(
            f"The adapter in {path} cannot be read ({type(error).__name__}); restore it from its "
            f"source or train it again."
        ) from error
    if not isinstance(config, dict):
        raise AssetError(f"{path / CONFIG} is no PEFT config; restore it from its source.")
    return config


def refuse_what_is_not_plain(config: Mapping[str, Any], path: Path) -> None:
    """Every setting is computed here, changes nothing here, or is at its default.

    Raises:
        AssetError: one is none of these.
    """
    kind = config.get("peft_type")
    if str(kind).rpartition(".")[2].upper() != "LORA":
        raise AssetError(
            f"The adapter in {path} is not a plain LoRA (it is {kind}); train it with PEFT's LoRA."
        )
    defaults = LoraConfig().to_dict()
    for name, value in config.items():
        if name in HARMLESS or name in COMPUTED or name in TARGETS or name == "peft_type":
            continue
        if name == "init_lora_weights":
            if value in BEGINNINGS or str(value).lower() in BEGINNINGS:
                continue
            raise AssetError(
                f"The adapter in {path} began as {value!r}, which takes its first weights out of "
                f"the base's: beside the base as it is, it computes something else. Save it with "
                f"PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it."
            )
        if value in (None, False, [], {}, ()) or value == defaults.get(name, object()):
            continue
        raise AssetError(
            f"The adapter in {path} is not a plain LoRA: it sets {name}. "
            f"{_sentence(CURES.get(name, UNKNOWN))}."
        )
    if not isinstance(config.get("use_rslora"), bool | None):
        raise AssetError(
            f"The adapter in {path} has a use_rslora that is no yes or no; restore it."
        )


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All matrices in the file, in the precision in which they were saved."""
    file = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise AssetError(
            f"The adapter in {path} has no {WEIGHTS[0]}; restore it or train it again."
        )
    try:
        if file.suffix == ".safetensors":
            return load_file(str(file), device="cpu")
        tensors = torch.load(str(file), map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict):
            raise TypeError(f"it holds a {type(tensors).__name__}")
        return tensors
    except Exception as error:  # safetensors, torch and the file system each raise their own
        raise AssetError(
            f"The adapter in {path} cannot be read ({type(error).__name__}); restore it from its "
            f"source or train it again."
        ) from error


def factors_of(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The matrices by module."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(PEFT_PREFIX) + r"(.+)\.lora_(A|B)\.weight", str(key))
        if not match or not isinstance(tensor, Tensor):
            if "lm_head" in str(key) or "embed" in str(key):
                raise AssetError(
                    f"The adapter in {path} changes the base's head or embeddings ({key}), which "
                    f"is not supported; train it without them in target_modules."
                )
            raise AssetError(
                f"The adapter in {path} holds {key!r}, which is no LoRA of a linear layer; train "
                f"it with PEFT's default LoRA settings."
            )
        found.setdefault(match[1], {})[match[2]] = tensor
    if not found or any(set(pair) != {"A", "B"} for pair in found.values()):
        raise AssetError(
            f"The adapter in {path} lacks some of its matrices; restore it or train it again."
        )
    return {module: (pair["A"], pair["B"]) for module, pair in found.items()}


def check_matrices(module: str, pair: tuple[Tensor, Tensor], rank: int, path: Path) -> None:
    """The matrices of one module are two, of the config's rank, finite and of a usable type."""
    for letter, matrix, side in zip("AB", pair, (0, 1)):
        name = f"lora_{letter} of {module}"
        if matrix.dtype not in FLOATING:
            kind = str(matrix.dtype).removeprefix("torch.")
            raise AssetError(
                f"The adapter in {path} holds {name} as {kind}; save it in float32, float16 or "
                f"bfloat16."
            )
        if matrix.layout is not torch.strided or matrix.device.type == "meta":
            raise AssetError(
                f"The adapter in {path} holds {name} without its numbers, or sparse; save it dense."
            )
        if matrix.numel() == 0:
            raise AssetError(
                f"The adapter in {path} holds an empty {name}, as DeepSpeed's ZeRO-3 leaves it; "
                f"gather the weights before saving (zero_to_fp32.py)."
            )
        if matrix.dim() != 2 or matrix.shape[side] != rank:
            raise AssetError(
                f"The adapter in {path} holds {name} with the shape {tuple(matrix.shape)}, but its "
                f"config says rank {rank}; restore the config that it was trained with."
            )
        if not torch.isfinite(matrix.float()).all():
            raise AssetError(
                f"The adapter in {path} holds a number that is not finite in {name}; train it "
                f"again."
            )


def pattern_of(config: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """What a config says of single modules: regular expression → rank, or alpha.

    Raises:
        AssetError: it is no mapping, or an expression cannot be used.
    """
    pattern = config.get(name) or {}
    if not isinstance(pattern, dict):
        raise AssetError(f"In the adapter in {path}, {name} is no mapping; restore the config.")
    for expression in pattern:
        _check_expression(expression, name, path)
    return pattern


def _check_expression(expression: Any, name: str, path: Path) -> None:
    """That a regular expression of a config can be tried.

    Raises:
        AssetError: it is none, or one that may take for ever.
    """
    try:
        re.compile(expression)
        endless = len(expression) > 1000 or re.search(r"\([^()]*[*+][^()]*\)[*+]", expression)
    except (TypeError, re.error, RecursionError, OverflowError):
        endless = True
    if endless:
        raise AssetError(
            f"In the adapter in {path}, {name} holds {str(expression)[:80]!r}, which cannot be "
            f"used as a pattern; name the modules plainly."
        )


def targeted_by(config: LoraConfig, module: str) -> bool:
    """Whether PEFT would change a module under this config."""
    return bool(check_target_module_exists(config, module))


def refuse_untargeted(config: Mapping[str, Any], modules: Iterable[str], path: Path) -> None:
    """Every module that has matrices is one that PEFT changes under this config; it drops others.

    Raises:
        AssetError: one is not, or the config does not say which are.
    """
    targets = {name: config[name] for name in TARGETS if config.get(name) not in (None, [], "")}
    for name in ("target_modules", "exclude_modules", "layers_pattern"):
        value = targets.get(name)
        if isinstance(value, str):
            _check_expression(value, name, path)
        elif value is not None and not (
            isinstance(value, list) and all(isinstance(part, str) for part in value)
        ):
            raise AssetError(f"In the adapter in {path}, {name} is no list of names; restore it.")
    if "target_modules" not in targets:
        raise AssetError(
            f"The adapter in {path} does not say which modules it changes; write target_modules "
            f"into its {CONFIG}."
        )
    try:
        lora = LoraConfig(**targets)
        untargeted = [module for module in modules if not targeted_by(lora, module)]
    except (TypeError, ValueError, re.error) as error:
        raise AssetError(
            f"The adapter in {path} names its modules in a way that PEFT refuses "
            f"({str(error).splitlines()[0][:160].rstrip('.')}); restore its {CONFIG}."
        ) from error
    if untargeted:
        raise AssetError(
            f"The adapter in {path} holds matrices for {len(untargeted)} modules that its config "
            f"does not target (such as {untargeted[0]!r}), which PEFT leaves out; restore its "
            f"{CONFIG}."
        )


def base_of(config: Mapping[str, Any], path: Path) -> str:
    """What a config says its adapter was trained on; "" where it says nothing.

    Raises:
        AssetError: it is no name.
    """
    base = config.get("base_model_name_or_path") or ""
    if not isinstance(base, str):
        raise AssetError(
            f"In the adapter in {path}, base_model_name_or_path is no name; restore the config."
        )
    return base


def usable(scaling: float, path: Path) -> float:
    """Raises: AssetError, where nothing finite could come of a scaling."""
    if not abs(scaling) < MOST_SCALING:
        raise AssetError(
            f"The adapter in {path} is scaled by {scaling:.3g}; restore the config that it was "
            f"trained with."
        )
    return scaling


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def rank_of(value: Any, path: Path) -> int:
    """A rank as a config has it.

    Raises:
        AssetError: it is no whole number from 1 up, or an absurd one.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_RANK:
        raise AssetError(
            f"The adapter in {path} has the rank {str(value)[:40]} in its config; restore the "
            f"config."
        )
    return value


def number_of(value: Any, path: Path) -> float:
    """An alpha as a config has it.

    Raises:
        AssetError: it is no finite number.
    """
    try:
        finite = not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        raise AssetError(
            f"The adapter in {path} has the alpha {str(value)[:40]} in its config; restore the "
            f"config."
        )
    return value
