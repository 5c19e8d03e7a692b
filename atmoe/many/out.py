"""Rows out: a file that is whole or not there, and beside it what is done so far.

    OUT.part   its first line says of which run it is; then a JSON line a row, as it is done
    OUT        made of it at the end, in one stroke: CSV, JSONL or Parquet by its ending

A run that was stopped goes on where it stopped, when it is started again as it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from atmoe import files
from atmoe.errors import DataError
from atmoe.many.brief import Brief, flat
from atmoe.many.fields import cell_of

FORMAT = 2
"""Of what is beside a file that is not whole yet: rows of another one are not gone on with."""
JSON_LINES, TABLES = (".jsonl", ".ndjson"), (".csv", ".parquet")
CSV_ENCODING = "utf-8-sig"
"""Of a CSV file: without its mark a spreadsheet takes UTF-8 for another encoding."""
ROW_GROUP = 10_000
"""Rows that a Parquet file holds together, and that are in memory at once."""


class Out:
    """The rows of one run.

    Args:
        path: where they go; its ending says how.
        columns: of a table.
        run: what makes it this run and no other: the command, the model, the file and so on.

    Raises:
        DataError: `checked_out` refuses the file, or half of it is another run's.

    Attributes:
        done: how many rows an earlier start of the same run has left.
        errors: how many of the rows have one.
    """

    def __init__(self, path: Path, columns: Sequence[str], run: Mapping[str, Any]):
        self.path, self.columns = path, columns
        self.ending = checked_out(path)
        self.part = path.with_name(path.name + ".part")
        self.done = self.errors = 0
        head = (json.dumps({"format": FORMAT, **run}, sort_keys=True) + "\n").encode()
        with files.writing(self.part):
            self._file: IO[bytes] = self.part.open("a+b")
            if not files.hold(self._file):
                self._file.close()
                raise DataError(f"Another run writes {self.part}; wait for it, or name another.")
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        """Go on behind the last whole row of the same run, or begin."""
        self._file.seek(0)
        first = self._file.readline()
        if first != head and not head.startswith(first):
            self._file.close()
            raise DataError(
                f"{self.part} is of another run: another command, model, file or setting. Delete "
                "it, or name another --out."
            )
        if first != head:  # nothing, or a head that was cut off
            self._file.truncate(0)
            self._file.write(head)
            self._file.flush()
            return
        whole = self._file.tell()
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                self.errors += bool(json.loads(line).get("error"))
            except (ValueError, AttributeError):
                self._file.close()
                raise DataError(
                    f"{self.part} is damaged, in its line {self.done + 2}; delete it."
                ) from None
            self.done += 1
        self._file.truncate(whole)

    @property
    def wants_all(self) -> bool:
        """Whether it holds all of a value, and not the brief of it."""
        return self.ending in JSON_LINES

    def add(self, named: Mapping[str, Any], value: Mapping[str, Any] | Brief) -> None:
        """Add one row.

        Args:
            named: its id, question and error, where it has one.
            value: what came of it: all of it where `wants_all`, else a brief.
        """
        self.errors += bool(named.get("error"))
        row = {**named, **(value if self.wants_all else flat(value))}
        line = json.dumps(files.finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        with files.writing(self.part):
            self._file.write(line.encode())
            self._file.flush()

    def finish(self) -> None:
        """Make the file of what was added, and remove what was beside it."""
        with files.appearing(self.path) as beside:
            if self.ending == ".parquet":
                self._parquet(beside)
            elif self.ending == ".csv":
                self._csv(beside)
            else:
                with beside.open("wb") as file:
                    file.writelines(self._lines())
        self.close()
        self.part.unlink()

    def close(self) -> None:
        """Leave what is done for the next start."""
        self._file.close()

    def _lines(self) -> Iterator[bytes]:
        with self.part.open("rb") as file:
            file.readline()
            yield from file

    def _csv(self, path: Path) -> None:
        with path.open("w", encoding=CSV_ENCODING, newline="") as file:
            _write(file, map(json.loads, self._lines()), self.columns)

    def _parquet(self, path: Path) -> None:
        pa, parquet = _pyarrow()
        schema = pa.schema([(name, _type(pa, name)) for name in self.columns])
        with parquet.ParquetWriter(path, schema) as writer:
            rows: list[dict] = []
            for line in self._lines():
                row = json.loads(line)
                rows.append({name: row.get(name) for name in self.columns})
                if len(rows) == ROW_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    rows = []
            writer.write_table(pa.Table.from_pylist(rows, schema))


def table_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header; what a row lacks is empty."""
    text = io.StringIO(newline="")
    _write(text, rows, columns)
    return text.getvalue()


def _write(file: TextIO, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    for row in rows:
        cells = {name: row.get(name) for name in columns}
        texts = {name: cell_of(value) for name, value in cells.items() if isinstance(value, str)}
        writer.writerow(cells | texts)


def checked_out(path: Path) -> str:
    """What kind of file a name asks for, once nothing is known that stands in its way.

    Raises:
        DataError: none that is written here; or it is there already; or its folder is not; or the
            library that writes it.
    """
    ending = path.suffix.lower()
    if ending not in (*JSON_LINES, *TABLES):
        raise DataError(f"{path} ends in none of .csv, .jsonl and .parquet; name it so.")
    files.must_be_new(path)
    if ending == ".parquet":
        _pyarrow()
    return ending


def digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


NUMBERS = ("familiarity", "grade", "mean_logprob", "strength")
COUNTS = ("seed", "tokens", "words")


def _type(pa: Any, column: str) -> Any:
    """What a column of a table holds."""
    if column in COUNTS:
        return pa.int64()
    if column in NUMBERS or column.startswith(("shares ", "effects ")):
        return pa.float64()
    return pa.string()


def _pyarrow() -> tuple[Any, Any]:
    """The library that writes Parquet.

    Raises:
        DataError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            "Parquet is written by pyarrow, which is not installed; pip install pyarrow, or let "
            "--out end in .csv or .jsonl."
        ) from error
    return pyarrow, pyarrow.parquet
