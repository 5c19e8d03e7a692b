"""What the commands that train share: processes, settings as options, a sentence at the end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe import files
from atmoe.cli.common import FLOATING, Result
from atmoe.cli.given import load_model
from atmoe.mixture.precision import DEVICE_VARIABLE, placed, quick

if TYPE_CHECKING:
    from atmoe.model import AtMoe


def training(run: Callable[[argparse.Namespace], Result]) -> Callable[..., Result]:
    """A command that trains, on as many processes as accelerate was asked for; one reports."""

    def launched(a: argparse.Namespace) -> Result:
        from atmoe.train.launch import start_all
        from atmoe.train.team import Team

        if getattr(a, "out", None):
            files.must_be_folder(a.out)
        if a.device:
            os.environ[DEVICE_VARIABLE] = placed(a.device)  # of every process
        start_all()
        result = run(a)
        if not Team().leads:
            raise SystemExit(0)
        return result

    return launched


def model_to_train(a: argparse.Namespace) -> AtMoe:
    """The model that --model names, in what it is trained in: the quicker where nobody says.

    Raises:
        AssetError, BaseModelError: it cannot be loaded.
    """
    a.dtype = a.dtype or quick()
    return load_model(a)


def told_after(report: Mapping[str, Any]) -> str:
    """What a report says of how long it took, and of the loss on unseen topics."""
    sentence = f"after {report['steps']} steps, {report['seconds']:.0f} s."
    before = report.get("before")
    if before:
        name = next(iter(before))  # the one that was watched
        sentence += (
            f" Loss on unseen topics: {before[name]:.3f} before, {report[name]:.3f} after "
            f"{report['kept_step']} steps, whose weights are kept."
        )
    return sentence


def settings_given(a: argparse.Namespace, settings: type) -> dict[str, Any]:
    """The command-line arguments that are fields of a settings class."""
    values = {field.name: getattr(a, field.name, None) for field in fields(settings)}
    return {name: value for name, value in values.items() if value is not None}


_KINDS = dict.fromkeys(
    (
        "rank",
        "answer_tokens",
        "step_tokens",
        "instructions",
        "seed",
        "depth",
        "width",
        "pieces",
        "effect_answers",
        "effect_rounds",
    ),
    int,
)


def out_argument(parser: argparse.ArgumentParser) -> None:
    """Where a model is trained into."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the model goes; an interrupted run there goes on",
    )


def settings_arguments(parser: argparse.ArgumentParser, **helps: str) -> None:
    """An option for each of these fields of a settings class; left out, the class decides."""
    for name, text in helps.items():
        option = f"--{name.replace('_', '-')}"
        if name == "dtype":
            parser.add_argument(option, type=str, help=text, choices=FLOATING)
        else:
            parser.add_argument(option, type=_KINDS.get(name, float), help=text, metavar="X")


def floors_argument(parser: argparse.ArgumentParser) -> None:
    """Floors that some groups have of their own."""
    by_group_argument(
        parser,
        "--floors",
        "a --floor of these groups' own: low where a prompt may ask for two of a group's "
        "experts, or the second is not let in; high where a second would only be doubt",
    )


def by_group_argument(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    """An option of a number for each of some groups."""
    parser.add_argument(
        option, type=_of_group, action=_ByGroup, nargs="+", metavar="GROUP=X", help=text
    )


class _ByGroup(argparse.Action):
    """What was given of each group, by its name; the option may be given again, for others."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        numbers = dict(getattr(namespace, self.dest) or {})
        for group, number in values:
            if group in numbers:
                parser.error(f"argument {option}: {group!r} is named twice; leave one of them out")
            numbers[group] = number
        setattr(namespace, self.dest, numbers)


def _of_group(text: str) -> tuple[str, float]:
    group, _, number = text.partition("=")
    try:
        return group, float(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like task=0.1") from error
