"""A plan as one plain LoRA: the experts it uses, side by side, each multiplied by its weight.

    B = [B_1 · m_1 α_1/r_1 … B_E · m_E α_E/r_E]    A = [A_1; …; A_E]    of each linear, by layer

Here m_i is what the plan multiplies expert i by in that layer. Who takes no part has no rank. The
plan is that of one question, held fixed: a router is not in it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from atmoe import files
from atmoe.errors import PlanError
from atmoe.mixture import base as base_models
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan


def as_adapter(model: Mixture, plan: RoutingPlan) -> Adapter:
    """A plan as an adapter of scaling 1, in float32.

    Raises:
        PlanError: the plan is of another layout, or uses no expert at all.
    """
    bank = model.bank
    weights = model.weights_of([plan], 1)[0] * bank.scaling  # [layers, experts]
    factors = {}
    for name, linear in bank.linears.items():
        scale = weights[linear.layer, linear.expert_of_rank]  # [ranks]
        if linear.factor_of_rank is not None:
            scale = scale * linear.factor_of_rank
        used = scale.nonzero().flatten()
        if len(used):
            A, B = linear.A.detach()[used], linear.B.detach()[:, used]
            factors[name] = (A.float().cpu(), (B.float() * scale[used].float()).cpu())
    if not factors:
        raise PlanError("This plan uses no expert: it is the base model, and there is no LoRA.")
    most = max(len(a) for a, _ in factors.values())
    factors = {name: _padded(a, b, most) for name, (a, b) in factors.items()}
    return Adapter(factors, scaling=1.0, alpha=float(most))


def _padded(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, B) with zeros up to a rank, so that all linears have one: readers differ in patterns."""
    more = rank - len(a)
    return torch.nn.functional.pad(a, (0, 0, 0, more)), torch.nn.functional.pad(b, (0, more))


def write_peft(model: Mixture, plan: RoutingPlan, path: Path) -> None:
    """Write a plan as a directory that PEFT loads, and what reads its files, as vLLM does.

    Args:
        model: whose experts are mixed.
        plan: what they are mixed by.
        path: a new directory.

    Raises:
        PlanError: as `as_adapter` has it.
        OSError: it cannot be written.
    """
    info, adapter = model.info, as_adapter(model, plan)
    base = base_models.peft_name(info.base_name, info.base_sha256, info.base_locator)
    with files.appearing(path) as beside:
        adapter.save(beside, *base, torch.float32, model.bank.names)
