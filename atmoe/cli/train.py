"""The commands that train: train {experts,router,planner,together,baseline}."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atmoe.cli.common import (
    BASELINES,
    DEFAULT_MODEL,
    FLOATING,
    QUICKER,
    Commands,
    Result,
    device_argument,
    model_argument,
)
from atmoe.cli.given import described, load_model, model_directory
from atmoe.cli.planner import add_planner
from atmoe.cli.sources import indexed, lines_of
from atmoe.cli.training import (
    floors_argument,
    model_to_train,
    out_argument,
    settings_arguments,
    settings_given,
    told_after,
    training,
)

if TYPE_CHECKING:
    from atmoe.data import Example
    from atmoe.sources.outside import Lines


def train_experts(a: argparse.Namespace) -> Result:
    """Train the experts (stage 1)."""
    from atmoe.train.experts import ExpertSettings, new_model, train_experts

    settings = ExpertSettings(**settings_given(a, ExpertSettings))
    description = described(a)
    # Nothing is read where nothing is trained: ready experts need no examples.
    all_ready = len(description.ready) == sum(map(len, description.groups.values()))
    examples = [] if all_ready else description.examples()
    model = new_model(description, settings, a.base, a.start)
    report = train_experts(model, examples, description, a.out, settings, start=a.start)
    return report, f"Experts saved in {a.out} {told_after(report)}"


def train_router(a: argparse.Namespace) -> Result:
    """Train the router (stage 2)."""
    from atmoe.train.router import train_router
    from atmoe.train.rows import training_side
    from atmoe.train.settings import RouterSettings, readings

    given = settings_given(a, RouterSettings)
    RouterSettings(**given)  # before anything is read: can the numbers be?
    description = described(a)
    lines = lines_of(description)
    examples = description.examples()
    if "answer_tokens" not in given:
        given = readings(len(training_side(examples))) | given
    settings = RouterSettings(**given)
    report = train_router(model_to_train(a), examples, description, a.model, settings)
    sentence = f"Router saved in {a.model} {told_after(report)}"
    return report, f"{sentence} {_indexed(a, examples, lines)}" if a.index else sentence


def train_together(a: argparse.Namespace) -> Result:
    """Train experts on under the router's plan (stage 3)."""
    from atmoe.train.together import TogetherSettings, train_together

    settings = TogetherSettings(**settings_given(a, TogetherSettings))
    description = described(a)
    model, examples = model_to_train(a), description.examples()
    report = train_together(model, examples, description, a.out, settings, a.model)
    return report, f"Experts and router saved in {a.out} {told_after(report)}"


def _indexed(a: argparse.Namespace, examples: Sequence[Example], lines: Lines | None) -> str:
    """Make the index of the model that was just saved, by the process that leads."""
    from atmoe.sources.index import FOLDER
    from atmoe.train.team import Team

    if not Team().leads:
        return ""
    model = load_model(a)  # its sha256 is the new one
    _, sentence = indexed(model, examples, lines, a.model / FOLDER)
    return f"Index of {sentence}."


def train_lora(a: argparse.Namespace) -> Result:
    """Train the baseline that is one LoRA."""
    from dataclasses import replace

    from atmoe.mixture.base import named
    from atmoe.mixture.replacing import read_config
    from atmoe.train.baseline import lora_settings, train_lora

    description = described(a)
    out = a.out or BASELINES / "lora"
    # with a base of its own it needs no model; where one was named, its ranks are what counts
    needed = named(a.base) is None or a.model != DEFAULT_MODEL or a.model.exists()
    model = model_directory(a) if needed else None
    settings = lora_settings(description, model if a.rank is None else None)
    settings = replace(settings, **settings_given(a, type(settings)))
    beside = None if named(a.base) or model is None else read_config(model)[0]
    report = train_lora(description.examples(), description, a.base, out, settings, beside)
    return report, f"One LoRA saved in {out} {told_after(report)}"


def train_xlora(a: argparse.Namespace) -> Result:
    """Train the classifier of the X-LoRA baseline."""
    from atmoe.train.baseline import XloraSettings, train_xlora

    settings = XloraSettings(**settings_given(a, XloraSettings))
    description = described(a)
    out = a.out or BASELINES / "xlora"
    report = train_xlora(
        model_to_train(a), a.model, a.base, description.examples(), description, out, settings
    )
    return report, f"X-LoRA's classifier saved in {out} {told_after(report)}"


