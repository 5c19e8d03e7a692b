"""A file of prompts → rows, one at a time: a broken row is a row with an error, not a broken file.

Which fields are read of a row: its question (question, prompt, or what a person names), id, answer,
steering, seed and sampling, in whatever case; `atmoe.many.fields` has the kinds of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from atmoe.errors import DataError
from atmoe.many.fields import JSON_LINES, SEPARATORS, Broken, Table, json_lines, opened
from atmoe.schema import SEEDS
from atmoe.written import TwiceError, json_of

QUESTION, PROMPT = "question", "prompt"
"""What the column of the questions is called where nothing is said, the first before the second."""
ID, ANSWER, STEERING, SEED, SAMPLING = "id", "answer", "steering", "seed", "sampling"
TOKENS = "answer_tokens"
NOTHING: tuple[dict[str, Any], ...] = ({}, {"overrides": []}, {"strength": 1, "overrides": []})
"""Steerings that set nothing, as the record of an unsteered answer has one: they count as none."""


@dataclass(frozen=True)
class Row:
    """One prompt of a file.

    Attributes:
        number: from 1: of its line, or in a table of the row below the header; no two rows have
            one.
        id: as the file has it; else the number, which is told from the ids of a file that has such
            by a "row" before it.
        question: as typed.
        answer: what is to be scored.
        steering: a steering's value, as a record has it; None = the command's own. So a row whose
            plan is to stay the router's has to say it: "state": "router" of some target.
        error: why it cannot be used; "" = it can.
        seed: of its answer; None = the command's own.
        sampling: the settings of an answer that it has, as a record has them; they are not used.
        generated: whether it has the tokens of an answer, as a record has them; nor are they.
    """

    number: int
    id: str
    question: str = ""
    answer: str = ""
    steering: Any = None
    error: str = ""
    seed: int | None = None
    sampling: Mapping[str, Any] | None = None
    generated: bool = False

    @property
    def steered(self) -> bool:
        """Whether it is used under a steering of its own."""
        return self.steering is not None and not self.error

    def sampled_otherwise(self, settings: Mapping[str, Any]) -> bool:
        """Whether it has settings of an answer that are others than these."""
        own = self.sampling or {}
        return any(name in own and own[name] != value for name, value in settings.items())


def read_rows(path: Path, column: str | None = None, id_column: str | None = None) -> Iterator[Row]:
    """The rows of a file, in its order; empty lines are none.

    Args:
        path: whose ending says what it holds.
        column: of the questions; default: "question" or "prompt".
        id_column: default: "id", where there is one.

    Raises:
        DataError: there is no such file, or it is of another kind, or has no such column.
    """
    ending = path.suffix.lower()
    with opened(path) as file:
        if ending in SEPARATORS:
            yield from _table_rows(Table(file, SEPARATORS[ending], path), path, column, id_column)
        elif ending in JSON_LINES:
            yield from _json_rows(file, path, column, id_column)
        else:
            yield from line_rows(file)


def line_rows(lines: Iterable[str]) -> Iterator[Row]:
    """The rows of a text, a question a line; a row's number is its line's."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(number, {QUESTION: line.strip()}, {QUESTION: QUESTION}, str(number))


def _table_rows(
    table: Table, path: Path, column: str | None, id_column: str | None
) -> Iterator[Row]:
    header = table.header
    id_name = _id_name(header, id_column, str(path))
    names = _names(header, column, str(path))
    for number, cells in enumerate(table, 1):
        nameless = str(number) if id_name is None else f"row {number}"
        if isinstance(cells, Broken):
            sure = cells.first if id_name == header[0] else ""
            yield Row(number, _id_of(sure) or nameless, error=cells.error)
        else:
            fields = dict(zip(header, cells))
            told = None if id_name is None else fields[id_name]
            yield _row(number, fields, names, nameless, told)


def _json_rows(
    file: TextIO, path: Path, column: str | None, id_column: str | None
) -> Iterator[Row]:
    has_ids = id_column is not None or _has_ids(path)
    for number, read in json_lines(file):
        nameless = known = f"row {number}" if has_ids else str(number)
        fields = {QUESTION: read} if isinstance(read, str) else read
        if isinstance(fields, Broken):
            yield Row(number, nameless, error=fields.error)
            continue
        header, where = list(fields), f"line {number}"  # each object has names of its own
        try:
            id_name = _id_name(header, id_column, where)
            told = None if id_name is None else fields[id_name]
            known = _id_of(told) or nameless
            row = _row(number, fields, _names(header, column, where), nameless, told)
        except DataError as error:
            row = Row(number, known, error=str(error))
        yield row


def _has_ids(path: Path) -> bool:
    """Whether some object of a file has an id."""
    with opened(path) as file:
        for _, read in json_lines(file):
            if isinstance(read, Mapping):
                ids = (value for name, value in read.items() if name.lower() == ID)
                if any(map(_id_of, ids)):
                    return True
    return False


