"""Grouped LoRA experts in concatenated form, mixed by a weight per row, layer and expert.

    y = W x + Σ_e  m_e · (α_e / r_e) · B_e A_e x        m = gain · strength · routing weight   (design: equation y)

      x ──► W ───────────────────────────────► + ──► y
       └──► A = [A_1; …; A_E] ──► ×scale ──► B = [B_1 … B_E] ──┘
            [R, in]               [rows, R]  [out, R]                R = Σ_e r_e

All experts of a linear run as two matrix products whatever their number; the weights act at the rank, where they
cost nothing. Outputs are mixed, never factors: (Σ w B)(Σ w A) is not Σ w B A.

No weight lives on the model. A forward pass finds its own in `mixing(...)`, a context that spans that one
forward in that one thread, so two users at once cannot feel each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftConfig
from peft.utils import load_peft_weights
from safetensors.torch import save_file
from torch import Tensor, nn

from atmoe.errors import AssetError, PlanError

PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """One LoRA expert as PEFT stores it.

    factors: module path in the base model → (A [rank, in], B [out, rank])
    scaling: α / r (α / √r for rank-stabilised LoRA)
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    scaling: float
    alpha: float

    @property
    def rank(self) -> int:
        return max(a.shape[0] for a, _ in self.factors.values())

    @classmethod
    def load(cls, path: Path) -> Adapter:
        """Read a LoRA saved by PEFT (a directory with adapter_config.json and adapter_model.safetensors).

        Raises:
            AssetError: the directory is missing or corrupt, or the adapter is not a plain LoRA on linear layers.
        """
        path = Path(path)
        if not (path / "adapter_config.json").is_file():
            raise AssetError(
                f"{path} holds no PEFT adapter (adapter_config.json is missing); restore the directory."
            )
        try:
            config = PeftConfig.from_pretrained(str(path))
            state = load_peft_weights(str(path), device="cpu")
        except Exception as error:  # whatever PEFT and safetensors raise on a damaged file
            raise AssetError(
                f"The adapter in {path} cannot be read ({type(error).__name__}); restore it from its "
                f"source or train it again."
            ) from error
        if (
            not isinstance(config, LoraConfig)
            or config.use_dora
            or config.bias != "none"
            or config.alpha_pattern
            or config.rank_pattern
            or config.modules_to_save
            or not all(isinstance(x, int | float) and x > 0 for x in (config.r, config.lora_alpha))
        ):
            raise AssetError(
                f"The adapter in {path} is not a plain LoRA (DoRA, biases, alpha and rank patterns and "
                f"saved modules are not supported); train it with PEFT's default LoRA settings."
            )
        factors: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            match = re.fullmatch(re.escape(PEFT_PREFIX) + r"(.+)\.lora_(A|B)\.weight", key)
            if not match:
                raise AssetError(
                    f"The adapter in {path} holds {key!r}, which is no LoRA of a linear layer; "
                    f"train it with PEFT's default LoRA settings."
                )
            factors.setdefault(match[1], {})[match[2]] = value
        if not factors or any(set(f) != {"A", "B"} for f in factors.values()):
            raise AssetError(
                f"The adapter in {path} lacks some of its matrices; restore it or train it again."
            )
        root = config.r**0.5 if config.use_rslora else config.r
        return cls(
            {name: (f["A"], f["B"]) for name, f in factors.items()},
            config.lora_alpha / root,
            config.lora_alpha,
        )

    def save(self, path: Path, base_name: str = "", dtype: torch.dtype = torch.bfloat16) -> None:
        """Write the adapter in PEFT's format, so that `PeftModel.from_pretrained` loads it alone."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=sorted({n.rpartition(".")[2] for n in self.factors}),
            task_type="CAUSAL_LM",
            base_model_name_or_path=base_name or None,
            inference_mode=True,
            use_rslora=not math.isclose(self.scaling, self.alpha / self.rank, rel_tol=1e-5),
        ).save_pretrained(str(path))
        save_file(
            {
                f"{PEFT_PREFIX}{name}.lora_{x}.weight": value.detach().to(dtype).contiguous()
                for name, factors in self.factors.items()
                for x, value in zip("AB", factors)
            },
            str(path / "adapter_model.safetensors"),
            metadata={"format": "pt"},
        )

    @classmethod
    def random(
        cls,
        model: nn.Module,
        modules: Sequence[str],
        rank: int,
        alpha: float,
        generator: torch.Generator | None = None,
    ) -> Adapter:
        """A new adapter as LoRA starts: A Kaiming-uniform, B zero (arXiv 2106.09685)."""
        factors = {}
        for name in modules:
            out_features, in_features = model.get_submodule(name).weight.shape
            bound = (3 / in_features) ** 0.5 * (
                2 / 6
            ) ** 0.5  # kaiming_uniform_(a=√5), PEFT's start
            a = (torch.rand(rank, in_features, generator=generator) * 2 - 1) * bound
            factors[name] = (a, torch.zeros(out_features, rank))
        return cls(factors, alpha / rank, alpha)


class Mixing:
    """The weights of one forward pass: row, layer and expert. Filled up front from plans, or layer by layer by
    the router; read by every adapted linear.
    """

    def __init__(
        self,
        bank: ExpertBank,
        weights: Tensor | None = None,
        watch: Callable[[ExpertLinear, Tensor, Tensor], None] | None = None,
    ):
        """weights: [rows, layers, experts], gain included; None where the router is to fill them.
        watch: called in each adapted linear with it, W x [rows, tokens, out] and m (α/r) A x [rows, tokens, R].
        """
        self._bank, self._dtype, self.watch = bank, bank.dtype, watch
        self._at: list[Tensor | None] = [None] * bank.layers
        if weights is not None:
            if weights.shape[1:] != (bank.layers, len(bank.scaling)):
                raise PlanError(
                    f"The weights have the shape {tuple(weights.shape)}; this model needs "
                    f"(rows, {bank.layers}, {len(bank.scaling)})."
                )
            for layer, at in enumerate((weights * bank.scaling).to(self._dtype).unbind(1)):
                self._at[layer] = at

    def set_layer(self, layer: int, weights: Tensor) -> None:
        """weights: [rows, experts] of one layer."""
        self._at[layer] = (weights * self._bank.scaling).to(self._dtype)

    def scale(self, layer: int, expert_of_rank: Tensor) -> Tensor | None:
        """[rows, 1, R] for a module whose rank k belongs to expert `expert_of_rank[k]`; None = no experts."""
        at = self._at[layer]
        return None if at is None else at[:, None, expert_of_rank]


_mixing: ContextVar[Mixing | None] = ContextVar("atmoe_mixing", default=None)


@contextmanager
def mixed_by(mixing: Mixing | None) -> Iterator[None]:
    """Run one forward pass with these weights; None runs the base model alone. Never hold it across a yield."""
    token = _mixing.set(mixing)
    try:
        yield
    finally:
        _mixing.reset(token)


class ExpertLinear(nn.Module):
    """A frozen linear with every expert's LoRA beside it."""

    def __init__(
        self, linear: nn.Linear, layer: int, factors: Sequence[tuple[Tensor, Tensor] | None]
    ):
        super().__init__()
        self.linear, self.layer = linear, layer
        present = [(e, f) for e, f in enumerate(factors) if f is not None]
        weight = linear.weight
        place = lambda t: nn.Parameter(
            t.detach().to(weight.device, weight.dtype).contiguous(), requires_grad=False
        )
        self.A = place(torch.cat([a for _, (a, _) in present]))
        self.B = place(torch.cat([b for _, (_, b) in present], dim=1))
        ranks = torch.tensor([a.shape[0] for _, (a, _) in present])
        self.register_buffer(
            "expert_of_rank",
            torch.tensor([e for e, _ in present], device=weight.device).repeat_interleave(
                ranks.to(weight.device)
            ),
            persistent=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [rows, tokens, in] → [rows, tokens, out]"""
        y = self.linear(x)
        mixing = _mixing.get()
        scale = None if mixing is None else mixing.scale(self.layer, self.expert_of_rank)
        if scale is None:
            return y
        scaled = F.linear(x, self.A.to(x.dtype)) * scale
        if mixing.watch:
            mixing.watch(self, y, scaled)
        return y + F.linear(scaled, self.B.to(x.dtype))

    def factors(self, expert: int) -> tuple[Tensor, Tensor] | None:
        """One expert's (A, B) in this linear, or None where it adapts nothing here."""
        mine = self.expert_of_rank == expert
        return (self.A[mine], self.B[:, mine]) if mine.any() else None


class ExpertBank(nn.Module):
    """All experts of a model, in one fixed order, put into its linears."""

    def __init__(self, model: nn.Module, adapters: Sequence[Adapter]):
        """Replaces each adapted `nn.Linear` of `model` by an `ExpertLinear`, in place.

        Raises:
            AssetError: an adapter names a module the model lacks, or its matrices do not fit.
        """
        super().__init__()
        layers, prefix = decoder_layers(model)
        self.layers = len(layers)
        self.linears: dict[str, ExpertLinear] = {}
        self.alphas = [a.alpha for a in adapters]
        device = next(model.parameters()).device
        self.register_buffer(
            "scaling", torch.tensor([a.scaling for a in adapters], device=device), persistent=False
        )
        for name in sorted({name for a in adapters for name in a.factors}):
            match = re.match(re.escape(prefix) + r"\.(\d+)\.", name)
            linear = _submodule(model, name)
            if not match or not isinstance(linear, nn.Linear):
                raise AssetError(
                    f"An adapter changes {name!r}, which is no linear of a decoder layer of this base "
                    f"model; use the base the adapters were trained on."
                )
            factors = [a.factors.get(name) for a in adapters]
            for pair in factors:
                if pair and (
                    pair[0].shape[1] != linear.in_features
                    or pair[1].shape[0] != linear.out_features
                    or pair[0].shape[0] != pair[1].shape[1]
                ):
                    raise AssetError(
                        f"An adapter's matrices do not fit {name!r}; use the base it was trained on."
                    )
            expert_linear = ExpertLinear(linear, int(match[1]), factors)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, expert_linear)
            self.linears[name] = expert_linear

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in: the precision of the base's weights, or of their scales where those are int8."""
        linear = next(iter(self.linears.values())).linear
        return getattr(linear, "scale", linear.weight).dtype

    def adapter(self, expert: int) -> Adapter:
        """One expert as PEFT stores it, taken back out of the concatenated form."""
        found = {name: linear.factors(expert) for name, linear in self.linears.items()}
        return Adapter(
            {n: f for n, f in found.items() if f}, float(self.scaling[expert]), self.alphas[expert]
        )

    def parameters_to_train(self) -> list[nn.Parameter]:
        """A and B of every linear, in float32 and with gradients on (master copies while the base may be bf16)."""
        for linear in self.linears.values():
            linear.A, linear.B = (nn.Parameter(p.detach().float()) for p in (linear.A, linear.B))
        return [p for linear in self.linears.values() for p in (linear.A, linear.B)]


def decoder_layers(model: nn.Module) -> tuple[nn.ModuleList, str]:
    """The decoder layers of a causal language model and their path, e.g. "model.layers".

    Raises:
        AssetError: no list of modules has as many entries as the configuration has layers.
    """
    config = model.config.get_text_config()
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and len(module) == config.num_hidden_layers
            and any(
                isinstance(m, nn.Linear) or isinstance(m, ExpertLinear) for m in module[0].modules()
            )
        ):
            return module, name
    raise AssetError(
        f"{type(model).__name__} has no list of decoder layers that this program knows; use a Llama-, "
        f"Qwen- or Gemma-style base model."
    )


def layer_linears(model: nn.Module) -> list[str]:
    """The paths of all linears inside the decoder layers: what a new adapter changes by default."""
    layers, prefix = decoder_layers(model)
    return [
        f"{prefix}.{name}"
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear)
    ]


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
