"""A file of prompts: no row is lost, none has another's id, and what is no such file is refused."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cohort.desk import _lines
from atmoe.errors import DataError
from atmoe.many.fields import FORMULAS, OTHERS, Table
from atmoe.many.out import table_csv
from atmoe.many.rows import read_rows
from atmoe.many.survey import Survey


def read(folder, name: str, text: str | bytes):
    """The rows of a file with that in it."""
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(file))


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        # wrong quotes, too many cells, and no id
        ("a.csv", 'id,question\n5,A?\n4,"B"?\n3,C?\n,D?\n', ["5", "4", "3", "row 4"]),
        ("a.csv", "id,question\n2,A?\n 1 ,B?,more\n", ["2", " 1 "]),
        # where the id's own cell may be what is broken, or stand elsewhere
        ("a.csv", 'id,question\n2,A?\n"1"x,B?\n', ["2", "row 2"]),
        ("a.csv", "id,question\n2,A?\n1;B?\n", ["2", "row 2"]),
        ("a.csv", "question,id\nA?,2\nB?,more,1\n", ["2", "row 2"]),
        ("a.csv", 'id,question\n2,A?\n" ",B?\n2,C?\n', ["2", "row 2", "2"]),
        # a line's number could be another's id
        ("a.jsonl", '{"id": 2, "question": "A?"}\n{broken\n[1]\n', ["2", "row 2", "row 3"]),
        ("a.jsonl", '"A?"\n{broken\n{"id": 1, "question": "C?"}\n', ["row 1", "row 2", "1"]),
        ("a.jsonl", '{"id": 7}\n{"ID": 6, "question": 1}\n', ["7", "6"]),
        # a file without ids has its numbers
        ("a.csv", 'question\nA?\n"B"?\n""\nD?\n', ["1", "2", "3", "4"]),
        ("a.jsonl", '"A?"\n{broken\n"C?"\n', ["1", "2", "3"]),
    ],
)
def test_no_row_is_called_as_another_one(tmp_path, name, text, ids):
    assert [row.id for row in read(tmp_path, name, text)] == ids


def test_ids_of_more_than_one_row_are_counted(tmp_path):
    rows = read(tmp_path, "a.csv", 'id,question\n2,A?\n"",B?\n2,C?\n3,D?\nrow 2,E?\n3,F?\n3,G?\n')
    assert Survey.of(rows).repeated == 3 and "row has: 3;" in Survey.of(rows).told[0]
    assert Survey.of(rows[2:5]).told == ()


def test_of_records_that_are_scored_it_is_told_that_their_text_is_read(tmp_path):
    record = {"prompt": "Why?", "answer": "So.", "answer_tokens": [2, 3]}
    lines = [record, record, {"prompt": "Why?", "answer": "So."}, {**record, "answer": 3}]
    file = tmp_path / "records.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = list(read_rows(file))
    [told] = Survey.of(rows, scored=True).told
    assert told.endswith("scored as its text is read and may be cut into others: 2.")
    assert Survey.of(rows).told == ()


UNCLOSED = 'id,question\n1,A?\n2,"B?\n3,C?\n4,D?\n'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (UNCLOSED, "3 to 5"),
        (UNCLOSED + '5,What is "E"?\n6,F?\n', "3 to 6"),
        (UNCLOSED + '5,"E?"\n6,F?\n', "3 to 6"),
        (UNCLOSED + '5,E?",more\n6,F?\n', "3 to 6"),
    ],
)
def test_a_quote_that_is_open_takes_no_rows_with_it(tmp_path, text, lines):
    with pytest.raises(DataError, match=rf"lines {lines} of .* one row by their quotes"):
        read(tmp_path, "a.csv", text)


def test_a_question_may_have_several_lines(tmp_path):
    table = io.StringIO(newline="")
    questions = ['What is\n"A",\r\n\r\nand B?', "C?", "\nD?\n"]
    csv.writer(table).writerows([["id", "question"], *enumerate(questions, 1)])
    rows = read(tmp_path, "a.csv", table.getvalue())
    assert [row.question for row in rows] == questions and not any(row.error for row in rows)
    # and what is wrong with the row behind it is that row's
    text = 'question,note\n"A\nB?",x\n"C"?,x\nD?,x\n'
    assert [bool(row.error) for row in read(tmp_path, "b.csv", text)] == [False, True, False]


@pytest.mark.parametrize("line", ['{"comment": "ward 3"}', '{"id": 4, "text": "Gout?"}', "{}"])
def test_only_what_is_called_a_question_is_asked(tmp_path, line):
    first, second = read(tmp_path, "a.jsonl", f'{line}\n{{"question": "B?"}}\n')
    assert not first.question and "Which column of line 1 holds the questions?" in first.error
    assert second.question == "B?"


@pytest.mark.parametrize("questions", [["A?", None, "C?"], [None, "B?", None], ["A?", None, None]])
@pytest.mark.parametrize("ids", [None, [7, 8, 9], ["", "8", None]])
def test_rows_are_as_many_as_pandas_has_and_in_its_places(tmp_path, questions, ids):
    table = pandas.DataFrame({"question": questions} | ({} if ids is None else {"id": ids}))
    table.to_csv(tmp_path / "a.csv", index=False)
    rows = list(read_rows(tmp_path / "a.csv"))
    again = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert [row.question for row in rows] == again["question"].tolist()
    assert [row.number - 1 for row in rows] == again.index.tolist()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_question_a_line_has_the_number_of_its_line(tmp_path, end):
    text = end.join(["", "A?", " ", "B\x0cC\u2028D\x85E\x1cF?", "", ""])
    rows = read(tmp_path, "a.txt", text)
    assert [(row.id, row.question[0]) for row in rows] == [("2", "A"), ("4", "B")]
    assert "\u2028" in rows[1].question
    # pasted into the page, it is the same
    assert list(_lines(text)) == rows


def workbook() -> bytes:
    """What a spreadsheet's file begins with."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("xl/worksheets/sheet1.xml", "<r>Gout?</r>")
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *((f"a{ending}", b"question\nGout?\n") for ending in (*OTHERS, ".XLSX")),
        ("a.csv", workbook()),
        ("a.txt", "Gout?\nAsthma?\n".encode("utf-16")),
        ("a.csv", "question\nGout?\n".encode("utf-16-le")),
        ("a.txt", "Gout?\n".encode("utf-32-be")),
        ("a", b"%PDF-1.7\nGout?\n"),
    ],
)
def test_what_is_no_text_is_refused_with_what_to_do(tmp_path, name, data):
    with pytest.raises(DataError, match="save it as CSV UTF-8"):
        read(tmp_path, name, data)


@given(st.lists(st.text(st.sampled_from("'=+-@\t\r\n ,\"a\ufeff\0"), max_size=4)))
def test_a_text_of_our_own_table_is_no_formula_and_is_read_as_it_was(texts):
    rows = [{"id": text, "question": text} for text in texts]
    held = table_csv(rows, ("id", "question"))
    table = Table(io.StringIO(held, newline=""), ",", Path("a.csv"))
    assert list(table) == [[text, text] for text in texts]
    for row in csv.DictReader(io.StringIO(held, newline="")):
        assert not row["question"].startswith(FORMULAS)
