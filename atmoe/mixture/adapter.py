"""One LoRA expert, read from PEFT's files and written as such.

"Dropped in" means "equals PEFT", or is refused: `atmoe.mixture.peft_files`.
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
from peft.utils.other import get_pattern_key
from torch import Tensor

from atmoe import files
from atmoe.mixture.peft_files import (
    CONFIG,
    PEFT_PREFIX,
    TARGETS,
    WEIGHTS,
    base_of,
    check_matrices,
    config_of,
    factors_of,
    located,
    number_of,
    pattern_of,
    rank_of,
    refuse_untargeted,
    refuse_what_is_not_plain,
    targeted_by,
    tensors_of,
    usable,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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

    def same(self, other: Adapter) -> bool:
        """Whether both compute the same: every number of both, and what they are scaled by.

        Numbers are compared as the other holds them: one loaded in bfloat16 is its own float32
        file.
        """
        return self.factors.keys() == other.factors.keys() and all(
            math.isclose(self.scaling_of(name), other.scaling_of(name), rel_tol=1e-6)
            and all(torch.equal(one.to(two), two) for one, two in zip(pair, other.factors[name]))
            for name, pair in self.factors.items()
        )

    @property
    def exact(self) -> torch.dtype:
        """The smaller of bfloat16 and float32 that holds every number of its matrices."""
        matrices = (matrix for pair in self.factors.values() for matrix in pair)
        half = all(torch.equal(m.to(torch.bfloat16).to(m.dtype), m) for m in matrices)
        return torch.bfloat16 if half else torch.float32

    @classmethod
    def load(cls, source: str | Path) -> Adapter:
        """Read a LoRA saved by PEFT.

        Args:
            source: a directory, or a hub id ("org/name") where there is no such directory.

        Raises:
            AssetError: there is none, it is damaged, or PEFT would compute something else from it
                than a plain LoRA of linear layers; the sentence names the setting and the cure.
        """
        # 1. the files, and what is in them
        path = located(source)
        config = config_of(path)
        refuse_what_is_not_plain(config, path)
        factors = factors_of(tensors_of(path), path)
        refuse_untargeted(config, factors, path)
        # 2. what each module is scaled by
        rank_pattern = pattern_of(config, "rank_pattern", path)
        alpha_pattern = pattern_of(config, "alpha_pattern", path)
        rank = rank_of(config.get("r", 8), path)
        alpha = number_of(config.get("lora_alpha", 8), path)

        def scaled(alpha: float, rank: int) -> float:
            return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)

        scalings = {}
        for module, pair in factors.items():
            own_rank = rank_pattern.get(get_pattern_key(list(rank_pattern), module), rank)
            own_alpha = alpha_pattern.get(get_pattern_key(list(alpha_pattern), module), alpha)
            own_rank = rank_of(own_rank, path)
            check_matrices(module, pair, own_rank, path)
            scalings[module] = usable(scaled(number_of(own_alpha, path), own_rank), path)
        usual = usable(scaled(alpha, rank), path)
        return cls(
            factors,
            usual,
            alpha,
            {module: scaling for module, scaling in scalings.items() if scaling != usual},
            {name: config[name] for name in TARGETS if config.get(name) not in (None, [], "")},
            base_of(config, path),
        )

    def missing(self, linears: Iterable[str]) -> list[str]:
        """The linears that its config targets and it holds no matrices for.

        Args:
            linears: the paths of all linears of the base model.
        """
        if not self.targets:
            return []
        config = LoraConfig(**self.targets)
        return [name for name in linears if name not in self.factors and targeted_by(config, name)]

    def save(
        self,
        path: Path,
        base: str = "",
        revision: str | None = None,
        dtype: torch.dtype = torch.bfloat16,
        linears: Iterable[str] = (),
    ) -> None:
        """Write the adapter in PEFT's format, so that `PeftModel.from_pretrained` loads it alone.

        Args:
            path: a directory, made where it is missing.
            base: hub id or path of the base model, for PEFT's `AutoPeftModel`; "" names none.
            revision: of that hub id.
            dtype: what its matrices are written in.
            linears: the paths of all linears of the base; where the adapter changes all of those
                that share their last part, the config names them by that part, as PEFT's do.
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
            target_modules=self._target_modules(linears),
            rank_pattern=ranks,
            alpha_pattern=alphas,
            task_type="CAUSAL_LM",
            base_model_name_or_path=base or None,
            revision=revision,
            inference_mode=True,
            use_rslora=stabilised,
        ).save_pretrained(str(path))
        _in_order(path / CONFIG)
        tensors = {
            f"{PEFT_PREFIX}{name}.lora_{letter}.weight": matrix.detach().to(dtype).contiguous()
            for name, factors in self.factors.items()
            for letter, matrix in zip("AB", factors)
        }
        files.write_tensors(path / WEIGHTS[0], tensors, {"format": "pt"})

    def _target_modules(self, linears: Iterable[str]) -> list[str]:
        """The last parts of the module paths where those name just them, else the whole paths."""
        short = {name.rpartition(".")[2] for name in self.factors}
        named = {name for name in linears if name.rpartition(".")[2] in short}
        return sorted(short) if named == set(self.factors) else sorted(self.factors)

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


def _in_order(config: Path) -> None:
    """Sort what PEFT holds as a set, so that the same adapter is the same file."""
    written = json.loads(config.read_text("utf-8"))
    written["target_modules"] = sorted(written["target_modules"])
    config.write_text(json.dumps(written, indent=2, sort_keys=True), "utf-8")
