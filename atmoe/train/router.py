"""Stage 2: the router. Experts and base are frozen; the router learns to read the instruction.

1. *Warm start.* The language-model loss alone is a slow teacher of the in-group heads, so they are first fitted to
   the labels on cached pooled states: one forward over prompts alone, then seconds of logistic regression. Two
   rounds, since routing changes the very states it reads; the second round's states come from the first's router.
2. *Refinement* by the language-model loss on answers, which teaches group shares and gains, with two terms beside it:
   `label_weight` · cross-entropy of the in-group shares with the labels (keeps names true), and
   `balance_weight` · KL(batch mean of the group shares ‖ uniform) (without it the group softmax collapses).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe import store
from atmoe.data import Example, split
from atmoe.errors import DataError
from atmoe.model import AtMoe
from atmoe.router import GroupedRouter
from atmoe.train import loop
from atmoe.train.experts import SHARE
from atmoe.train.rows import (Row, Sampler, answer_loss, batches, collate_rows, encode_row, label_targets,
                              of_one_length)


@dataclass(frozen=True)
class RouterSettings:
    """instructions: of each warm-start round.  fit_steps, fit_decay: of the regression.  answer_tokens: of the
    refinement.  label_weight, balance_weight: see the module.  smoothing: of the labels.  seed: of everything."""

    instructions: int = 2000
    fit_steps: int = 400
    fit_learning_rate: float = 3e-3
    fit_decay: float = 3e-2
    smoothing: float = 0.05
    answer_tokens: int = 80_000
    learning_rate: float = 3e-4
    gain_learning_rate: float = 1e-2
    label_weight: float = 0.1
    balance_weight: float = 0.2
    seed: int = 0
    dtype: str = "bfloat16"


class TrainingRouter(GroupedRouter):
    """A router that reads standardised states, (h − mean) / spread, so that one learning rate suits all layers
    and dimensions; and that keeps what it saw and gave in its last forward pass."""

    def __init__(self, router: GroupedRouter):
        hidden = router.group_weight.shape[-1]
        super().__init__(router.layout, hidden)
        self.load_state_dict(router.state_dict())
        self.register_buffer("mean", torch.zeros(router.layout.layers, hidden), persistent=False)
        self.register_buffer("spread", torch.ones(router.layout.layers, hidden), persistent=False)
        self.seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, pooled: Tensor, layer: int | slice) -> tuple[Tensor, Tensor]:
        s, q = super().forward((pooled.float() - self.mean[layer]) / self.spread[layer], layer)
        if isinstance(layer, int):
            self.seen[layer] = (pooled, s, q)
        return s, q

    def last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the last forward pass: pooled states [rows, layers, hidden], s [rows, layers, groups], q [rows, layers,
        experts]."""
        return tuple(torch.stack(parts, 1) for parts in zip(*(self.seen[k] for k in sorted(self.seen))))

    def standardise(self, states: Tensor) -> None:
        """Take mean and spread from states [rows, layers, hidden], leaving every share as it was."""
        plain = self.plain()
        self.mean.copy_(states.mean(0))
        self.spread.copy_(states.std(0).clamp(min=1e-4))
        with torch.no_grad():
            for weight, bias, old, old_bias in ((self.group_weight, self.group_bias, plain.group_weight, plain.group_bias),
                                                (self.expert_weight, self.expert_bias, plain.expert_weight, plain.expert_bias)):
                weight.copy_(old * self.spread[:, None])
                bias.copy_(old_bias + torch.einsum("lnh,lh->ln", old, self.mean))

    @torch.no_grad()
    def plain(self) -> GroupedRouter:
        """The same router, reading states as they are."""
        router = GroupedRouter(self.layout, self.mean.shape[-1])
        fold = lambda w, b: (w / self.spread[:, None], b - torch.einsum("lnh,lh->ln", w / self.spread[:, None], self.mean))
        for name, (w, b) in (("group", fold(self.group_weight, self.group_bias)),
                             ("expert", fold(self.expert_weight, self.expert_bias))):
            getattr(router, f"{name}_weight").copy_(w)
            getattr(router, f"{name}_bias").copy_(b)
        router.gain.copy_(self.gain)
        return router.requires_grad_(False)


