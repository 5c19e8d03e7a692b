"""Grouped LoRA experts in concatenated form, mixed by a weight per row, layer and expert.

    y = W x + Σ_e  m_e · (α_e / r_e) · B_e A_e x        m = gain · strength · routing weight

      x ──► W ───────────────────────────────► + ──► y
       └──► A = [A_1; …; A_E] ──► ×scale ──► B = [B_1 … B_E] ──┘
            [R, in]               [rows, R]  [out, R]                R = Σ_e r_e

All experts of a linear run as two matrix products whatever their number; the weights act at the
rank, where they cost nothing. Outputs are mixed, never factors: (Σ w B)(Σ w A) is not Σ w B A.

No weight lives on the model. A forward pass finds its own in `mixed_by(...)`, a context that spans
that one forward in that one thread, so two users at once cannot feel each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atmoe.errors import AssetError, PlanError
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.memory import give_back_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Mixing:
    """The weights of one forward pass: row, layer and expert.

    Filled up front from plans, or layer by layer by the router; read by every adapted linear.

    Args:
        bank: the experts that are weighed.
        weights: [rows, layers, experts], gain included; None where the router is to fill them.
        watch: called in each adapted linear with it, W x [rows, tokens, out] and
            m (α/r) A x [rows, tokens, R].

    Raises:
        PlanError: the weights have the wrong shape.
    """

    def __init__(
        self,
        bank: ExpertBank,
        weights: Tensor | None = None,
        watch: Callable[[ExpertLinear, Tensor, Tensor], None] | None = None,
    ):
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
        """Fill in one layer.

        Args:
            layer: its index.
            weights: [rows, experts], gain included.
        """
        self._at[layer] = (weights * self._bank.scaling).to(self._dtype)

    def scale(self, layer: int, expert_of_rank: Tensor) -> Tensor | None:
        """What the ranks of one module are multiplied by.

        Args:
            layer: the module's.
            expert_of_rank: [R], the expert that each rank belongs to.

        Returns:
            [rows, 1, R]; None where the layer's weights were not filled in: no experts.
        """
        at = self._at[layer]
        return None if at is None else at[:, None, expert_of_rank]


_mixing: ContextVar[Mixing | None] = ContextVar("atmoe_mixing", default=None)


@contextmanager
def mixed_by(mixing: Mixing | None) -> Iterator[None]:
    """Run one forward pass with these weights. Never hold it across a yield.

    Args:
        mixing: None runs the base model alone.
    """
    token = _mixing.set(mixing)
    try:
        yield
    finally:
        _mixing.reset(token)


class ExpertLinear(nn.Module):
    """A frozen linear with every expert's LoRA beside it.

    Attributes:
        linear: what was there before.
        layer: the index of its decoder layer.
        A: [R, in], the experts' A one below the other.
        B: [out, R], the experts' B side by side.
        expert_of_rank: [R], the expert that each rank belongs to.
        factor_of_rank: [R], what each rank is multiplied by beside its expert's scaling; None
            where that is 1 everywhere.

    Args:
        linear: the frozen linear.
        layer: the index of its decoder layer.
        factors: one (A, B) an expert; None where the expert adapts nothing here. Not all are None.
        ratios: one an expert: its scaling here, beside its scaling elsewhere; None = 1.
    """

    expert_of_rank: Tensor
    factor_of_rank: Tensor | None

    def __init__(
        self,
        linear: nn.Linear,
        layer: int,
        factors: Sequence[tuple[Tensor, Tensor] | None],
        ratios: Sequence[float] | None = None,
    ):
        super().__init__()
        self.linear, self.layer = linear, layer
        present = [(e, f) for e, f in enumerate(factors) if f is not None]
        weight = linear.weight
        self.A = _frozen_like(weight, torch.cat([a for _, (a, _) in present]))
        self.B = _frozen_like(weight, torch.cat([b for _, (_, b) in present], dim=1))
        experts = torch.tensor([e for e, _ in present], device=weight.device)
        ranks = torch.tensor([a.shape[0] for _, (a, _) in present], device=weight.device)
        self.register_buffer("expert_of_rank", experts.repeat_interleave(ranks), persistent=False)
        factor = None
        if ratios is not None and any(ratios[e] != 1 for e, _ in present):
            own = torch.tensor([ratios[e] for e, _ in present], device=weight.device)
            factor = own.repeat_interleave(ranks)
        self.register_buffer("factor_of_rank", factor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the linear and the experts in force make of x.

        Args:
            x: [rows, tokens, in].

        Returns:
            [rows, tokens, out]
        """
        mixing = _mixing.get()
        scale = None if mixing is None else mixing.scale(self.layer, self.expert_of_rank)
        if mixing is None or scale is None:
            return self.linear(x)
        if x.dim() == 2:  # some bases lay all rows' tokens one behind the other
            return self(x.view(len(scale), -1, x.shape[-1])).flatten(0, 1)
        y = self.linear(x)
        if self.factor_of_rank is not None:
            scale = scale * self.factor_of_rank.to(scale.dtype)
        scaled = F.linear(x, self.A.to(x.dtype)) * scale
        if mixing.watch:
            mixing.watch(self, y, scaled)
        return y + F.linear(scaled, self.B.to(x.dtype))

    def factors(self, expert: int) -> tuple[Tensor, Tensor] | None:
        """One expert's (A, B) in this linear, or None where it adapts nothing here."""
        own = torch.eq(self.expert_of_rank, expert)
        return (self.A[own], self.B[:, own]) if own.any() else None

    def ratio(self, expert: int) -> float:
        """An expert's scaling in this linear, beside its scaling elsewhere."""
        own = torch.eq(self.expert_of_rank, expert)
        return 1.0 if self.factor_of_rank is None else float(self.factor_of_rank[own][0])


