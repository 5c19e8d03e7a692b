"""Stage 1: the experts. One LoRA per task, specialty and audience, each taught its own slice.

Slices of different groups overlap, so a row trains its own expert of every group at once, each at a
share of ½. The routing is the row's labels, not a router: what an expert is for is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import TrainingError
from atmoe.mixture import base as base_models
from atmoe.mixture import base_loading, store
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.config import Info, fitting, sha256_of
from atmoe.mixture.experts import decoder_layers, layer_linears
from atmoe.mixture.peft_files import CONFIG, WEIGHTS, located
from atmoe.mixture.precision import quick
from atmoe.mixture.replacing import experts_digest, read_config
from atmoe.model import AtMoe
from atmoe.prompt.batch import Batch
from atmoe.routing.layout import Layout
from atmoe.routing.router import GroupedRouter
from atmoe.train import loop, sizes
from atmoe.train.budget import budget_of
from atmoe.train.rows import (
    LENGTHS,
    STEP_TOKENS,
    Row,
    batches,
    check_taught,
    counts,
    label_targets,
    language_loss,
    training_side,
)
from atmoe.train.settings import in_range
from atmoe.train.team import Team
from atmoe.train.validation import Weights, held_out_rows, labelled_loss

RANK, ALPHA = 4, 16.0
"""Of a LoRA that is made anew, where nobody said."""

LEARNING_RATE = 2e-3
"""At its peak, of whole steps; of smaller ones it is less in proportion."""

SHARE = 0.5
"""What each of a row's experts is mixed by; three groups then give 1.5, the router's first gain."""

PASSES, MOST = 10, 320_000
"""Passes over the data, and answer tokens, of the largest budget that nobody asked for."""


@dataclass(frozen=True)
class ExpertSettings:
    """How experts are made and trained.

    Attributes:
        rank: of every LoRA that is made anew; None = RANK. One that is there has its own.
        alpha: of the same; None = ALPHA. Their scaling is alpha / rank.
        answer_tokens: the budget; None = as the data bears (`atmoe.train.budget`).
        step_tokens: of a step, padding included; None = STEP_TOKENS, or fewer where the data is
            small.
        learning_rate: at its peak; None = LEARNING_RATE, or less where steps are smaller. It is
            no more where they are larger: nobody measured that.
        seed: of everything.
        dtype: of the base model; default: the quicker of two, as `quick` says.

    Raises:
        TrainingError: a number is none that this can have, or the longest row would not fit into a
            step.
    """

    rank: int | None = None
    alpha: float | None = None
    answer_tokens: int | None = None
    step_tokens: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    dtype: str = field(default_factory=quick)

    def __post_init__(self) -> None:
        in_range(self, {"rank": 1, "answer_tokens": 1}, ("alpha", "learning_rate"))
        if self.step_tokens is not None and self.step_tokens < LENGTHS[-1]:
            raise TrainingError(
                f"--step-tokens must be at least {LENGTHS[-1]}, the longest row, and not "
                f"{self.step_tokens}."
            )


def new_model(
    description: Description,
    settings: ExpertSettings,
    base: str | None = None,
    start: Path | None = None,
    beside: Info | None = None,
) -> AtMoe:
    """A model of the described groups, with a router at uniform shares.

    Args:
        description: of its groups.
        settings: of its adapters. They are fresh, or ready where the description names them.
        base: a path or hub id; None = what the description or $ATMOE_BASE names, else that of
            `start` or `beside`, else the default.
        start: a saved model whose adapters it has, of whatever rank they are, to be trained on.
        beside: of another model, that it is held against.

    Raises:
        BaseModelError: there is no such base.
        AssetError: `start` or an adapter cannot be read, or does not fit the base.
        TrainingError: no adapter is made anew, and those there have another rank or alpha than the
            settings.
    """
    base = base_models.named(base or description.base)
    if start is not None:
        beside, _ = read_config(start)
    fetched = base_models.fetch(base) if beside is None else store.base_of(beside, base)
    model, tokenizer = base_loading.load(fetched, getattr(torch, settings.dtype))
    layout = Layout.of(len(decoder_layers(model)[0]), description.groups)
    generator = loop.seed_everything(settings.seed)
    rank, alpha = settings.rank or RANK, settings.alpha or ALPHA
    adapters = []
    for name in layout.expert_names:
        adapter = Adapter.random(model, layer_linears(model), rank, alpha, generator)
        source: Path | str | None = None if start is None else start / "experts" / name
        if name in description.ready:
            source = _source(description, name)
        if source is not None:
            adapter = Adapter.load(source)
            store.warn_of_another_base(name, adapter, fetched)
        adapters.append(adapter)
    if start is not None or set(description.ready) == set(layout.expert_names):
        there = dict(zip(layout.expert_names, adapters))
        sizes.refuse_others(settings.rank, settings.alpha, there, description.ready)
    router = GroupedRouter(
        layout, model.config.get_text_config().hidden_size, gain=SHARE * len(layout.groups)
    )
    info = Info(
        description.name,
        fetched.name,
        fetched.sha256,
        scripts=description.scripts,
        words=description.words,
        language=description.language,
        page=description.page,
        base_locator=fetched.locator,
        base_content=fetched.content,
        base_setup=fetched.setup,
    )
    fitting(info, layout)  # or it could not be saved when it is trained
    return AtMoe(*store.build(model, tokenizer, adapters, router.requires_grad_(False), info))


def train_experts(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: ExpertSettings,
    weights: Weights | None = None,
    start: Path | None = None,
) -> dict:
    """Train the experts of `model` that are not ready, and save the model to `out`.

    Args:
        model: changed in place.
        examples: of both sides of the split; trained on is the training side.
        description: whose groups the batches are drawn by.
        out: a directory.
        settings: of the training.
        weights: how a row mixes the experts (default: `label_weights`).
        start: the saved model whose experts these were, where they are trained on.

    Returns:
        Seconds, steps, answer tokens in all and by expert, the budget, and the validation losses:
        the last ones, or those of the weights kept.

    Raises:
        TrainingError: `out` holds a run with other settings or one that cannot be read, or the
            loss is not a number, or a ready expert was replaced meanwhile.
        DataError: no training example, or none that would teach an expert.
        OSError: something cannot be written; a model that was in `out` is left, whole.
    """
    out, team = Path(out), Team()
    layout = model.layout
    # 1. train those that are not ready
    report: dict[str, Any] = {
        "stage": "experts",
        "settings": asdict(settings),
        "ready": sorted(description.ready),
    }
    if start is not None:
        report["start"] = experts_digest(start)
    ready = {name: _content(_source(description, name)) for name in description.ready}
    if set(description.ready) == set(layout.expert_names):
        report |= {"steps": 0, "seconds": 0.0}
    else:
        report |= _train(
            model,
            examples,
            description,
            out,
            settings,
            weights or label_weights,
            team,
            report.get("start"),
            ready,
        )

    adapters = {name: model.bank.adapter(k) for k, name in enumerate(layout.expert_names)}
    report["settings"] |= sizes.told(adapters, description.ready)

    # 2. save all
    for name, content in ready.items():
        if _content(_source(description, name)) != content:
            raise TrainingError(
                f"{_source(description, name)} was replaced while experts were trained beside it, "
                f"and {name} would be another than they learned with; put the former one back and "
                f"start again (the run in {out} is taken up), or train into an empty --out."
            )

    def write(room: Path) -> None:
        store.write(room, model.bank, model.router, model.info)
        # ready ones as they came, whatever the precision here
        for name in description.ready:
            _keep_as_it_came(_source(description, name), room / "experts" / name)

    loop.conclude(model, out, report, team, write)
    return report


def _source(description: Description, name: str) -> Path | str:
    """Where a ready expert is: the directory that the description means, else a hub id."""
    directory = description.ready[name]
    return directory if directory.exists() else description.written.get(name, str(directory))


def _keep_as_it_came(source: Path | str, path: Path) -> None:
    """Write a ready expert in its own precision: its very files, where they are PEFT's of today."""
    found = located(source)
    if (found / WEIGHTS[0]).is_file():
        store.copy_expert(found, path)
    else:
        adapter = Adapter.load(source)
        adapter.save(path, adapter.base, dtype=adapter.dtype)


