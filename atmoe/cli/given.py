"""What a command's arguments stand for: the model they name, a steering, the data they read.

Nothing here imports torch before it is asked, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe.cli.common import CORPORA, MEDICAL
from atmoe.errors import AssetError, DataError, PromptError, SteeringError
from atmoe.mixture.precision import placed

if TYPE_CHECKING:
    from atmoe.answer.sampling import Sampling
    from atmoe.data import Description
    from atmoe.model import AtMoe
    from atmoe.steering.overrides import Steering


def model_directory(a: argparse.Namespace) -> Path:
    """Where the trained AT-MoE that --model names should be, fetched where that is the hub.

    Raises:
        AssetError: it is the shipped one, and only the package is here; or the hub has it not.
    """
    if a.model == MEDICAL and not MEDICAL.exists():
        raise AssetError(
            "The medical model does not come with the package; it lies in the repository, under "
            "assets/medical. Clone that and pass --model PATH/assets/medical, or a model of your "
            "own."
        )
    from atmoe.mixture.hub import folder_of

    a.model = folder_of(a.model)
    return a.model


def load_model(a: argparse.Namespace) -> AtMoe:
    """The trained AT-MoE that --model, --base, --dtype and --device name.

    Raises:
        AssetError, BaseModelError: it cannot be loaded.
    """
    path = model_directory(a)
    from atmoe.model import AtMoe

    return AtMoe.from_pretrained(path, a.base, a.dtype, device=placed(a.device))


def text_of(argument: str) -> str:
    """A text given on the command line; - reads it from standard input."""
    if argument != "-":
        return argument
    if sys.stdin is None:
        raise PromptError("There is no standard input to read the question from; write it out.")
    return sys.stdin.read()


def steering_of(a: argparse.Namespace) -> Steering:
    """What --set, --off, --layers and --strength say.

    Raises:
        SteeringError: something is not of that form.
    """
    from atmoe.steering.overrides import State, Steering, parse_target

    if a.steps and a.steps[-1][0] == "layers":
        raise SteeringError(
            f"--layers {a.steps[-1][1]} applies to the overrides after it, and there is none; put "
            f"it before them."
        )
    overrides = []
    scope = "all"
    for option, value in a.steps:
        if option == "layers":
            scope = value
        else:
            state = State.FIXED if option == "set" else State.OFF
            overrides.append(parse_target(value, state, scope))
    return Steering(tuple(overrides), 1.0 if a.strength is None else a.strength)


def sampling_of(a: argparse.Namespace) -> Sampling:
    """How an answer is sampled.

    Raises:
        SamplingError: a value out of range.
    """
    from atmoe.answer.sampling import Sampling

    return Sampling(a.max_new_tokens, a.temperature, a.top_p, a.seed, a.repetition_penalty)


def described(a: argparse.Namespace) -> Description:
    """The description, its sources replaced by the corpora that were named on the command line.

    Raises:
        DataError: no data was named, or the description cannot be read.
    """
    from atmoe.data import MEDICAL, Description

    description = Description.load(a.description or MEDICAL, a.data)
    a.base = a.base or description.base
    corpora = _corpora(a)
    if any(corpora.values()):
        return description.reading(corpora)
    if not named(a):
        raise DataError(
            "No corpus was named; give at least one of --medquad DIR, --pubmedqa DIR, "
            "--mts-dialog DIR, or a description of your own."
        )
    return description


def named(a: argparse.Namespace) -> bool:
    """Whether any data was named."""
    return bool(a.description or a.data or any(_corpora(a).values()))


def _corpora(a: argparse.Namespace) -> dict[str, Any]:
    """Reader → the corpus that was named on the command line for it, or None."""
    return {reader: getattr(a, reader.replace("-", "_")) for reader in CORPORA}