def _id_name(names: Sequence[str], id_column: str | None, where: str) -> str | None:
    """Which of the names is the id's.

    Args:
        names: of the columns.
        id_column: what a person says of it; None = nothing.
        where: what has these columns.

    Raises:
        DataError: there is no such one, or two are called so.
    """
    if id_column is not None and id_column not in names:
        raise DataError(f"There is no {id_column!r} in {where}, which has {_listed(names)}.")
    return id_column or _named(names, ID, where)


def _names(names: Sequence[str], column: str | None, where: str) -> dict[str, str | None]:
    """What the question's, the answer's and the other fields are called.

    Args:
        names: of the columns.
        column: what a person says of the question's; None = nothing.
        where: what has these columns.

    Raises:
        DataError: there is no question's, or nothing says which it is. That it is the only column
            says nothing: it may be a comment, or the first question of a file without a header.
    """
    if column is not None and column not in names:
        raise DataError(f"There is no {column!r} in {where}, which has {_listed(names)}.")
    column = column or _named(names, QUESTION, where) or _named(names, PROMPT, where)
    if column is None:
        raise DataError(
            f"Which column of {where} holds the questions? It has {_listed(names)}; pass --column, "
            "or call one of them question."
        )
    others = (ANSWER, STEERING, SEED, SAMPLING, TOKENS)
    return {QUESTION: column} | {name: _named(names, name, where) for name in others}


def _listed(names: Sequence[str]) -> str:
    """The names; what is no UTF-8 cannot be shown as it stands."""
    return ", ".join(names).encode("utf-8", "backslashreplace").decode() or "nothing"


def _named(names: Sequence[str], wanted: str, where: str) -> str | None:
    """The one of these names that is this, in whatever case.

    Raises:
        DataError: two are.
    """
    same = [name for name in names if name.lower() == wanted]
    if len(same) > 1:
        raise DataError(f"Both {same[0]!r} and {same[1]!r} are in {where}; rename one.")
    return same[0] if same else None


def _id_of(value: Any) -> str:
    """An id as it stands; "" = there is none, or none that can be written again."""
    text = "" if value is None else str(value)
    return text if text.strip() and _readable(text) else ""


def _row(
    number: int,
    fields: Mapping[str, Any],
    names: Mapping[str, str | None],
    nameless: str,
    told: Any = None,
) -> Row:
    """A row of what was typed or read; what cannot be used is told in it.

    Args:
        number: from 1.
        fields: by name.
        names: what the fields are called; the question should be a text, and the answer.
        nameless: what it is called without an id.
        told: its id.
    """

    def value_of(wanted: str) -> Any:
        name = names.get(wanted)
        return None if name is None else fields[name]

    question, answer = value_of(QUESTION), value_of(ANSWER)
    answer = "" if answer is None else answer
    row_id = _id_of(told) or nameless
    error = ""
    if not isinstance(question, str):
        error = "The question is no text; put it in quotes."
    elif not isinstance(answer, str):
        error = "The answer is no text; put it in quotes."
    elif not all(map(_readable, (question, answer, str(told)))):
        error = "The row is not in UTF-8; save the file as UTF-8."
    if error:
        return Row(number, row_id, error=error)
    steering, seed, sampling = value_of(STEERING), value_of(SEED), value_of(SAMPLING)
    if isinstance(steering, str) and steering.strip():
        try:
            steering = json_of(steering)
        except TwiceError as twice:
            error = f"The row's steering is not clear: {twice}."
        except (ValueError, RecursionError):
            error = "The row's steering is no JSON; leave the cell empty, or give an object."
    elif isinstance(steering, str):
        steering = None
    if steering in NOTHING:
        steering = None
    try:
        seed = _seed(seed)
    except (ValueError, OverflowError):
        seed = None
        wrong = "The row's seed is no whole number from 0 up, in all its digits; give one, or none."
        error = error or wrong
    sampling = sampling if isinstance(sampling, Mapping) else None
    generated = isinstance(value_of(TOKENS), list)
    return Row(number, row_id, question, answer, steering, error, seed, sampling, generated)


def _seed(value: Any) -> int | None:
    """A seed, of a table too, where 3 may be called 3.0; a long one has lost digits by that.

    Raises:
        ValueError, OverflowError: it is none.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seed = int(value) if isinstance(value, str) else value
    except ValueError:
        seed = float(value)
    if isinstance(seed, bool) or not isinstance(seed, int | float):
        raise ValueError(value)
    if seed != int(seed) or not 0 <= seed < SEEDS:
        raise ValueError(value)
    if isinstance(seed, float) and seed >= 2**53:  # several seeds round to it
        raise ValueError(value)
    return int(seed)


def _readable(text: str) -> bool:
    """Whether a text was UTF-8, and can be written again."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
