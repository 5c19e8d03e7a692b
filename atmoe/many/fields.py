"""A file of prompts → what it has of each row, or why that cannot be read.

.csv, .tsv        a header, then rows
.jsonl, .ndjson   a JSON object a line, or a JSON text
anything else     a question a line
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from atmoe.errors import DataError
from atmoe.written import TwiceError, json_of

LONGEST = 2**24
"""Characters of one cell; a file with a longer one is refused."""
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
OTHERS = (
    *(".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers", ".docx", ".doc", ".odt", ".rtf"),
    *(".pdf", ".html", ".htm", ".xml", ".parquet", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"),
)
"""Endings of what is no lines of text, or none that are questions."""
HEADS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF", b"\xff\xfe", b"\xfe\xff")
"""How such files begin, whatever they are called; the last two are marks of UTF-16."""
FORMULAS = ("=", "+", "-", "−", "@", "\t", "\r")
"""What a text in a table begins with that a spreadsheet would take for a formula. The page writes
its tables by the same rule (assets/app/take.js)."""


class Broken(NamedTuple):
    """A row that cannot be read.

    Attributes:
        error: why, in a sentence.
        first: the first cell, where it is sure; else "".
    """

    error: str
    first: str = ""


def opened(path: Path) -> TextIO:
    """A file of prompts, to be read.

    Raises:
        DataError: there is no such file; or what is in it are no lines of UTF-8.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one that holds the prompts.")
    ending = path.suffix.lower()
    if ending == ".json":
        raise DataError(f"{path} is not read as one document; write an object a line, as .jsonl.")
    with path.open("rb") as raw:
        head = raw.read(4096)
    # further on, an answer of ours may hold anything
    binary = b"\0" in head.partition(b"\n")[0]
    if ending in OTHERS or head.startswith(HEADS) or binary:
        raise DataError(f"{path} is no text in UTF-8 of a row a line; save it as CSV UTF-8.")
    # What is no UTF-8 is told of its row; a mark at the start is no letter of the first name.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class Table:
    """The rows of a table: iterate it for the cells of each, or why they cannot be read.

    A line without anything is none, as for pandas; one of empty cells is.

    Args:
        file: it.
        separator: between cells.
        path: how messages call it.

    Raises:
        DataError: here: it has no header, or two columns have one name. In the midst: a cell is too
            long, or several lines are one row by their quotes, which cannot be read, so that
            nobody knows how many rows they are.

    Attributes:
        header: the names of the columns.
    """

    def __init__(self, file: TextIO, separator: str, path: Path):
        csv.field_size_limit(LONGEST)  # of the whole process, whose only reader of tables this is
        self._path, self._separator = path, separator
        self._line = ""
        self._lines = csv.reader(self._kept(file), delimiter=separator, strict=True)
        self.header: list[str] = []
        for header in self._records():
            if isinstance(header, Broken):
                raise DataError(f"{path} cannot be read as a table, at its header: {header.error}")
            self.header = [cell.strip() for cell in header]
            if any(self.header):
                break
        if not any(self.header):
            raise DataError(f"{path} is empty; its first line names the columns.")
        if len(set(self.header)) < len(self.header):
            raise DataError(f"Two columns of {path} have one name; rename one.")

    def __iter__(self) -> Iterator[list[str] | Broken]:
        for cells in self._records(len(self.header)):
            yield cells if isinstance(cells, Broken) else [text_of(cell) for cell in cells]

    def _kept(self, file: TextIO) -> Iterator[str]:
        """The lines; the last one is kept."""
        for self._line in file:
            yield self._line

    def _records(self, width: int | None = None) -> Iterator[list[str] | Broken]:
        """What stands between two ends of a row, with so many cells."""
        lines = self._lines
        while True:
            before, first = lines.line_num, ""
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                if "field larger" in str(error):
                    raise DataError(
                        f"{self._path} cannot be read as a table, at its line {lines.line_num} "
                        f"({error})."
                    ) from error
                wrong = f"cannot be read as a table's ({error}); mend its quotes"
                first, separated, _ = self._line.partition(self._separator)
                first = first if separated and '"' not in first else ""
            else:
                if not self._line.strip(" \r\n") and lines.line_num == before + 1:
                    continue
                if width is None or len(cells) == width:
                    yield cells
                    continue
                wrong = (
                    f"has {len(cells)} cells, and the header {width}; quote what holds a separator"
                )
                first = cells[0] if len(cells) > 1 else ""
            if lines.line_num > before + 1:
                raise DataError(
                    f"The lines {before + 1} to {lines.line_num} of {self._path} are one row by "
                    f"their quotes, but it {wrong}. Is a quote open in the line {before + 1}?"
                )
            yield Broken(f"The row {wrong}.", text_of(first))


def cell_of(text: str) -> str:
    """A text as a table has it: what a spreadsheet would take for a formula begins with one more '.

    So does what would be one without those that it begins with itself: only one is read away.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULAS) else text


def text_of(cell: str) -> str:
    """The inverse of `cell_of`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULAS) else cell


def json_lines(file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any] | str | Broken]]:
    """The objects and texts of a file by the numbers of their lines, or what is wrong with one.

    Empty lines are none.
    """
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json_of(line)
        except TwiceError as error:
            yield number, Broken(f"The line is not clear: {error}.")
            continue
        except (ValueError, RecursionError):
            yield number, Broken("The line is no JSON; give an object or a text in quotes.")
            continue
        if isinstance(value, str | dict):
            yield number, value
        else:
            yield number, Broken("The line is neither an object nor a text in quotes.")
