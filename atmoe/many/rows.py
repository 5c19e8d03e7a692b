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
LONGEST = 2**24
"""Characters of one cell; a file with a longer one is refused."""
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
NOTHING: tuple[dict[str, Any], ...] = ({}, {"overrides": []}, {"strength": 1, "overrides": []})
"""Steerings that set nothing, as the record of an unsteered answer has one: they count as none."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a text in a table begins with that a spreadsheet would take for a formula."""


@dataclass(frozen=True)
class Row:
    """One prompt of a file.

    Attributes:
        number: from 1; no two rows have one.
        id: as the file has it; else the number.
        question: as typed.
        answer: what is to be scored.
        steering: a steering's value, as a record has it; None = the command's own. So a row whose
            plan is to stay the router's has to say it: "state": "router" of some target.
        error: why it cannot be used; "" = it can.
    """

    number: int
    id: str
    question: str = ""
    answer: str = ""
    steering: Any = None
    error: str = ""

    @property
    def steered(self) -> bool:
        """Whether it is used under a steering of its own."""
        return self.steering is not None and not self.error


def read_rows(path: Path, column: str | None = None, id_column: str | None = None) -> Iterator[Row]:
    """The rows of a file, in its order; empty lines are none.

    Args:
        path: whose ending says what it holds.
        column: of the questions; default: "question", "prompt", or the only one there is.
        id_column: default: "id", where there is one.

    Raises:
        DataError: there is no such file, or no such column; or it is one JSON document.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one that holds the prompts.")
    ending = path.suffix.lower()
    if ending == ".json":
        raise DataError(f"{path} is not read as one document; write an object a line, as .jsonl.")
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
            elif ending in JSON_LINES:  # each object has names of its own
                try:
                    named = _columns(list(read), column, id_column, f"The line {number}")
                except DataError as error:
                    yield Row(number, str(number), error=str(error))
                else:
                    yield _row(number, read, *named)
            else:
                named = named or _columns(list(read), column, id_column, str(path))
                yield _row(number, read, *named)


def _separated(file: TextIO, separator: str, path: Path) -> Iterator[Mapping[str, Any] | str]:
    """The rows of a table by name, or what is wrong with one."""
    csv.field_size_limit(LONGEST)  # of the whole process, whose only reader of tables this is
    lines = csv.reader(file, delimiter=separator, strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            break
        except csv.Error as error:
            if header is None or "field larger" in str(error):
                raise DataError(
                    f"{path} cannot be read as a table, at its line {lines.line_num} ({error})."
                ) from error
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
            yield dict(zip(header, map(_text, cells)))
    if header is None:
        raise DataError(f"{path} is empty; its first line names the columns.")


def _text(cell: str) -> str:
    """A cell without the ' that our own tables keep it a text with."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULAS) else cell


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
    names: Sequence[str], column: str | None, id_column: str | None, where: str
) -> tuple[str, str | None]:
    """Which of the names are the question's and the id's.

    Args:
        names: of the columns.
        column: what a person says of the question's; None = nothing.
        id_column: the same of the id's.
        where: what has these columns.

    Raises:
        DataError: there is no such one, or nothing says which.
    """
    # What is no UTF-8 cannot be shown as it stands.
    listed = ", ".join(names).encode("utf-8", "backslashreplace").decode()
    for wanted in (id_column, column):
        if wanted is not None and wanted not in names:
            raise DataError(f"{where} has no {wanted!r}; it has {listed or 'nothing'}.")
    id_name = id_column or _named(names, ID)
    known = column or next(filter(None, (_named(names, name) for name in QUESTIONS)), None)
    others = [name for name in names if name != id_name and name.lower() not in (ANSWER, STEERING)]
    # A file without a header begins with a question.
    if known is None and len(others) == 1 and others[0].isidentifier():
        known = others[0]
    if known is None:
        raise DataError(
            f"Which column of {where} holds the questions? It has {listed or 'none'}; pass "
            "--column, or call one of them question."
        )
    return known, id_name


def _named(names: Sequence[str], wanted: str) -> str | None:
    """The one of these names that is this, in whatever case."""
    return next((name for name in names if name.lower() == wanted), None)


def _row(number: int, read: Mapping[str, Any], column: str, id_name: str | None) -> Row:
    """One row by its names; what is no text is told."""
    names = list(read)
    told = read[id_name] if id_name is not None else None
    answer_name, steering_name = _named(names, ANSWER), _named(names, STEERING)
    answer = read[answer_name] if answer_name is not None else None
    steering = read[steering_name] if steering_name is not None else None
    answer = "" if answer is None else answer
    return row_of(number, read[column], "" if told is None else str(told), answer, steering)


def row_of(
    number: int, question: Any, row_id: str = "", answer: Any = "", steering: Any = None
) -> Row:
    """A row of what was typed or read; what cannot be used is told in it.

    Args:
        number: from 1.
        question: should be a text.
        row_id: "" = the number.
        answer: should be a text.
        steering: a value, or its JSON; None, "" and what is in `NOTHING` = none of its own.
    """
    row_id = row_id.strip()
    error = ""
    if not isinstance(question, str):
        error = "The question is no text; put it in quotes."
    elif not isinstance(answer, str):
        error = "The answer is no text; put it in quotes."
    elif not (_readable(question) and _readable(answer) and _readable(row_id)):
        error = "The row is not in UTF-8; save the file as UTF-8."
    if error:
        kept = row_id if row_id and _readable(row_id) else str(number)
        return Row(number, kept, error=error)
    if isinstance(steering, str) and steering.strip():
        try:
            steering = json.loads(steering)
        except (ValueError, RecursionError):
            error = "The row's steering is no JSON; leave the cell empty, or give an object."
    elif isinstance(steering, str):
        steering = None
    if steering in NOTHING:
        steering = None
    return Row(number, row_id or str(number), question, answer, steering, error)


def _readable(text: str) -> bool:
    """Whether a text was UTF-8, and can be written again."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
