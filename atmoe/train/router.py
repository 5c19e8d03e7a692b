"""Stage 2: the router. Experts and base are frozen; the router learns to read the instruction.

1. *Warm start.* The language-model loss alone is a slow teacher of the in-group heads, so they are
   first fitted to the labels on cached pooled states: one forward over prompts alone, then seconds
   of logistic regression, each group as strongly regularised as serves a tenth of the diseases best
   that are kept out of the fit.
2. *Refinement* by the language-model loss on answers, which teaches group shares and gains, with
   two terms beside it: `label_weight` · cross-entropy of the layer-averaged in-group shares with
   the labels (keeps names true), and `balance_weight` · KL(batch mean of the group shares ‖
   uniform) (without it the group softmax collapses).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from atmoe.data import Description, Example, split
from atmoe.data.sampler import Sampler
from atmoe.errors import DataError, TrainingError
from atmoe.mixture import store
from atmoe.mixture.replacing import experts_digest, replacing
from atmoe.model import AtMoe
from atmoe.routing.router import GroupedRouter
from atmoe.study.agreement import agreement_of
from atmoe.train import loop
from atmoe.train.experts import SHARE
from atmoe.train.rows import (
    Row,
    answer_loss,
    batches,
    collate_rows,
    encode_row,
    label_targets,
    of_one_length,
    training_side,
)
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team


@dataclass(frozen=True)
class RouterSettings:
    """How the router is trained.

    Attributes:
        instructions: of the warm start.
        fit_steps: of the regression.
        fit_learning_rate: of the regression, at its peak.
        fit_decays: the weight decays that the regression tries.
        smoothing: of the labels.
        answer_tokens: of the refinement.
        learning_rate: of the in-group heads, which come warm.
        group_learning_rate: of the group heads, which start at uniform shares.
        gain_learning_rate: of the gains.
        label_weight: of the cross-entropy with the labels, beside the language-model loss.
        balance_weight: of the group shares' divergence from uniform, beside the same.
        seed: of all.
        dtype: of the base model.
    """

    instructions: int = 8000
    fit_steps: int = 800
    fit_learning_rate: float = 3e-3
    fit_decays: tuple[float, ...] = (0.1, 1.0, 3.0, 10.0)
    smoothing: float = 0.02
    answer_tokens: int = 60_000
    learning_rate: float = 3e-4
    group_learning_rate: float = 3e-3
    gain_learning_rate: float = 3e-2
    label_weight: float = 0.1
    balance_weight: float = 0.2
    seed: int = 0
    dtype: str = "bfloat16"


TWO_NEEDS, TWO_NEEDS_REFINED = 0.7, 0.3
"""How often two needs are asked for at once in the warm start and in the refinement.

