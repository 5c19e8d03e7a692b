"""Many prompts: what a command does with --prompts FILE --out FILE.

`route`, `answer`, `explain`, `score` and `faithfulness` take them.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from atmoe.cli.common import Result, count
from atmoe.cli.given import load_model, model_directory, sampling_of, steering_of
from atmoe.errors import DataError
from atmoe.mixture.precision import chosen

if TYPE_CHECKING:
    from atmoe.answer.sampling import Sampling
    from atmoe.many.rows import Row
    from atmoe.many.run import Written
    from atmoe.routing.layout import Layout
    from atmoe.steering.overrides import Steering

log = logging.getLogger(__name__)

OF_MANY = ("out", "column", "id", "batch", "cluster", "workers")
"""Arguments that mean nothing without --prompts."""
SAMPLED = ("answer", "explain", "faithfulness")
"""Commands that write an answer."""


@dataclass(frozen=True)
class _Maker:
    """Who works on the rows: this process, or a cluster.

    Attributes:
        content: what `content_of` says of the model, its index and its words.
        layout: the model's.
        precision: what it was told to compute in.
        device: and on what kind of device.
        written: (rows, whether all of a value is wanted) → what goes into the file of each.
    """

    content: str
    layout: Layout
    precision: str
    device: str
    written: Callable[[Iterator[Row], bool], Iterator[Written]]


def arguments(parser: argparse.ArgumentParser, *positional: str) -> None:
    """--prompts and what goes with it; the command's own positionals are then left out.

    Args:
        parser: of the command.
        positional: names of those arguments.
    """
    group = parser.add_argument_group(
        "many prompts", "a file of rows in, a file of rows out; a stopped run goes on where it was"
    )
    group.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="CSV, TSV or JSONL by its ending, else a question a line; columns answer (to score), "
        "steering (JSON) and seed are read where they are there",
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="CSV or Parquet: a table of means over layers; JSONL: each row's plan, record, score",
    )
    group.add_argument(
        "--column",
        metavar="NAME",
        help="of the questions (default: question, or prompt)",
    )
    group.add_argument("--id", metavar="NAME", help="a column to keep (default: id, if there)")
    group.add_argument("--batch", type=count, metavar="N", help="rows at a time")
    group.add_argument(
        "--cluster",
        metavar="auto|HOST:PORT",
        help="let Ray's workers do it: auto = of the cluster that runs here, else of one that is "
        "started for it",
    )
    group.add_argument(
        "--workers", type=count, metavar="N", help="of a cluster (default: one for each machine)"
    )
    parser.set_defaults(positional=positional)


def wanted(a: argparse.Namespace) -> bool:
    """Whether a file of prompts was given, and not one prompt.

    Raises:
        DataError: both, neither, or half of it.
    """
    given = [name for name in a.positional if getattr(a, name) is not None]
    if a.prompts is None:
        if any(getattr(a, name) is not None for name in OF_MANY):
            *names, last = (f"--{name}" for name in OF_MANY)
            raise DataError(f"{', '.join(names)} and {last} go with --prompts FILE.")
        if len(given) < len(a.positional):
            missing = " and ".join(name for name in a.positional if name not in given)
            raise DataError(f"There is no {missing}; write it out, or pass --prompts FILE.")
        return False
    if given:
        raise DataError("Either one prompt or --prompts FILE; leave one of them out.")
    if a.out is None:
        raise DataError("--prompts needs --out FILE, where the rows go.")
    if a.batch is not None and "answer" in a.positional:
        raise DataError("score takes its rows one by one; leave --batch out.")
    if a.workers is not None and a.cluster is None:
        raise DataError("--workers are a cluster's; pass --cluster auto, or leave them out.")
    if a.cluster is not None and a.device not in (None, "cpu"):
        raise DataError("The workers of a cluster compute on CPUs; leave --device out.")
    return True


def either(one: Callable[[argparse.Namespace], Result]) -> Callable[[argparse.Namespace], Result]:
    """A command of one question, or of a file of them; it is called as its function is."""

    @wraps(one)
    def run(a: argparse.Namespace) -> Result:
        return many(a, one.__name__) if wanted(a) else one(a)

    return run


def many(a: argparse.Namespace, command: str) -> Result:
    """All rows of a file, to a file."""
    from tqdm import tqdm

    from atmoe.many.brief import columns
    from atmoe.many.commands import window_of
    from atmoe.many.out import JSON_LINES, Out, checked_out, digest
    from atmoe.many.rows import read_rows
    from atmoe.many.survey import Survey

    # 1. whatever can be wrong with the files, before the model is loaded
    if checked_out(a.out) not in JSON_LINES and command == "faithfulness":
        raise DataError("faithfulness keeps all that it measures; let --out end in .jsonl.")
    steering, sampling = _settings(a, command)
    settings = asdict(sampling) if command in SAMPLED else None
    rows = read_rows(a.prompts, a.column, a.id)
    survey = Survey.of(rows, settings, scored=command == "score")
    if not survey.rows:
        raise DataError(f"{a.prompts} holds no prompt.")
    for sentence in survey.told:
        log.warning("%s", sentence)
    with ExitStack() as stack:
        # 2. whatever can be wrong with the model, or with the cluster
        if a.cluster is None:
            maker = _alone(a, command, steering, sampling)
        else:
            maker = stack.enter_context(_clustered(a, command, steering, sampling))
        began = time.monotonic()
        run = {
            "command": command,
            "model": maker.content,
            "precision": maker.precision,
            "device": maker.device,
            "prompts": digest(a.prompts) + a.prompts.suffix.lower(),  # which says how it is read
            "steering": steering.to_dict(),
            "sampling": settings,
            "columns": [a.column, a.id],
            # an answer is what it is alone, but is judged by the plan of its window's next one
            "window": window_of(command, a.batch) if command == "faithfulness" else None,
        }
        # 3. go on behind what an earlier start has done, whoever did it
        out = stack.enter_context(closing(Out(a.out, columns(command, maker.layout), run)))
        # A window that was begun is worked on again, so that its rows have the same neighbours.
        again = out.done % window_of(command, a.batch)
        rows = islice(read_rows(a.prompts, a.column, a.id), out.done - again, None)
        made = islice(maker.written(rows, out.wants_all), again, None)
        for named, value in tqdm(made, total=survey.rows, initial=out.done, unit="row"):
            out.add(named, value)
        out.finish()
        result = {
            "out": str(a.out),
            "rows": survey.rows,
            "errors": out.errors,
            "own_steering": survey.steered,
            "own_seed": survey.seeded,
            "other_sampling": survey.otherwise,
            "repeated_ids": survey.repeated,
            "seconds": round(time.monotonic() - began, 1),
        }
    said = f"{survey.rows} rows in {a.out}"
    if out.errors:
        said += f"; with an error instead: {out.errors}"
    if survey.steered and not steering.untouched:
        said += f"; under a steering of their own, and not the command's: {survey.steered}"
    return result, said


def _settings(a: argparse.Namespace, command: str) -> tuple[Steering, Sampling]:
    """How rows are steered, and answers sampled: a study has its own of both."""
    from atmoe.answer.sampling import Sampling
    from atmoe.steering.overrides import Steering
    from atmoe.study import faithfulness

    if command == "faithfulness":
        return Steering(), replace(faithfulness.SAMPLING, seed=a.seed)
    return steering_of(a), sampling_of(a) if command in SAMPLED else Sampling()


def _alone(a: argparse.Namespace, command: str, steering: Steering, sampling: Sampling) -> _Maker:
    """This process."""
    from atmoe.many.commands import steps_of
    from atmoe.many.run import without_pauses
    from atmoe.many.worker import content_of

    model = load_model(a)

    def written(rows: Iterator[Row], whole: bool) -> Iterator[Written]:
        steps = steps_of(command, model, rows, steering, sampling, a.batch)
        return (done.written(whole, model.info.language) for done in without_pauses(steps))

    device = model.device.type
    return _Maker(content_of(a.model), model.layout, chosen(a.dtype, device), device, written)


@contextmanager
def _clustered(
    a: argparse.Namespace, command: str, steering: Steering, sampling: Sampling
) -> Iterator[_Maker]:
    """The workers of a cluster. No model is loaded here."""
    from atmoe.many.cluster import joined
    from atmoe.many.worker import Work
    from atmoe.mixture.store import read_config

    model = model_directory(a)
    work = Work.of(command, model, a.base, a.dtype, steering, sampling, a.batch)
    layout = read_config(model)[1]
    # Ray tells of workers that died on standard output, which is the result's
    with redirect_stdout(sys.stderr), joined(work, a.cluster, a.workers) as cluster:
        yield _Maker(work.content, layout, work.precision, "cpu", cluster.worked)
