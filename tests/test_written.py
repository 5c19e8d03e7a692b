"""What people write by hand, where a key may stand twice."""

import json

import pytest
import yaml

from atmoe.data.description import Description
from atmoe.data.jsonl import read_jsonl
from atmoe.errors import DataError
from atmoe.many.rows import read_rows
from atmoe.written import TwiceError, json_of, yaml_of

TEXTS = [
    "a: 1\nb: {a: 2, b: [{a: 3}, {a: 4}]}",
    "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nboth: {<<: [*base, {a: 4}], c: 5}",
    "? [1, 2]\n: x\n1: a\n'1': b",
    "- 2026-12-01\n- ~\n- {}",
]


@pytest.mark.parametrize("text", [t for t in TEXTS if "?" not in t])
def test_what_stands_once_is_read_as_by_the_library(text):
    assert yaml_of(text) == yaml.safe_load(text)
    same = json.dumps(yaml.safe_load(text), default=str)
    assert json_of(same) == json.loads(same)


def test_a_key_that_is_a_list_is_refused_as_by_the_library():
    with pytest.raises(yaml.YAMLError, match="unhashable"):
        yaml_of(TEXTS[2])


@pytest.mark.parametrize(
    "text", ["a: 1\na: 1", "b:\n  - {a: 1, c: 2, 'a': 3}", "{<<: {a: 1}, a: 2, a: 3}"]
)
def test_a_key_that_stands_twice_is_named_with_its_line(text):
    assert yaml.safe_load(text)  # the library takes the last
    line = text.count("\n") + 1
    with pytest.raises(TwiceError, match=f"in line {line} it says a twice in one place; keep one"):
        yaml_of(text)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_description_that_names_a_group_twice_is_refused(tmp_path, suffix):
    path = tmp_path / f"own{suffix}"
    path.write_text('{"groups": {"task": ["sum", "ask"], "task": ["ask", "tell"]}}')
    with pytest.raises(DataError, match="cannot be read: .*says task twice"):
        Description.load(path)


def test_an_example_that_is_labelled_twice_is_refused(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "p", "answer": "a", "labels": {"task": "sum", "task": "ask"}}')
    with pytest.raises(DataError, match="line 1 is not clear: it says task twice"):
        read_jsonl(path)


def test_a_row_that_steers_a_group_twice_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    steering = '{"overrides": [], "strength": 1, "strength": 0}'
    rows = [
        '{"question": "q", "question": "r"}',
        json.dumps({"question": "q", "steering": steering}),
    ]
    path.write_text("\n".join([*rows, '{"question": "q"}']))
    first, second, third = read_rows(path)
    assert (
        first.error
        == "The line is not clear: it says question twice in one place; keep one of them."
    )
    assert second.error == (
        "The row's steering is not clear: it says strength twice in one place; keep one of them."
    )
    assert (third.question, third.error) == ("q", "")


def test_a_key_that_stands_twice_among_very_many_is_found_at_once():
    keys = [f'"{n}": 0' for n in (*range(200_000), 199_999)]
    with pytest.raises(TwiceError, match="says 199999 twice"):
        json_of("{" + ", ".join(keys) + "}")