Where the disease has two of them, that is.
"""

FIT_VALIDATION = 0.19
"""Of the training diseases (those whose hash is above 0.1), those up to here are kept out while a
decay is chosen."""

REFINEMENT = {
    "answer_tokens",
    "learning_rate",
    "group_learning_rate",
    "gain_learning_rate",
    "label_weight",
    "balance_weight",
}
"""The settings that the warm start does not depend on."""


def train_router(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: RouterSettings,
) -> dict:
    """Train the router of `model`, and write it into `out`, where `model` is saved.

    Args:
        model: changed in place.
        examples: of both sides of the split; trained on is the training side.
        description: whose groups the batches are drawn by.
        out: a directory with the experts.
        settings: of the training.

    Returns:
        Seconds, steps, answer tokens, agreement after each stage, gains and group shares at the
        end.

    Raises:
        TrainingError: `out` holds a run with other settings or a file of it that cannot be read,
            or the loss is not a number.
        DataError: no training example.
        OSError: something cannot be written; the model in `out` is the one before, whole.
    """
    out, team = Path(out), Team()
    training = training_side(examples)
    loop.seed_everything(settings.seed)
    # Always from uniform shares, never from a router trained before: the command and its seed say
    # all.
    hidden = model.router.group_weight.shape[-1]
    gain = SHARE * len(model.layout.groups)
    router = TrainingRouter(GroupedRouter(model.layout, hidden, gain))
    model.to(team.device)
    router.to(team.device)
    held_out = _held_out(examples, description, settings.seed)
    mark = {
        **asdict(settings),
        "data": description.digest(training),
        "experts": experts_digest(out),
    }

    # 1. the warm start, kept apart so that refinements of other settings can begin from the same
    warm_mark = {k: v for k, v in mark.items() if k not in REFINEMENT}
    path = out / "warm_start.pt"
    cure = f"delete {path}, and it is made again"
    saved = loop.read_tensors(path, team, cure)
    if saved is None or saved.get("mark") != warm_mark:
        saved = {
            "mark": warm_mark,
            "facts": warm_start(model, router, training, held_out, description, settings, team),
            "router": {k: v.cpu() for k, v in router.state_dict().items()},
            "mean": router.mean.cpu(),
            "spread": router.spread.cpu(),
        }
        saved = team.agree(saved)  # whatever the order of sums did to each process
        if team.leads:
            loop.write_tensors(path, saved)
    facts = _take(router, saved, f"{path} is no warm start of this model; {cure}.")

    # 2. the refinement
    result = loop.run(
        parameters=[
            {"params": [router.expert_weight, router.expert_bias], "lr": settings.learning_rate},
            {
                "params": [router.group_weight, router.group_bias],
                "lr": settings.group_learning_rate,
            },
            {"params": [router.gain], "lr": settings.gain_learning_rate},
        ],
        batches=refinement_batches(
            model, training, description, settings.answer_tokens, settings.seed
        ),
        budget=settings.answer_tokens,
        loss=_refinement_loss(model, router, settings, team),
        team=team,
        out=out / "router-run",
        settings=mark,
    )

    # 3. what came of it
    facts["agreement_refined"] = agreement(model, router, held_out, team)
    model.router.load_state_dict(router.plain().state_dict())
    report = {
        "stage": "router",
        "settings": asdict(settings),
        "training_examples": len(training),
        **result,
        **facts,
        "gain_by_layer": [round(g, 3) for g in model.router.gain.tolist()],
    }
    if team.leads:
        with replacing(out, model.layout, model.info) as room:
            store.save_router(model.router, room)
        loop.write_report(out / "router.log.json", report)
    team.wait()
    return report


def _take(router: TrainingRouter, saved: dict[str, Any], otherwise: str) -> dict[str, Any]:
    """Take up a warm start.

    Returns:
        What to report of it.

    Raises:
        TrainingError: `otherwise`, where something in it is not what was saved.
    """
    try:
        for own, value in ((router.mean, saved["mean"]), (router.spread, saved["spread"])):
            if own.shape != value.shape:  # it would be stretched
                raise TrainingError(otherwise)
            own.copy_(value)
        router.load_state_dict(saved["router"])
        return dict(saved["facts"])
    except Exception as error:  # torch raises nearly every type on a state that does not fit
        raise TrainingError(otherwise) from error


def _refinement_loss(
    model: AtMoe, router: TrainingRouter, settings: RouterSettings, team: Team
) -> loop.Loss:
    """The language-model loss, the labels' and the balance's, as `loop.run` takes it."""
    layout = model.layout

    def loss(rows: list[Row], whole: list[Row]) -> tuple[Tensor, dict[str, float]]:
        _, labelled = label_targets(layout, [r.example for r in whole])
        lm = label = torch.zeros((), device=model.device)
        shares = torch.zeros(layout.layers, len(layout.groups), device=model.device)
        if rows:
            batch, where, tokens = collate_rows(model, rows)
            hidden, _, _ = model.forward(batch, router=router, logits=False)
            _, s, q = router.last()
            lm = answer_loss(model, hidden, where, tokens, sum(len(r.answer) for r in whole))
            targets, labels = label_targets(layout, [r.example for r in rows])
            of = labelled.sum(0)
            label = label_losses(router, q, targets, labels, settings.smoothing, of).mean()
            shares = s.sum(0)
        mean_share = team.total(shares) / len(whole)
        balance = (mean_share * (mean_share * len(layout.groups)).log()).sum(-1).mean()
        # Known whole in every process: each counts its part of the value, and the whole gradient of
        # its own rows.
        balance = balance - balance.detach() * (1 - 1 / team.size)
        parts = {"lm": lm, "label": label, "balance": balance}
        by_group = zip(layout.group_names, mean_share.mean(0).tolist(), strict=True)
        return lm + settings.label_weight * label + settings.balance_weight * balance, {
            **{name: team.total(part.detach()).item() for name, part in parts.items()},
            "gain": router.gain.mean().item(),
            **{f"share_{group}": share for group, share in by_group},
            "share_max": mean_share.max().item(),
        }

    return loss


def refinement_batches(
    model: AtMoe,
    training: Sequence[Example],
    description: Description,
    answer_tokens: int,
    seed: int,
) -> Iterator[list[Row]]:
    """What the router is refined on; other routers (X-LoRA) are trained on the same."""
    sampler = Sampler(
        training, seed + 3, description.main_group, description.rows, two=TWO_NEEDS_REFINED
    )
    return batches(model, iter(sampler), answer_tokens)


def warm_start(
    model: AtMoe,
    router: TrainingRouter,
    training: Sequence[Example],
    held_out: Sequence[Example],
    description: Description,
    settings: RouterSettings,
    team: Team,
) -> dict:
    """Fit the in-group heads of `router` to the labels of instructions.

    Returns:
        What to report of it: {"fit_decay", "agreement_warm_start", "warm_start_seconds"}.
    """
    began = time.perf_counter()
    sampler = Sampler(
        training,
        settings.seed + 1,
        description.main_group,
        description.prompt_rows,
        paraphrased=0.85,
        two=TWO_NEEDS,
    )
    instructions = list(islice(iter(sampler), settings.instructions))
    states, examples = pooled_states(model, router, instructions, team)
    router.standardise(states)
    facts = {
        "fit_decay": fit_heads(router, states, examples, settings),
        "agreement_warm_start": agreement(model, router, held_out, team),
    }
    return facts | {"warm_start_seconds": round(time.perf_counter() - began, 1)}


@torch.no_grad()
def pooled_states(
    model: AtMoe, router: TrainingRouter, examples: Sequence[Example], team: Team
) -> tuple[Tensor, list[Example]]:
    """What the router reads at each layer when it routes itself, in a forward over prompts alone.

    Returns:
        [instructions, layers, hidden], and the examples in the order of its rows.

    Raises:
        DataError: none of them is short enough.
    """
    encoded = (encode_row(model, e) for e in examples)
    rows = [Row(row.example, row.prompt, ()) for row in encoded if row]
    if not rows:
        raise DataError("None of the instructions is short enough to be read; shorten them.")
    groups = list(of_one_length(rows))
    states = []
    for group in tqdm(
        team.share(groups),
        unit="batch",
        desc="reading instructions",
        mininterval=5,
        disable=not team.leads,
    ):
        batch, _, _ = collate_rows(model, group)
        model.forward(batch, router=router, logits=False)
        states.append(router.last()[0].float())
    states = [part.to(model.device) for part in team.gather([part.cpu() for part in states])]
    return torch.cat(states), [r.example for group in groups for r in group]


def label_losses(
    router: GroupedRouter,
    q: Tensor,
    targets: Tensor,
    labelled: Tensor,
    smoothing: float,
    of: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the layer-averaged in-group shares with the labels, by group.

    Of the average, because two needs are better read by layers that may differ than by each layer
    alone.

    Args:
        router: whose groups these are.
        q: [rows, layers, experts]
        targets: [rows, experts], as `label_targets` gives them.
        labelled: [rows, groups], as `label_targets` gives it.
        smoothing: of the targets, towards uniform.
        of: how many labelled rows the sum of each group is divided by, [groups] (default: those at
            hand).

    Returns:
        [groups]; 0 where nothing is labelled.
    """
    targets, labelled = targets.to(q.device), labelled.to(q.device)
    of = (labelled.sum(0) if of is None else of.to(q.device)).clamp(min=1)
    losses = []
    for g, name in enumerate(router.layout.group_names):
        members = router.layout.members(name)
        size = members.stop - members.start
        smoothed = targets[:, members] * (1 - smoothing) + smoothing / size
        cross = -(smoothed * q[..., members].mean(1).clamp(min=1e-8).log()).sum(-1)
        losses.append((cross * labelled[:, g]).sum() / of[g])
    return torch.stack(losses)