def add_commands(commands: Commands) -> None:
    """Put `train` among the others."""
    train = commands.add(
        "train",
        None,
        "Train experts, the router or a baseline. Run on several processes by  accelerate launch "
        "--num_processes N -m atmoe train ...",
        [],
    ).add_subparsers(required=True, metavar="{experts,router,planner,together,baseline}")
    parser = commands.add(
        "experts",
        training(train_experts),
        "Stage 1: one LoRA for each expert of each group.",
        [commands.common, commands.data],
        train,
    )
    out_argument(parser)
    parser.add_argument(
        "--start",
        type=Path,
        metavar="MODEL",
        help="a saved model whose experts are trained on (default: fresh ones)",
    )
    settings_arguments(
        parser,
        rank="of every LoRA that is made anew (default: 4)",
        alpha="of the same (default: 16)",
        answer_tokens="budget (default: ten passes over the data at most, and fewer where the loss "
        "on unseen topics falls no more)",
        step_tokens="of a step, padding included (default: 1920, and fewer where the data is "
        "small; a GPU takes more at once)",
        learning_rate="peak (default: 2e-3, and in proportion where steps are smaller)",
        seed="of everything",
        dtype=f"of the base model (default: {QUICKER})",
    )
    device_argument(parser)
    parser = commands.add(
        "router",
        training(train_router),
        "Stage 2: the router, experts frozen. Writes into --model.",
        [commands.of_model(None, FLOATING), commands.data],
        train,
    )
    parser.add_argument(
        "--index",
        action="store_true",
        help="also make the index of what was learned from, as atmoe index does",
    )
    settings_arguments(
        parser,
        instructions="of the warm start",
        answer_tokens="budget of the refinement (default: three passes over the data at most, and "
        "fewer where the loss on unseen topics falls no more)",
        learning_rate="peak, of the in-group heads",
        label_weight="of the labelled auxiliary loss",
        depth="how many layers of the base model the planner reads",
        width="of the planner's hidden layer",
        pieces="numbers that stand for pieces of words, by which the planner reads letters too; 0 "
        "= it does not",
        floor="how likely an expert must be asked for to take part",
        temperature="of in-group shares: above 1, nearer to equal",
        effect_answers="answers read for their groups' effects, each round",
        effect_rounds="how often that is done",
        effect_power="a group's share follows its effect to this power",
        seed="of everything",
    )
    floors_argument(parser)

    add_planner(commands, train)

    parser = commands.add(
        "together",
        training(train_together),
        "Stage 3, where it is wanted: experts learn on under the router's plan, in which a group "
        "may take no part.",
        [commands.of_model(None, FLOATING), commands.data],
        train,
    )
    out_argument(parser)
    settings_arguments(
        parser,
        group_floor="from how much of the weight, in units of an equal share, a group takes part",
        instructions="that tell the planner what the router gives its groups; 0 = who takes part "
        "stays as it is",
        answer_tokens="budget (default: three passes over the data at most, and fewer where the "
        "loss on unseen topics falls no more)",
        learning_rate="peak, of the experts",
        gain_learning_rate="peak, of the gains",
        seed="of everything",
    )

    parser = commands.add(
        "baseline", None, "What one could have done instead with the same data.", [], train
    )
    baseline = parser.add_subparsers(required=True, metavar="{lora,xlora}")
    parser = commands.add(
        "lora",
        training(train_lora),
        "One LoRA of the experts' total rank, on the base of --model and the batches the experts "
        "are trained on.",
        [commands.common, commands.data],
        baseline,
    )
    model_argument(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where it goes (default: baselines/lora)"
    )
    settings_arguments(
        parser,
        rank="of the LoRA (default: what the experts of --model have together, where its groups "
        "are those of the description, else 4 for each expert)",
        alpha="of the LoRA (default: its rank; beside --rank 4 for each expert)",
        answer_tokens="budget (default: as of train experts)",
        step_tokens="of a step (default: as of train experts)",
        learning_rate="peak (default: as of train experts)",
        seed="of everything",
        dtype=f"of the base model (default: {QUICKER})",
    )
    device_argument(parser)
    parser = commands.add(
        "xlora",
        training(train_xlora),
        "PEFT's X-LoRA over the experts of --model, on the batches the router is refined on.",
        [commands.of_model(None, FLOATING), commands.data],
        baseline,
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where its classifier goes (default: baselines/xlora)",
    )
    settings_arguments(
        parser,
        answer_tokens="budget (default: as of train router)",
        learning_rate="peak, of the classifier",
        gain="of all its scalings (default: the router's first, 0.5 for each group)",
        seed="of everything",
    )
