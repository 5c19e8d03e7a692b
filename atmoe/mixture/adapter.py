"""One LoRA expert as PEFT stores it: read, held against its own config, and written.

    adapter_config.json ─► a setting is computed, changes nothing here, or is refused with its cure
    adapter_model.*     ─► every matrix has the config's shape and is finite; nothing else is there

"Dropped in" therefore means "equals PEFT", or is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import Tensor

from atmoe.errors import AssetError, BaseModelError
from atmoe.mixture import base as base_models

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PEFT_PREFIX = "base_model.model."
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


@dataclass(frozen=True)
class Adapter:
    """One LoRA expert.

    Attributes:
        factors: module path in the base model → (A [rank, in], B [out, rank]).
        scaling: α / r of most modules (α / √r where rank-stabilised).
        alpha: α, from which the scaling was made.
        scalings: the modules whose scaling is another one.
        targets: the config's own words for which modules it changes; empty for one made here.
        base: what the config says it was trained on.
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    scaling: float
    alpha: float
    scalings: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""

    @property
    def rank(self) -> int:
        """The rank of most modules; of those equally many, the largest."""
        ranks = Counter(len(a) for a, _ in self.factors.values())
        return max(ranks, key=lambda rank: (ranks[rank], rank))

    def scaling_of(self, module: str) -> float:
        """What this adapter's part in one module is multiplied by."""
        return self.scalings.get(module, self.scaling)

    @property
    def dtype(self) -> torch.dtype:
        """What its matrices are in; of several precisions, the first."""
        return next(iter(self.factors.values()))[0].dtype

    @classmethod
    def load(cls, source: str | Path) -> Adapter:
        """Read a LoRA saved by PEFT.

        Args:
            source: a directory, or a hub id ("org/name") where there is no such directory.

        Raises:
            AssetError: there is none, it is damaged, or PEFT would compute something else from it
                than a plain LoRA of linear layers; the sentence names the setting and the cure.
        """
        path = located(source)
        config = _config(path)
        _refuse_what_is_not_plain(config, path)
        tensors = _tensors(path)
        factors = _factors(tensors, path)
        rank_pattern = _pattern(config, "rank_pattern", path)
        alpha_pattern = _pattern(config, "alpha_pattern", path)
        rank, alpha = _rank(config.get("r", 8), path), _number(config.get("lora_alpha", 8), path)

        def scaled(alpha: float, rank: int) -> float:
            return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)

        scalings = {}
        for module, pair in factors.items():
            own_rank = rank_pattern.get(get_pattern_key(list(rank_pattern), module), rank)
            own_alpha = alpha_pattern.get(get_pattern_key(list(alpha_pattern), module), alpha)
            own_rank = _rank(own_rank, path)
            _check_matrices(module, pair, own_rank, path)
            scalings[module] = scaled(_number(own_alpha, path), own_rank)
        usual = scaled(alpha, rank)
        return cls(
            factors,
            usual,
            alpha,
            {module: scaling for module, scaling in scalings.items() if scaling != usual},
            {name: config[name] for name in TARGETS if config.get(name) not in (None, [], "")},
            config.get("base_model_name_or_path") or "",
        )

    def missing(self, linears: Iterable[str]) -> list[str]:
        """The linears that its config targets and it holds no matrices for.

        Args:
            linears: the paths of all linears of the base model.
        """
        if not self.targets:
            return []
        config = LoraConfig(**self.targets)
        return [
            name
            for name in linears
            if name not in self.factors and check_target_module_exists(config, name) is True
        ]

    def save(
        self,
        path: Path,
        base: str = "",
        revision: str | None = None,
        dtype: torch.dtype = torch.bfloat16,
        layers: int | None = None,
    ) -> None:
        """Write the adapter in PEFT's format, so that `PeftModel.from_pretrained` loads it alone.

        Args:
            path: a directory, made where it is missing.
            base: hub id or path of the base model, for PEFT's `AutoPeftModel`; "" names none.
            revision: of that hub id.
            dtype: what its matrices are written in.
            layers: how many decoder layers the base has; where the adapter changes the same linears
                of all of them, the config names them by their last part, as PEFT's do.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        usual_rank = self.rank
        stabilised = not math.isclose(self.scaling, self.alpha / usual_rank, rel_tol=1e-5)
        ranks, alphas = {}, {}
        for module, (a, _) in self.factors.items():
            rank = len(a)
            divisor = math.sqrt(rank) if stabilised else rank
            usual = self.alpha / divisor
            if rank != usual_rank:
                ranks[re.escape(module)] = rank
            if not math.isclose(self.scaling_of(module), usual, rel_tol=1e-5):
                alphas[re.escape(module)] = self.scaling_of(module) * divisor
        LoraConfig(
            r=usual_rank,
            lora_alpha=self.alpha,
            target_modules=self._target_modules(layers),
            rank_pattern=ranks,
            alpha_pattern=alphas,
            task_type="CAUSAL_LM",
            base_model_name_or_path=base or None,
            revision=revision,
            inference_mode=True,
            use_rslora=stabilised,
        ).save_pretrained(str(path))
        tensors = {
            f"{PEFT_PREFIX}{name}.lora_{letter}.weight": matrix.detach().to(dtype).contiguous()
            for name, factors in self.factors.items()
            for letter, matrix in zip("AB", factors)
        }
        save_file(tensors, str(path / WEIGHTS[0]), metadata={"format": "pt"})

    def _target_modules(self, layers: int | None) -> list[str]:
        """The last parts of the module paths where those name just them, else the whole paths."""
        short = sorted({name.rpartition(".")[2] for name in self.factors})
        whole = layers is not None and len(self.factors) == layers * len(short)
        return short if whole else sorted(self.factors)

    @classmethod
    def random(
        cls,
        model: PreTrainedModel,
        modules: Sequence[str],
        rank: int,
        alpha: float,
        generator: torch.Generator | None = None,
    ) -> Adapter:
        """A new adapter as LoRA starts: A Kaiming-uniform, B zero (arXiv 2106.09685).

        Args:
            model: the base model, for the sizes of its linears.
            modules: the paths of the linears to adapt.
            rank: of every module.
            alpha: its scaling is alpha / rank.
            generator: draws A; None = torch's own.
        """
        factors = {}
        for name in modules:
            out_features, in_features = model.get_submodule(name).weight.shape
            # kaiming_uniform_(a=√5), PEFT's start
            bound = (3 / in_features) ** 0.5 * (2 / 6) ** 0.5
            a = (torch.rand(rank, in_features, generator=generator) * 2 - 1) * bound
            factors[name] = (a, torch.zeros(out_features, rank))
        return cls(factors, alpha / rank, alpha)


def located(source: str | Path) -> Path:
    """The directory that holds the adapter.

    Raises:
        AssetError: there is none, and no hub has one.
    """
    path = Path(source).expanduser()
    if (path / CONFIG).is_file():
        return path
    if path.exists():
        raise AssetError(
            f"{path} holds no PEFT adapter ({CONFIG} is missing); restore the directory."
        )
    if not base_models.is_hub_id(source) or path.parent.is_dir():
        raise AssetError(
            f"{path} holds no PEFT adapter (there is no such directory); restore it, or name "
            f"another, or a hub id like org/name."
        )
    try:
        return base_models.snapshot(str(source), [CONFIG, *WEIGHTS])
    except BaseModelError as error:
        raise AssetError(
            f"There is no directory {source} here, and no such adapter on the hub ({error}); check "
            f"the spelling, or use the path of an adapter that you have."
        ) from error


def _config(path: Path) -> dict[str, Any]:
    """The config as it stands in the file, whatever version of PEFT wrote it."""
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(
            f"The adapter in {path} cannot be read ({type(error).__name__}); restore it from its "
            f"source or train it again."
        ) from error
    if not isinstance(config, dict):
        raise AssetError(f"{path / CONFIG} is no PEFT config; restore it from its source.")
    return config


def _refuse_what_is_not_plain(config: Mapping[str, Any], path: Path) -> None:
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
            f"{CURES.get(name, UNKNOWN).capitalize()}."
        )
    if not isinstance(config.get("use_rslora"), bool | None):
        raise AssetError(
            f"The adapter in {path} has a use_rslora that is no yes or no; restore it."
        )


def _tensors(path: Path) -> dict[str, Tensor]:
    """All matrices in the file, in the precision in which they were saved."""
    file = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise AssetError(
            f"The adapter in {path} has no {WEIGHTS[0]}; restore it or train it again."
        )
    try:
        if file.suffix == ".safetensors":
            return load_file(str(file), device="cpu")
        return torch.load(str(file), map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch and the file system each raise their own
        raise AssetError(
            f"The adapter in {path} cannot be read ({type(error).__name__}); restore it from its "
            f"source or train it again."
        ) from error


def _factors(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The matrices by module."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(PEFT_PREFIX) + r"(.+)\.lora_(A|B)\.weight", str(key))
        if not match or not isinstance(tensor, Tensor):
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


def _check_matrices(module: str, pair: tuple[Tensor, Tensor], rank: int, path: Path) -> None:
    """The matrices of one module are two, of the config's rank, finite and of a usable type."""
    for letter, matrix, side in zip("AB", pair, (0, 1)):
        name = f"lora_{letter} of {module}"
        if matrix.dtype not in FLOATING:
            kind = str(matrix.dtype).removeprefix("torch.")
            raise AssetError(
                f"The adapter in {path} holds {name} as {kind}; save it in float32, float16 or "
                f"bfloat16."
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
        if not torch.isfinite(matrix).all():
            raise AssetError(
                f"The adapter in {path} holds a number that is not finite in {name}; train it "
                f"again."
            )


def _pattern(config: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    pattern = config.get(name) or {}
    if not isinstance(pattern, dict):
        raise AssetError(f"The adapter in {path} has a {name} that is no mapping; restore it.")
    return pattern


def _rank(value: Any, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AssetError(
            f"The adapter in {path} has the rank {value!r} in its config; restore the config."
        )
    return value


def _number(value: Any, path: Path) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise AssetError(
            f"The adapter in {path} has the alpha {value!r} in its config; restore the config."
        )
    return value
