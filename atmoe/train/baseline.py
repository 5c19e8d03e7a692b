"""What one could have done instead with the same data: the baselines that need training.

lora    one LoRA of the experts' total rank on the same batches: as an AT-MoE of a single expert, so
        that the very same code trains and scores it
xlora   PEFT's X-LoRA (arXiv 2402.07148) over the very same experts, its classifier trained on the
        batches that the router is refined on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from atmoe.data import Description, Example
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.config import Info
from atmoe.mixture.precision import quick
from atmoe.mixture.replacing import experts_digest, read_config
from atmoe.model import AtMoe
from atmoe.presentation import NEUTRAL
from atmoe.study.baselines import logits_of, save_classifier, xlora_model
from atmoe.train import finite, loop
from atmoe.train.budget import budget_of
from atmoe.train.experts import RANK, SHARE, ExpertSettings, new_model, train_experts
from atmoe.train.router import refinement_batches
from atmoe.train.rows import IGNORED, Row, collate_rows, training_side
from atmoe.train.settings import MOST, PASSES, in_range
from atmoe.train.team import Team
from atmoe.train.validation import held_out_rows


def lora_settings(description: Description, model: Path | None = None) -> ExpertSettings:
    """The rank that the described experts have together, and a scaling of 1.

    Args:
        description: of their groups.
        model: a saved one. Where its groups are these, its experts have the ranks; else each has
            the rank of one that nobody asked for another of.

    Raises:
        AssetError: the model cannot be read.
    """
    names = [f"{group}/{name}" for group, experts in description.groups.items() for name in experts]
    rank = RANK * len(names)
    if model is not None and read_config(model)[1].expert_names == tuple(names):
        rank = sum(Adapter.load(model / "experts" / name).rank for name in names)
    return ExpertSettings(rank=rank, alpha=float(rank))


def train_lora(
    examples: Sequence[Example],
    description: Description,
    base: str | None,
    out: Path,
    settings: ExpertSettings,
    beside: Info | None = None,
) -> dict:
    """Train one LoRA on the batches that the experts are trained on (the same seed gives the same).

    It is saved to `out` as a model of one group with one expert.

    Args:
        examples: of both sides of the split.
        description: whose groups the batches are drawn by.
        base: as for `new_model`.
        out: a directory.
        settings: of the training.
        beside: of the model that it is a baseline of.

    Returns:
        As `train_experts`.

    Raises:
        TrainingError: `out` holds a run with other settings, or the loss is not a number.
        DataError: no training example.
    """
    # nothing that the description says of its own groups, or of a page over them
    alone = replace(
        description,
        name="lora",
        groups={"baseline": ("lora",)},
        ready={},
        words={},
        page=NEUTRAL,
    )
    model = new_model(alone, settings, base, beside=beside)
    with torch.no_grad():
        model.router.gain.fill_(1.0)

    def everywhere(model: AtMoe, rows: Sequence[Example]) -> Tensor:
        return torch.ones(len(rows), model.layout.layers, 1, device=model.device)

    return train_experts(model, examples, replace(description, ready={}), out, settings, everywhere)


@dataclass(frozen=True)
class XloraSettings:
    """How X-LoRA's classifier is trained.

    Attributes:
        answer_tokens: the budget; None = the router's, and its way to stop before.
        learning_rate: of the classifier, at its peak.
        gain: what its scalings, which sum to 1, are multiplied by; None = the router's first gain.
        seed: of everything.
        dtype: of the base model; default: the quicker of two, as `quick` says.

    Raises:
        TrainingError: a number is none that this can have.
    """

    answer_tokens: int | None = None
    learning_rate: float = 1e-3
    gain: float | None = None
    seed: int = 0
    dtype: str = field(default_factory=quick)

    def __post_init__(self) -> None:
        in_range(self, {"answer_tokens": 1}, ("learning_rate", "gain"))


def train_xlora(
    model: AtMoe,
    experts: Path,
    base: str | None,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: XloraSettings,
) -> dict:
    """Train X-LoRA's classifier on the batches that the router is refined on; save it to `out`.

    Args:
        model: what is mixed.
        experts: where `model` is saved: PEFT reads the experts from there.
        base: as for `AtMoe.from_pretrained`.
        examples: of both sides of the split.
        description: whose groups the batches are drawn by.
        out: a directory.
        settings: of the training.

    Returns:
        Seconds, steps, answer tokens and the budget.

    Raises:
        TrainingError: `out` holds a run with other settings, or the loss is not a number.
        DataError: no training example.
    """
    team = Team()
    gain = settings.gain or SHARE * len(model.layout.groups)
    settings = replace(settings, gain=gain)
    loop.seed_everything(settings.seed)
    xlora = xlora_model(model.to(team.device), experts, base, gain)
    trained = [p for p in xlora.parameters() if p.requires_grad]
    precision = model.bank.dtype
    # PEFT calls the classifier's last linear, and no module around it, so casts are hooked there.
    classifier = xlora.base_model.internal_xlora_classifier.layers[-1].float()
    classifier.register_forward_pre_hook(lambda module, given: (given[0].float(),))
    classifier.register_forward_hook(lambda module, given, logits: logits.to(precision))
    training = training_side(examples)
    chosen = held_out_rows(model, examples, description)
    budget = budget_of(model, training, chosen, settings.answer_tokens, PASSES, MOST, "xlora")
    if team.leads:
        loop.tell(budget.sentences())

    def loss(rows: list[Row], whole: list[Row]) -> tuple[Tensor, dict[str, float]]:
        if not rows:
            return torch.zeros((), device=model.device), {}
        batch, where, targets = collate_rows(model, rows)
        logits = logits_of(xlora, batch).flatten(0, 1)[where].float()
        total = torch.nn.functional.cross_entropy(
            logits, targets, ignore_index=IGNORED, reduction="sum"
        )
        return total / sum(len(r.answer) for r in whole), {}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        return {"xlora": sum(float(loss(rows, rows)[0]) for rows in chosen) / len(chosen)}

    result = loop.run(
        parameters=[{"params": trained, "lr": settings.learning_rate}],
        budget=budget.tokens,
        loss=loss,
        team=team,
        batches=refinement_batches(
            model,
            training,
            description,
            budget.tokens,
            settings.seed + 3,  # the router's
            budget.step_tokens,
        ),
        out=out,
        settings={
            **asdict(settings),
            "data": description.digest(training),
            "experts": experts_digest(experts),
            **budget.mark(description),
        },
        validate=validate if budget.stopping else None,
        stopping=budget.stopping,
    )
    report = {
        "stage": "xlora",
        "settings": asdict(settings),
        "training_examples": budget.rows,
        "budget": budget.report(),
        **result,
        "parameters": sum(p.numel() for p in trained),
    }
    finite.weights(trained, out)
    if team.leads:
        classifier.to(precision)
        save_classifier(xlora, out)
        loop.write_report(out / "xlora.log.json", report)
    team.wait()
    return report
