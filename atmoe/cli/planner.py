"""The command that teaches a trained router anew who takes part: train planner."""

from __future__ import annotations

import argparse
from typing import Any

from atmoe.cli.common import FLOATING, Commands, Result
from atmoe.cli.given import described
from atmoe.cli.training import (
    by_group_argument,
    floors_argument,
    model_to_train,
    settings_arguments,
    settings_given,
    training,
)
from atmoe.errors import TrainingError


def train_planner(a: argparse.Namespace) -> Result:
    """Teach a trained router anew who takes part, or set what is set by hand and no more."""
    from atmoe.train.by_hand import ByHand, set_by_hand
    from atmoe.train.planning import taught_anew, train_planner
    from atmoe.train.settings import RouterSettings

    of_groups = {"group_floors": a.group_floors or {}, "letters": a.letters or {}}
    if a.instructions == 0:
        for name in ("width", "pieces", "floor", "seed"):
            if getattr(a, name) is not None:
                raise TrainingError(
                    f"--{name} is learned with, and with --instructions 0 nothing is learned; "
                    "leave one of the two out."
                )
        by_hand = ByHand(a.soften, a.gain, a.floors or {}, **of_groups)
        report = set_by_hand(model_to_train(a), a.model, by_hand)
        return report, f"Planner set in {a.model}."
    given = settings_given(a, RouterSettings)
    RouterSettings(**given)  # before anything is read: can the numbers be?
    by_hand = ByHand(a.soften, a.gain, **of_groups)
    description, model = described(a), model_to_train(a)
    settings = taught_anew(model.router, given)
    report = train_planner(model, description.examples(), description, a.model, settings, by_hand)
    return report, (
        f"Planner saved in {a.model} after {report['seconds']:.0f} s; {report['team_size']} "
        "experts take part on average."
    )


def add_planner(commands: Commands, train: Any) -> None:
    """Put it among those that train."""
    parser = commands.add(
        "planner",
        training(train_planner),
        "The part of stage 2 that decides which experts take part, taught anew; all else stays. "
        "Writes into --model.",
        [commands.of_model(None, FLOATING), commands.data],
        train,
    )
    settings_arguments(
        parser,
        instructions="that it is fitted on; 0 = what it learned stays, and only what the options "
        "below name is set; no data are read",
        width="of its hidden layer (default: as it is)",
        pieces="numbers that stand for pieces of words, by which it reads letters too; 0 = it does "
        "not (default: as it is)",
        floor="how likely an expert must be asked for to take part (default: as it is, of each "
        "group)",
        seed="of everything",
    )
    floors_argument(parser)
    by_group_argument(
        parser,
        "--group-floors",
        "from which share of the weight these groups take part, in units of an equal share; 0 = "
        "always (default: as it is)",
    )
    by_group_argument(
        parser,
        "--letters",
        "also multiply what letters say of these groups' experts by this: they know the wordings "
        "of training by heart, and people use others",
    )
    parser.add_argument(
        "--soften",
        type=float,
        default=1.0,
        metavar="X",
        help="also divide the router's in-group logits by this: shares come nearer to equal",
    )
    parser.add_argument(
        "--gain",
        type=float,
        default=1.0,
        metavar="X",
        help="also multiply the router's gains by this (evaluate --strengths tells what a plan's "
        "strength is worth)",
    )
