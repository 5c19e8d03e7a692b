"""Many prompts: what `route`, `answer`, `explain` and `score` do with --prompts FILE --out FILE."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe.cli.common import Result, count, load_model, sampling_of, steering_of
from atmoe.errors import DataError

if TYPE_CHECKING:
    from atmoe.many.rows import Row
    from atmoe.many.run import Done
    from atmoe.model import AtMoe


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
        help="CSV, TSV or JSONL by its ending, else a question a line; columns answer (to score) "
        "and steering (JSON) are read where they are there",
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
        help="of the questions (default: question, prompt, or the only one)",
    )
    group.add_argument("--id", metavar="NAME", help="a column to keep (default: id, if there)")
    group.add_argument("--batch", type=count, metavar="N", help="rows at a time")
    parser.set_defaults(positional=positional)


def wanted(a: argparse.Namespace) -> bool:
    """Whether a file of prompts was given, and not one prompt.

    Raises:
        DataError: both, neither, or half of it.
    """
    given = [name for name in a.positional if getattr(a, name) is not None]
    if a.prompts is None:
        if a.out is not None or a.column is not None or a.id is not None or a.batch is not None:
            raise DataError("--out, --column, --id and --batch go with --prompts FILE.")
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
    return True


def many(a: argparse.Namespace, command: str) -> Result:
    """All rows of a file, to a file."""
    from tqdm import tqdm

    from atmoe.many.brief import brief_of, columns
    from atmoe.many.out import Out, checked_out, digest
    from atmoe.many.rows import read_rows

    # 1. whatever can be wrong with the files, before the model is loaded
    checked_out(a.out)
    total = sum(1 for _ in read_rows(a.prompts, a.column, a.id))
    if not total:
        raise DataError(f"{a.prompts} holds no prompt.")
    # 2. go on behind what an earlier start has done
    model, began = load_model(a), time.monotonic()
    run = {
        "command": command,
        "model": model.info.sha256,
        "precision": model.precision,
        "prompts": digest(a.prompts) + a.prompts.suffix.lower(),  # which says how it is read
        "steering": steering_of(a).to_dict(),
        "sampling": asdict(sampling_of(a)) if command in ("answer", "explain") else None,
        "columns": [a.column, a.id],
    }
    with closing(Out(a.out, columns(command, model.layout), run)) as out:
        rows = islice(read_rows(a.prompts, a.column, a.id), out.done, None)
        bar = tqdm(_done(a, command, model, rows), total=total, initial=out.done, unit="row")
        for done in bar:
            named = {"id": done.row.id, "question": done.row.question}
            if done.value is None:
                out.add({**named, "error": done.error}, {})
            else:
                out.add(named, done.value.to_dict() if out.wants_all else brief_of(done.value))
        out.finish()
        result = {
            "out": str(a.out),
            "rows": total,
            "errors": out.errors,
            "seconds": round(time.monotonic() - began, 1),
        }
    said = f"{total} rows in {a.out}"
    return result, said + (f"; with an error instead: {out.errors}" if out.errors else "")


def _done(
    a: argparse.Namespace, command: str, model: AtMoe, rows: Iterator[Row]
) -> Iterator[Done[Any]]:
    """The rows, as the command works on them."""
    from atmoe.many import run

    steering = steering_of(a)
    if command == "score":
        return run.scoring(model, rows, steering)
    if command == "route":
        return run.routing(model, rows, steering, a.batch or run.ROUTED)
    work = run.answering if command == "answer" else run.explaining
    return work(model, rows, steering, sampling_of(a), a.batch or run.ANSWERED)
