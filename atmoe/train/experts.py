"""Stage 1: the experts. One LoRA per task, specialty and audience, each learning from its own slice of the data.

Slices of different groups overlap, so a row trains its own expert of every group at once, each at a share of ½
(design: section 6). The routing is the row's labels, not a router: what an expert is for is decided here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch

from atmoe import base as base_models
from atmoe import store
from atmoe.data import Example, split
from atmoe.experts import Adapter, decoder_layers, layer_linears
from atmoe.model import AtMoe
from atmoe.plan import Layout
from atmoe.router import GroupedRouter
from atmoe.store import Info
from atmoe.train import loop
from atmoe.train.rows import Sampler, answer_loss, batches, collate_rows, counts, encode_row, label_targets, training_side

SHARE = 0.5
"""What each of a row's experts is mixed by; three groups then give a total of 1.5, the router's first gain."""


@dataclass(frozen=True)
class ExpertSettings:
    """rank, alpha: of every LoRA.  answer_tokens: the budget.  seed: of everything."""

    rank: int = 4
    alpha: float = 16.0
    answer_tokens: int = 320_000
    learning_rate: float = 2e-3
    seed: int = 0
    dtype: str = "bfloat16"


def new_model(layout_groups: dict[str, Sequence[str]], base: str | None, settings: ExpertSettings, name: str) -> AtMoe:
    """A model with fresh adapters and a router at uniform shares."""
    fetched = base_models.fetch(base)
    model, tokenizer = base_models.load(fetched, getattr(torch, settings.dtype))
    layout = Layout.of(len(decoder_layers(model)[0]), layout_groups)
    generator = loop.seed_everything(settings.seed)
    adapters = [Adapter.random(model, layer_linears(model), settings.rank, settings.alpha, generator)
                for _ in layout.expert_names]
    router = GroupedRouter(layout, model.config.get_text_config().hidden_size, gain=SHARE * len(layout.groups))
    info = Info(name, fetched.name, fetched.sha256, scripts=("LATIN",))
    return store.build(AtMoe, model, tokenizer, adapters, router.requires_grad_(False), info)


def train_experts(model: AtMoe, examples: Sequence[Example], out: Path, settings: ExpertSettings) -> dict:
    """Train all experts of `model` on the training side of `examples` and save the model to `out`.

    → seconds, steps, answer tokens in all and by expert, and the last validation losses

    Raises:
        TrainingError: see `loop.run`.
        DataError: no training example.
    """
    out = Path(out)
    training = training_side(examples)
    held_out = [e for e in examples if split(e) == "validation"]
    parameters = model.bank.parameters_to_train()
    tokens: Counter = Counter()

    def loss(rows):
        batch, where, targets = collate_rows(model, rows)
        hidden, _, _ = model.forward(batch, weights=label_weights(model, [r.example for r in rows]), logits=False)
        value = answer_loss(model, hidden, where, targets)
        tokens.update(counts(rows))
        return value, {}

    sampler = Sampler(training, settings.seed)
    result = loop.run(
        parameters=[{"params": parameters, "lr": settings.learning_rate}], budget=settings.answer_tokens,
        batches=batches(model, iter(sampler), settings.answer_tokens), loss=loss,
        out=out, settings={**asdict(settings), "examples": len(training)}, validate=_validation(model, held_out))
    model.save_pretrained(out)
    report = {"stage": "experts", "settings": asdict(settings), "training_examples": len(training), **result,
              "answer_tokens_by_expert": dict(sorted(tokens.items()))}
    (out / "experts.log.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def label_weights(model: AtMoe, examples: Sequence[Example], share: float = SHARE) -> torch.Tensor:
    """Weights of a row's labelled experts, the same at every layer: `share` for each group. [rows, layers, experts]"""
    targets, _ = label_targets(model.layout, examples)
    return (share * targets)[:, None].expand(-1, model.layout.layers, -1).to(model.device)


def _validation(model: AtMoe, examples: Sequence[Example], rows_per_task: int = 8):
    """Loss on a few held-out rows of each task, under their labels and with the task experts shifted by one."""
    chosen = []
    for task in sorted({e.labels["task"] for e in examples}):
        rows = (encode_row(model, e) for e in sorted(examples, key=lambda e: e.id) if e.labels["task"] == task)
        chosen.append([r for r in islice((r for r in rows if r), rows_per_task)])
    tasks = dict(model.layout.groups)["task"]

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        losses = {"label": [], "wrong_task": []}
        for rows in chosen:
            batch, where, targets = collate_rows(model, rows)
            right = [r.example for r in rows]
            wrong = [Example(**{**vars(e), "labels": {**e.labels, "task": tasks[(tasks.index(e.labels["task"]) + 1) % len(tasks)]}})
                     for e in right]
            for name, labelled in (("label", right), ("wrong_task", wrong)):
                hidden, _, _ = model.forward(batch, weights=label_weights(model, labelled), logits=False)
                losses[name].append(float(answer_loss(model, hidden, where, targets)))
        return {name: sum(values) / len(values) for name, values in losses.items()}

    return validate if chosen else None
