"""Many prompts: what `route`, `answer`, `explain` and `score` do with --prompts FILE --out FILE."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import wraps
from itertools import islice
from pathlib import Path

from atmoe.cli.common import Result, count, load_model, sampling_of, steering_of
from atmoe.errors import DataError


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
    from atmoe.many.out import Out, checked_out, digest
    from atmoe.many.rows import read_rows
    from atmoe.many.run import again, steps_of, without_pauses

    # 1. whatever can be wrong with the files, before the model is loaded
    checked_out(a.out)
    total = sum(1 for _ in read_rows(a.prompts, a.column, a.id))
    if not total:
        raise DataError(f"{a.prompts} holds no prompt.")
    # 2. go on behind what an earlier start has done
    model, began = load_model(a), time.monotonic()
    steering = steering_of(a)
    sampled = {"sampling": sampling_of(a)} if command in ("answer", "explain") else {}
    run = {
        "command": command,
        "model": model.info.sha256,
        "precision": model.precision,
        "device": model.device.type,
        "prompts": digest(a.prompts) + a.prompts.suffix.lower(),  # which says how it is read
        "steering": steering.to_dict(),
        "sampling": asdict(sampled["sampling"]) if sampled else None,
        "columns": [a.column, a.id],
    }
    with closing(Out(a.out, columns(command, model.layout), run)) as out:
        known = again(command, out.done, a.batch)
        rows = islice(read_rows(a.prompts, a.column, a.id), out.done - known, None)
        steps = steps_of(command, model, rows, steering, size=a.batch, known=known, **sampled)
        new = islice(without_pauses(steps), known, None)
        for done in tqdm(new, total=total, initial=out.done, unit="row"):
            whole = out.wants_all and done.value is not None
            out.add(done.named, done.value.to_dict() if whole else done.brief)
        out.finish()
        result = {
            "out": str(a.out),
            "rows": total,
            "errors": out.errors,
            "seconds": round(time.monotonic() - began, 1),
        }
    said = f"{total} rows in {a.out}"
    return result, said + (f"; with an error instead: {out.errors}" if out.errors else "")