class ExpertBank(nn.Module):
    """All experts of a model, in one fixed order, put into its linears.

    Each adapted `nn.Linear` of the model is replaced by an `ExpertLinear`, in place.

    Attributes:
        layers: how many decoder layers the model has.
        linears: module path in the base model → the linear that stands there now.
        names: the paths of all linears of the base model, adapted or not.
        alphas: each expert's α.
        scaling: each expert's α / r, [experts]; 1 where that is 0, and its ratios say so.

    Args:
        model: the base model.
        adapters: one an expert, in their order.

    Raises:
        AssetError: an adapter names a module the model lacks, or its matrices do not fit.
    """

    scaling: Tensor

    def __init__(self, model: PreTrainedModel, adapters: Sequence[Adapter]):
        super().__init__()
        layers, prefix = decoder_layers(model)
        self.layers = len(layers)
        self.linears: dict[str, ExpertLinear] = {}
        self.alphas = [a.alpha for a in adapters]
        device = next(model.parameters()).device
        self.register_buffer(
            "scaling",
            torch.tensor([a.scaling or 1.0 for a in adapters], device=device),
            persistent=False,
        )
        self.names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
        _refuse_incomplete(self.names, adapters)
        for name in sorted({name for a in adapters for name in a.factors}):
            match = re.match(re.escape(prefix) + r"\.(\d+)\.", name)
            linear = _submodule(model, name)
            if ".experts." in name:
                raise AssetError(
                    f"An adapter changes {name!r}, one of the base's own routed experts, which see "
                    f"a part of the tokens each; leave them out of target_modules."
                )
            if not match or not isinstance(linear, nn.Linear):
                raise AssetError(
                    f"An adapter changes {name!r}, which is no linear of a decoder layer of this "
                    f"base model; use the base the adapters were trained on."
                )
            factors = [a.factors.get(name) for a in adapters]
            if not all(pair is None or _fits(linear, *pair) for pair in factors):
                raise AssetError(
                    f"An adapter's matrices do not fit {name!r}; use the base it was trained on."
                )
            ratios = [a.scaling_of(name) / (a.scaling or 1.0) for a in adapters]
            expert_linear = ExpertLinear(linear, int(match[1]), factors, ratios)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, expert_linear)
            self.linears[name] = expert_linear

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in.

        Returns:
            The precision of the base's weights, or of their scales where those are int8.
        """
        linear = next(iter(self.linears.values())).linear
        return getattr(linear, "scale", linear.weight).dtype

    def adapter(self, expert: int) -> Adapter:
        """One expert as PEFT stores it, taken back out of the concatenated form."""
        factors = {}
        for name, linear in self.linears.items():
            pair = linear.factors(expert)
            if pair is not None:
                factors[name] = pair
        scaling = float(self.scaling[expert])
        scalings = {name: scaling * self.linears[name].ratio(expert) for name in factors}
        return Adapter(
            factors,
            scaling,
            self.alphas[expert],
            {name: own for name, own in scalings.items() if own != scaling},
        )

    def parameters_to_train(self) -> list[nn.Parameter]:
        """A and B of every linear, in float32 and with gradients on.

        They are master copies: the base may be in bfloat16.
        """
        parameters = []
        for linear in self.linears.values():
            linear.A = nn.Parameter(linear.A.detach().float())
            linear.B = nn.Parameter(linear.B.detach().float())
            parameters += [linear.A, linear.B]
        return parameters


def decoder_layers(model: PreTrainedModel) -> tuple[nn.ModuleList, str]:
    """The decoder layers of a causal language model and their path, e.g. "model.layers".

    Raises:
        AssetError: no list of modules has as many entries as the configuration has layers.
    """
    config = model.config.get_text_config()
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) != config.num_hidden_layers:
            continue
        if any(isinstance(m, nn.Linear | ExpertLinear) for m in module[0].modules()):
            return module, name
    raise AssetError(
        f"{type(model).__name__} has no list of decoder layers that this program knows; use a "
        f"Llama-, Qwen- or Gemma-style base model."
    )


def replace_linears(model: PreTrainedModel, replaced: Callable[[nn.Linear], nn.Module]) -> None:
    """Put something in the place of each plain linear of the decoder layers.

    Args:
        model: is changed.
        replaced: a linear → what stands in its place; itself, where nothing does.
    """
    for layer in decoder_layers(model)[0]:
        for parent in list(layer.modules()):
            for name, module in list(parent.named_children()):
                if type(module) is nn.Linear:
                    setattr(parent, name, replaced(module))
        give_back_memory()  # what a layer needed lies between what it left, and would add up


def layer_linears(model: PreTrainedModel) -> list[str]:
    """The paths of all linears inside the decoder layers: what a new adapter changes by default."""
    layers, prefix = decoder_layers(model)
    return [
        f"{prefix}.{name}"
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear)
    ]


def _refuse_incomplete(linears: Sequence[str], adapters: Sequence[Adapter]) -> None:
    """Raises: AssetError, where an adapter lacks matrices for a module that its config targets."""
    for adapter in adapters:
        missing = adapter.missing(linears)
        if missing:
            raise AssetError(
                f"An adapter has no matrices for {len(missing)} of the modules that its config "
                f"targets (such as {missing[0]!r}); restore it, or use the base it was trained on."
            )


def _frozen_like(weight: Tensor, matrix: Tensor) -> nn.Parameter:
    """A matrix put where a weight is, in the weight's precision and without gradients."""
    matrix = matrix.detach().to(weight.device, weight.dtype).contiguous()
    return nn.Parameter(matrix, requires_grad=False)


def _fits(linear: nn.Linear, a: Tensor, b: Tensor) -> bool:
    """Whether B A has the linear's shape."""
    return (
        a.shape[1] == linear.in_features
        and b.shape[0] == linear.out_features
        and a.shape[0] == b.shape[1]
    )


def _submodule(model: PreTrainedModel, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