def _content(source: Path | str) -> list[str]:
    """The digests of a ready expert's files: another LoRA in its place makes another training."""
    files = [located(source) / name for name in (CONFIG, *WEIGHTS)]
    return [sha256_of(file) for file in files if file.is_file()]


def _train(
    model: AtMoe,
    examples: Sequence[Example],
    description: Description,
    out: Path,
    settings: ExpertSettings,
    weights: Weights,
    team: Team,
    start: str | None,
    ready: Mapping[str, list[str]],
) -> dict[str, Any]:
    """As `train_experts`, without the saving; some expert is not ready, others have contents."""
    training = training_side(examples)
    if start is None and weights is label_weights:
        check_taught(model, training, set(model.layout.expert_names) - set(description.ready))
    model.to(team.device)
    parameters = model.bank.parameters_to_train()
    hold(model, [model.layout.expert_index(name) for name in description.ready])
    tokens: Counter = Counter()
    chosen = held_out_rows(model, examples, description)
    budget = budget_of(
        model,
        training,
        chosen,
        settings.answer_tokens,
        PASSES,
        MOST,
        "label",
        settings.step_tokens,
    )
    if team.leads:
        loop.tell(budget.sentences())
    if settings.learning_rate is None:
        rate = LEARNING_RATE * min(1, budget.step_tokens / STEP_TOKENS)
        settings = replace(settings, learning_rate=rate)
    # as numbers: so a run is marked that began when they were the defaults
    settings = replace(settings, rank=settings.rank or RANK, alpha=settings.alpha or ALPHA)

    def read(batch: Batch, rows: Sequence[Row]) -> Tensor:
        mixed_by = weights(model, [r.example for r in rows])
        return model.forward(batch, weights=mixed_by, logits=False)[0]

    def counted(stream: Iterator[list[Row]]) -> Iterator[list[Row]]:
        for batch in stream:
            tokens.update(counts(batch))
            yield batch

    sampler = Sampler(training, settings.seed, description.main_group, description.rows)
    result = loop.run(
        parameters=[{"params": parameters, "lr": settings.learning_rate}],
        budget=budget.tokens,
        batches=counted(batches(model, iter(sampler), budget.tokens, budget.step_tokens)),
        loss=language_loss(model, read),
        team=team,
        out=out,
        settings={
            **asdict(settings),
            "data": description.digest(training),
            "base": model.info.base_sha256,
            **({"setup": model.info.base_setup} if model.info.base_setup else {}),
            **({} if start is None else {"start": start}),
            **({"ready": ready} if ready else {}),
            **budget.mark(description),
        },
        validate=labelled_loss(model, chosen, description, weights, weights is label_weights),
        stopping=budget.stopping,
    )
    return {
        "settings": asdict(settings),
        "training_examples": budget.rows,
        "budget": budget.report(),
        **result,
        "answer_tokens_by_expert": dict(sorted(tokens.items())),
    }


def label_weights(model: AtMoe, examples: Sequence[Example], share: float = SHARE) -> Tensor:
    """Weights of a row's labelled experts, the same at every layer: `share` for each group.

    Returns:
        [rows, layers, experts]
    """
    targets, _ = label_targets(model.layout, examples)
    return (share * targets)[:, None].expand(-1, model.layout.layers, -1).to(model.device)


def hold(model: AtMoe, experts: Sequence[int]) -> None:
    """Let no gradient reach these experts: Adam leaves at rest what never had one."""
    at_rest = torch.tensor(experts, device=model.device)
    for linear in model.bank.linears.values():
        moving = (~torch.isin(linear.expert_of_rank, at_rest)).float()
        linear.A.register_hook(_times(moving[:, None]))
        linear.B.register_hook(_times(moving))


def _times(factor: Tensor) -> Callable[[Tensor], Tensor]:
    def hook(grad: Tensor) -> Tensor:
        return grad * factor

    return hook
