"""Where a command is to write, and cannot, is said before anything is read, by the name given."""

import pytest
from commands import refused

MANY = ["--prompts", "rows.jsonl"]
FILES = {
    "route": ["route", *MANY, "--out", "{}.csv"],
    "explain": ["explain", *MANY, "--out", "{}.parquet"],
    "score": ["score", *MANY, "--out", "{}.jsonl"],
    "faithfulness": ["faithfulness", *MANY, "--out", "{}.jsonl"],
    "report": ["report", "rows.jsonl", "--out", "{}.html"],
    "export": ["export", "Why?", "--out", "{}"],
    "gguf": ["export", "Why?", "--to", "gguf", "--out", "{}.gguf"],
    "space": ["space", "{}"],
    "flags": ["evaluate-flags", "no.yaml", "--answers", "{}.json"],
}
FOLDERS = {
    "experts": ["train", "experts", "no.yaml", "--out", "{}"],
    "together": ["train", "together", "no.yaml", "--out", "{}"],
    "lora": ["train", "baseline", "lora", "no.yaml", "--out", "{}"],
    "xlora": ["train", "baseline", "xlora", "no.yaml", "--out", "{}"],
    "index": ["index", "no.yaml", "--out", "{}"],
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"question": "Why?"}\n')
    return tmp_path


@pytest.mark.parametrize("argv", FILES.values(), ids=FILES.keys())
def test_without_the_folder_that_it_is_to_lie_in(capsys, here, argv):
    said = refused(capsys, *(word.format("none/x") for word in argv))
    assert "There is no folder none; make it, or name another" in said
    assert [path.name for path in here.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("argv", [a for n, a in FILES.items() if n not in ("flags", "space")])
def test_where_a_folder_lies_already(capsys, here, argv):
    words = [word.format("there") for word in argv]
    (here / words[-1]).mkdir()
    assert f"{words[-1]} is there already; delete it, or" in refused(capsys, *words)


@pytest.mark.parametrize("argv", FOLDERS.values(), ids=FOLDERS.keys())
def test_where_a_file_lies(capsys, here, argv):
    said = refused(capsys, *(word.format("rows.jsonl") for word in argv))
    assert "rows.jsonl is a file and no folder; name another --out." in said
    said = refused(capsys, *(word.format("rows.jsonl/x/y") for word in argv))
    assert "rows.jsonl is a file and no folder, and rows.jsonl/x/y cannot lie in it; name" in said


def test_a_space_where_a_file_lies(capsys):
    assert "rows.jsonl is there already and not empty" in refused(capsys, "space", "rows.jsonl")