def fit_heads(
    router: TrainingRouter, states: Tensor, examples: Sequence[Example], settings: RouterSettings
) -> dict[str, float]:
    """Fit the in-group heads to the labels by logistic regression, in minibatches.

    Each group takes the weight decay of `settings.fit_decays` under which a tenth of the diseases,
    kept out, is read best (what a need looks like is soon learned; a specialty is read off names,
    which invites learning by heart); with it its heads are fitted to all.

    Returns:
        That decay, by group.
    """
    layout = router.layout
    heads = [router.expert_weight, router.expert_bias]
    start = [p.detach().clone() for p in heads]
    targets, labelled = label_targets(layout, examples)
    apart = torch.tensor([split(e, FIT_VALIDATION) == "validation" for e in examples])

    def fit(rows: Tensor, decay: float) -> None:
        """Fits the heads to these rows, from where they started."""
        for p, value in zip(heads, start):
            p.data.copy_(value)
        optimizer = torch.optim.AdamW(heads, lr=settings.fit_learning_rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.fit_steps)
        generator = torch.Generator().manual_seed(settings.seed)
        for _ in tqdm(
            range(settings.fit_steps),
            desc=f"fitting in-group heads, weight decay {decay:g}",
            mininterval=5,
        ):
            batch = rows[torch.randint(len(rows), (min(256, len(rows)),), generator=generator)]
            _, q = router(states[batch], slice(None))
            optimizer.zero_grad()
            losses = label_losses(router, q, targets[batch], labelled[batch], settings.smoothing)
            losses.sum().backward()
            optimizer.step()
            schedule.step()

    # 1. each group's decay, by the loss on what is kept out
    best = dict.fromkeys(layout.group_names, settings.fit_decays[0])
    if len(settings.fit_decays) > 1 and apart.any() and not apart.all():
        by_decay = []
        for decay in settings.fit_decays:
            fit((~apart).nonzero()[:, 0], decay)
            with torch.no_grad():
                q = router(states[apart], slice(None))[1]
                by_decay.append(
                    label_losses(router, q, targets[apart], labelled[apart], settings.smoothing)
                )
        least = torch.stack(by_decay).argmin(0).tolist()
        best = {g: settings.fit_decays[k] for g, k in zip(layout.group_names, least)}

    # 2. with it, its heads fitted to all
    fitted = [torch.empty_like(p) for p in heads]
    for decay in sorted(set(best.values())):
        fit(torch.arange(len(examples)), decay)
        for group in (g for g, d in best.items() if d == decay):
            for whole, p in zip(fitted, heads):
                whole[:, layout.members(group)] = p.detach()[:, layout.members(group)]
    for p, whole in zip(heads, fitted):
        p.data.copy_(whole)
    return best


@torch.no_grad()
def agreement(
    model: AtMoe, router: TrainingRouter, rows: Sequence[Example], team: Team
) -> dict[str, float]:
    """How often the layer-averaged in-group top-1 is the label, by group; empty without rows."""
    if not rows:
        return {}
    states, examples = pooled_states(model, router, rows, team)
    _, q = router(states, slice(None))
    by_group = agreement_of(router.layout, q.mean(1).cpu(), examples)
    return {group: round(value, 4) for group, value in by_group.items()}


def _held_out(
    examples: Sequence[Example], description: Description, seed: int, count: int = 240
) -> list[Example]:
    """Validation instructions, rephrased half of the time by templates that training never sees."""
    validation = [e for e in examples if split(e) == "validation"]
    if not validation:
        return []
    stream: Iterator[Example] = iter(
        Sampler(
            validation,
            seed + 9,
            description.main_group,
            description.rows,
            paraphrased=0.5,
            two=0.0,
            template_split="evaluation",
        )
    )
    return list(islice(stream, count))
