"""A file of prompts → rows, one at a time: a broken row is a row with an error, not a broken file.

.csv, .tsv        a header, then rows; a column is the question, another may be its id
.jsonl, .ndjson   a JSON object a line, or a JSON text
anything else     a question a line
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from atmoe.errors import DataError

QUESTIONS = ("question", "prompt")
"""What the column of the questions is called where nothing is said."""
ID, ANSWER, STEERING = "id", "answer", "steering"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Row:
    """One prompt of a file.

    Attributes:
        number: from 1.
        id: as the file has it; else the number.
        question: as typed.
        answer: what is to be scored.
        steering: a steering's value, as a record has it; None = the command's own.
        error: why it cannot be used; "" = it can.
    """

    number: int
    id: str
    question: str = ""
    answer: str = ""
    steering: Any = None
    error: str = ""


def read_rows(path: Path, column: str | None = None, id_column: str | None = None) -> Iterator[Row]:
    """The rows of a file, in its order; empty lines are none.

    Args:
        path: whose ending says what it holds.
        column: of the questions; default: "question", "prompt", or the only one there is.
        id_column: default: "id", where there is one.

    Raises:
        DataError: there is no such file, or no such column.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one that holds the prompts.")
    ending = path.suffix.lower()
    # What is no UTF-8 is told of its row; a mark at the start is no letter of the first name.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if ending in SEPARATORS:
            fields = _separated(file, SEPARATORS[ending], path)
        elif ending in JSON_LINES:
            fields = _json_lines(file)
        else:
            fields = ({QUESTIONS[0]: line.strip()} for line in file if line.strip())
        named: tuple[str, str | None] | None = None
        for number, read in enumerate(fields, 1):
            if isinstance(read, str):
                yield Row(number, str(number), error=read)
                continue
            if named is None or ending in JSON_LINES:  # each object has names of its own
                named = _columns(list(read), column, id_column, path, number)
            yield _row(number, read, *named)


def _separated(file: TextIO, separator: str, path: Path) -> Iterator[Mapping[str, Any] | str]:
    """The rows of a table by name, or what is wrong with one."""
    lines = csv.reader(file, delimiter=separator, strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            break
        except csv.Error as error:
            yield f"The row cannot be read as a table's ({error}); mend its quotes."
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header):
                raise DataError(f"Two columns of {path} have one name; rename one.")
        elif len(cells) != len(header):
            yield (
                f"The row has {len(cells)} cells, and the header {len(header)}; quote what holds a "
                "separator."
            )
        else:
            yield dict(zip(header, cells))
    if header is None:
        raise DataError(f"{path} is empty; its first line names the columns.")


def _json_lines(file: TextIO) -> Iterator[Mapping[str, Any] | str]:
    """The objects of a file by name, or what is wrong with one."""
    for line in file:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield "The line is no JSON; give an object or a text in quotes."
            continue
        if isinstance(value, str):
            yield {QUESTIONS[0]: value}
        elif isinstance(value, dict):
            yield value
        else:
            yield "The line is neither an object nor a text in quotes."


def _columns(
    names: Sequence[str], column: str | None, id_column: str | None, path: Path, number: int
) -> tuple[str, str | None]:
    """Which of the names are the question's and the id's.

    Raises:
        DataError: there is no such one, or nothing says which.
    """
    if id_column is not None and id_column not in names:
        raise _missing(id_column, names, path, number)
    by_name = {name.lower(): name for name in names}
    id_name = id_column or by_name.get(ID)
    if column is not None:
        if column not in names:
            raise _missing(column, names, path, number)
        return column, id_name
    known = [by_name[name] for name in QUESTIONS if name in by_name]
    others = [name for name in names if name != id_name]
    if known or len(others) == 1:
        return (known or others)[0], id_name
    raise DataError(
        f"Which column of {path} holds the questions? It has {', '.join(names)}; pass --column."
    )


def _missing(column: str, names: Sequence[str], path: Path, number: int) -> DataError:
    return DataError(f"Row {number} of {path} has no {column!r}; it has {', '.join(names)}.")


def _row(number: int, read: Mapping[str, Any], column: str, id_name: str | None) -> Row:
    """One row by its names; what is no text is told."""
    told = str(read[id_name]).strip() if id_name is not None else ""
    row_id = told if _readable(told) else ""
    question, answer = read[column], read.get(ANSWER) or ""
    error = ""
    if not isinstance(question, str) or not isinstance(answer, str):
        error = "The question is no text; put it in quotes."
    elif not (_readable(question) and _readable(answer) and _readable(told)):
        error = "The row is not in UTF-8; save the file as UTF-8."
    if error:
        return Row(number, row_id or str(number), error=error)
    steering = read.get(STEERING) or None
    if isinstance(steering, str):
        try:
            steering = json.loads(steering)
        except ValueError:
            error = "The row's steering is no JSON; leave the cell empty, or give an object."
    return Row(number, row_id or str(number), question, answer, steering, error)


def _readable(text: str) -> bool:
    """Whether a text was UTF-8, and can be written again."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