def train_router(model: AtMoe, examples: Sequence[Example], out: Path, settings: RouterSettings,
                 report_to: Callable[[dict], None] = lambda facts: None) -> dict:
    """Train the router of `model` on the training side of `examples`, and write it into `out`, where `model` is saved.

    → seconds, steps, answer tokens, agreement after each stage, gains and group shares at the end

    Raises:
        TrainingError: see `loop.run`.
        DataError: no training example.
    """
    out = Path(out)
    training = [e for e in examples if split(e) == "train"]
    if not training:
        raise DataError("No training examples were found; name at least one corpus directory.")
    loop.seed_everything(settings.seed)
    # Always from uniform shares, never from a router trained before: the command and its seed say all.
    router = TrainingRouter(GroupedRouter(model.layout, model.router.group_weight.shape[-1], SHARE * len(model.layout.groups)))
    held_out = _held_out(examples, settings.seed)
    saved = out / "warm_start.pt"
    mark = {**asdict(settings), "examples": len(training), "experts": store.experts_digest(out)}
    facts: dict = {}
    began = loop.time.perf_counter()
    if saved.is_file() and (state := torch.load(saved, weights_only=True))["mark"] == mark:
        router.load_state_dict(state["router"])
        router.mean.copy_(state["mean"]), router.spread.copy_(state["spread"])
        facts = state["facts"]
    else:
        for round_ in range(2):
            instructions = list(islice(iter(Sampler(training, settings.seed + 1 + round_, paraphrased=0.7, two=0.12)),
                                       settings.instructions))
            states, kept = pooled_states(model, router, instructions)
            router.standardise(states)
            fit_heads(router, states, kept, settings)
            facts[f"agreement_warm_start_{round_ + 1}"] = agreement(model, router, held_out)
            report_to(facts)
        facts["warm_start_seconds"] = round(loop.time.perf_counter() - began, 1)
        out.mkdir(parents=True, exist_ok=True)
        torch.save({"mark": mark, "router": router.state_dict(), "mean": router.mean, "spread": router.spread,
                    "facts": facts}, saved)

    def loss(rows: list[Row]) -> tuple[Tensor, dict[str, float]]:
        batch, where, tokens = collate_rows(model, rows)
        hidden, _, _ = model.forward(batch, router=router, logits=False)
        _, s, q = router.last()
        lm = answer_loss(model, hidden, where, tokens)
        label = label_loss(router, q, [r.example for r in rows], settings.smoothing)
        mean_share = s.mean(0)
        balance = (mean_share * (mean_share * mean_share.shape[-1]).log()).sum(-1).mean()
        share = mean_share.mean(0).tolist()
        return lm + settings.label_weight * label + settings.balance_weight * balance, {
            "lm": lm.item(), "label": label.item(), "balance": balance.item(), "gain": router.gain.mean().item(),
            **{f"share_{g}": v for g, v in zip(model.layout.group_names, share, strict=True)}, "share_max": mean_share.max().item()}

    heads = [router.group_weight, router.group_bias, router.expert_weight, router.expert_bias]
    result = loop.run(
        parameters=[{"params": heads, "lr": settings.learning_rate}, {"params": [router.gain], "lr": settings.gain_learning_rate}],
        batches=batches(model, iter(Sampler(training, settings.seed + 3)), settings.answer_tokens),
        budget=settings.answer_tokens, loss=loss, out=out / "router-run", settings=mark)
    facts["agreement_refined"] = agreement(model, router, held_out)
    model.router.load_state_dict(router.plain().state_dict())
    store.save_router(model.router, out)
    store.seal(out, model.layout, model.info)
    report = {"stage": "router", "settings": asdict(settings), "training_examples": len(training), **result, **facts,
              "gain_by_layer": [round(g, 3) for g in model.router.gain.tolist()]}
    (out / "router.log.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


@torch.no_grad()
def pooled_states(model: AtMoe, router: TrainingRouter, examples: Sequence[Example]) -> tuple[Tensor, list[Example]]:
    """What the router reads at each layer, when it routes itself: one forward over the prompts alone.

    → [instructions, layers, hidden], and the examples in the order of its rows
    """
    states, kept = [], []
    rows = [Row(row.example, row.prompt, ()) for row in (encode_row(model, e) for e in examples) if row]
    for group in tqdm(list(of_one_length(rows)), unit="batch", desc="reading instructions", mininterval=5):
        batch, _, _ = collate_rows(model, group)
        model.forward(batch, router=router, logits=False)
        states.append(router.last()[0].float().cpu())
        kept += [r.example for r in group]
    return torch.cat(states), kept


def label_loss(router: GroupedRouter, q: Tensor, examples: Sequence[Example], smoothing: float) -> Tensor:
    """Cross-entropy of in-group shares with the labels, mean over layers and labelled groups. q: [rows, layers,
    experts]"""
    targets, labelled = (t.to(q.device) for t in label_targets(router.layout, examples))
    total = q.new_zeros(())
    for g, name in enumerate(router.layout.group_names):
        members = router.layout.members(name)
        wanted = targets[:, members] * (1 - smoothing) + smoothing / (members.stop - members.start)
        cross = -(wanted[:, None] * q[..., members].clamp(min=1e-8).log()).sum(-1).mean(1)
        total = total + (cross * labelled[:, g]).sum() / labelled[:, g].sum().clamp(min=1)
    return total / len(router.layout.groups)


def fit_heads(router: TrainingRouter, states: Tensor, examples: Sequence[Example], settings: RouterSettings) -> None:
    """Fit the in-group heads to the labels by regularised logistic regression, in minibatches."""
    heads = [router.expert_weight, router.expert_bias]
    optimizer = torch.optim.AdamW(heads, lr=settings.fit_learning_rate, weight_decay=settings.fit_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.fit_steps)
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in tqdm(range(settings.fit_steps), desc="fitting in-group heads", mininterval=5):
        rows = torch.randint(len(examples), (min(512, len(examples)),), generator=generator)
        _, q = router(states[rows], slice(None))
        loss = label_loss(router, q, [examples[i] for i in rows.tolist()], settings.smoothing)
        optimizer.zero_grad()
        # The mean over layers divides each layer's gradient; AdamW does not mind, its decay is relative to the step.
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def agreement(model: AtMoe, router: TrainingRouter, rows: Sequence[Example]) -> dict[str, float]:
    """How often the layer-averaged in-group top-1 is the label, by group; empty without rows."""
    if not rows:
        return {}
    states, examples = pooled_states(model, router, rows)
    _, q = router(states, slice(None))
    targets, labelled = label_targets(router.layout, examples)
    hits = {}
    for g, name in enumerate(router.layout.group_names):
        members = router.layout.members(name)
        right = q.mean(1)[:, members].argmax(-1) == targets[:, members].argmax(-1)
        hits[name] = round(float((right * labelled[:, g]).sum() / labelled[:, g].sum().clamp(min=1)), 4)
    return hits


def _held_out(examples: Sequence[Example], seed: int, count: int = 240) -> list[Example]:
    """Validation instructions, rephrased half of the time by templates that training never sees."""
    validation = [e for e in examples if split(e) == "validation"]
    if not validation:
        return []
    stream: Iterator[Example] = iter(Sampler(validation, seed + 9, paraphrased=0.5, two=0.0, template_split="evaluation"))
    return list(islice(stream, count))
