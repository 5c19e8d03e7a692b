"""Stage 1: the experts. One LoRA per task, specialty and audience, each learning from its own slice of the data.

Slices of different groups overlap, so a row trains its own expert of every group at once, each at a share of ½
(design: section 6). The routing is the row's labels, not a router: what an expert is for is decided here.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from atmoe.data import Description, Example, split
from atmoe.data.sampler import Sampler
from atmoe.mixture import base as base_models
from atmoe.mixture import store
from atmoe.mixture.experts import Adapter, decoder_layers, layer_linears
from atmoe.mixture.store import Info
from atmoe.model import AtMoe
from atmoe.routing.plan import Layout
from atmoe.routing.router import GroupedRouter
from atmoe.train import loop
from atmoe.train.rows import (
    Row,
    answer_loss,
    batches,
    collate_rows,
    counts,
    encode_row,
    label_targets,
    training_side,
)
from atmoe.train.team import Team

SHARE = 0.5
"""What each of a row's experts is mixed by; three groups then give a total of 1.5, the router's first gain."""

Weights = Callable[[AtMoe, Sequence[Example]], Tensor]
"""What the experts of each row are mixed by. [rows, layers, experts]"""


@dataclass(frozen=True)
class ExpertSettings:
    """rank, alpha: of every LoRA.  answer_tokens: the budget.  seed: of everything."""

    rank: int = 4
    alpha: float = 16.0
    answer_tokens: int = 320_000
    learning_rate: float = 2e-3
    seed: int = 0
    dtype: str = "bfloat16"


def new_model(description: Description, settings: ExpertSettings, base: str | None = None) -> AtMoe:
    """A model of the described groups: fresh adapters, ready ones where the description names them, and a router at
    uniform shares.

    Raises:
        AssetError: there is no such base, or a ready adapter cannot be read or does not fit it.
    """
    fetched = base_models.fetch(base or description.base)
    model, tokenizer = base_models.load(fetched, getattr(torch, settings.dtype))
    layout = Layout.of(len(decoder_layers(model)[0]), description.groups)
    generator = loop.seed_everything(settings.seed)
    adapters = []
    for name in layout.expert_names:
        fresh = Adapter.random(
            model, layer_linears(model), settings.rank, settings.alpha, generator
        )
        adapters.append(
            Adapter.load(description.ready[name]) if name in description.ready else fresh
        )
    router = GroupedRouter(
        layout, model.config.get_text_config().hidden_size, gain=SHARE * len(layout.groups)
    )
    info = Info(description.name, fetched.name, fetched.sha256, scripts=description.scripts)
    return AtMoe(*store.build(model, tokenizer, adapters, router.requires_grad_(False), info))


def train_experts(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: ExpertSettings,
    weights: Weights | None = None,
) -> dict:
    """Train the experts of `model` that are not ready on the training side of `examples`; save the model to `out`.

    weights: how a row mixes the experts (default: `label_weights`)
    → seconds, steps, answer tokens in all and by expert, and the last validation losses

    Raises:
        TrainingError: see `loop.run`.
        DataError: no training example.
    """
    out, team = Path(out), Team()
    layout = model.layout
    report = {"stage": "experts", "settings": asdict(settings), "ready": sorted(description.ready)}
    if set(description.ready) == set(layout.expert_names):
        report |= {"steps": 0, "seconds": 0.0}
    else:
        training = training_side(examples)
        weights = weights or label_weights
        model.to(team.device)
        parameters = model.bank.parameters_to_train()
        _hold(model, [layout.expert_index(name) for name in description.ready])
        tokens: Counter = Counter()

        def loss(rows: list[Row], whole: list[Row]) -> tuple[Tensor, dict[str, float]]:
            if not rows:
                return torch.zeros((), device=model.device), {}
            batch, where, targets = collate_rows(model, rows)
            hidden, _, _ = model.forward(
                batch, weights=weights(model, [r.example for r in rows]), logits=False
            )
            return answer_loss(model, hidden, where, targets, sum(len(r.answer) for r in whole)), {}

        def counted(stream: Iterator[list[Row]]) -> Iterator[list[Row]]:
            for batch in stream:
                tokens.update(counts(batch))
                yield batch

        sampler = Sampler(training, settings.seed, description.main_group, description.rows)
        result = loop.run(
            parameters=[{"params": parameters, "lr": settings.learning_rate}],
            budget=settings.answer_tokens,
            batches=counted(batches(model, iter(sampler), settings.answer_tokens)),
            loss=loss,
            team=team,
            out=out,
            settings={
                **asdict(settings),
                "data": description.digest(training),
                "base": model.info.base_sha256,
            },
            validate=_validation(model, examples, description, weights),
        )
        report |= {
            "training_examples": len(training),
            **result,
            "answer_tokens_by_expert": dict(sorted(tokens.items())),
        }
    if team.leads:
        model.save_pretrained(out)
        for name, path in description.ready.items():  # as they came, whatever the precision here
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                if (path / "adapter_model.safetensors").is_file():
                    shutil.copyfile(path / file, out / "experts" / name / file)
        store.seal(out, layout, model.info)
        (out / "experts.log.json").write_text(json.dumps(report, indent=1) + "\n")
    team.wait()
    return report


def label_weights(model: AtMoe, examples: Sequence[Example], share: float = SHARE) -> Tensor:
    """Weights of a row's labelled experts, the same at every layer: `share` for each group. [rows, layers, experts]"""
    targets, _ = label_targets(model.layout, examples)
    return (share * targets)[:, None].expand(-1, model.layout.layers, -1).to(model.device)


def _hold(model: AtMoe, experts: Sequence[int]) -> None:
    """Let no gradient reach these experts: Adam leaves at rest what never had one."""
    for linear in model.bank.linears.values():
        moving = (
            ~torch.isin(linear.expert_of_rank, torch.tensor(experts, device=model.device))
        ).float()
        linear.A.register_hook(lambda grad, moving=moving: grad * moving[:, None])
        linear.B.register_hook(lambda grad, moving=moving: grad * moving)


def _validation(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    weights: Weights,
    each: int = 8,
):
    """Loss on a few held-out rows of each expert of the main group, under their own weights and, where weights follow
    the labels, with those experts shifted by one.
    """
    group = description.main_group
    names = [*description.groups[group]]
    held_out = sorted(
        (e for e in examples if split(e) == "validation" and group in e.labels), key=lambda e: e.id
    )
    chosen = []
    for name in names:
        rows = (encode_row(model, e) for e in held_out if e.labels[group] == name)
        if kept := [r for r in islice((r for r in rows if r), each)]:
            chosen.append(kept)

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        losses = {"label": []} | (
            {"wrong_" + group: []} if weights is label_weights and len(names) > 1 else {}
        )
        for rows in chosen:
            batch, where, targets = collate_rows(model, rows)
            right = [r.example for r in rows]
            following = lambda e: names[(names.index(e.labels[group]) + 1) % len(names)]
            wrong = [replace(e, labels={**e.labels, group: following(e)}) for e in right]
            for name, labelled in zip(losses, (right, wrong)):
                hidden, _, _ = model.forward(batch, weights=weights(model, labelled), logits=False)
                losses[name].append(float(answer_loss(model, hidden, where, targets)))
        return {name: sum(values) / len(values) for name, values in losses.items()}

    return validate if chosen else None
