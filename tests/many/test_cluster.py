"""A cluster: its rows are those of one process, and a worker that dies takes none with it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from commands import refused, run, stopped_after
from conftest import PROMPTS, ROOT

from atmoe import AtMoe, Override, Sampling, State, Steering
from atmoe.errors import ClusterError
from atmoe.many import cluster
from atmoe.many.commands import steps_of, windows
from atmoe.many.rows import Row
from atmoe.many.run import without_pauses
from atmoe.many.worker import Work, Worker, refusal

QUESTION = "How is illness {} treated?"
ROWS = [
    Row(1, "a", PROMPTS[1], "Rest."),
    Row(2, "b", " ", "Rest."),
    Row(3, "c", PROMPTS[0], steering={"overrides": [{"target": "field", "state": "off"}]}),
    Row(4, "d", PROMPTS[2], "Rest.", {"overrides": [{"target": "nobody", "state": "off"}]}),
    Row(5, "e", error="The row is broken."),
    Row(6, "f", PROMPTS[3], "Rest.", seed=7),
]
STEERING = Steering((Override("task/warn", State.FIXED, 0.9),))
BUSY = "ray::MapWorker(MapBatches(Worker)).submit"
"""What Ray calls the process of a worker that has a window."""


@pytest.fixture
def saved(llama, tmp_path, own_cache):
    """The directory of a tiny model that is on the disk."""
    llama.model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def as_deep_as_before():
    """A worker lets its process nest deeper; this process goes on with other tests."""
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def place(monkeypatch):
    """Where Ray writes; pytest's own folders have names too long for its sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as place:
        monkeypatch.setenv("RAY_TMPDIR", place)
        yield Path(place)


def questions(folder: Path) -> Path:
    """A file of 112 questions, of which three cannot be asked."""
    lines = [json.dumps({"id": f"q{i}", "question": QUESTION.format(i)}) for i in range(112)]
    lines[40], lines[90] = "{broken", json.dumps({"id": "q90", "question": ""})
    nobody = {"overrides": [{"target": "nobody", "state": "off"}]}
    lines[111] = json.dumps({"id": "q111", "question": "Gout?", "steering": nobody})
    file = folder / "asked.jsonl"
    file.write_text("\n".join(lines))
    return file


def busy_worker(of: psutil.Process) -> psutil.Process | None:
    """One that works on a window now."""
    for process in of.children(recursive=True):
        try:
            if process.cmdline()[:1] == [BUSY]:
                return process
        except psutil.Error:  # it ended meanwhile
            continue
    return None


def test_a_worker_killed_in_the_midst_of_a_run_loses_no_row(
    capsys, monkeypatch, llama, saved, place, tmp_path
):
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    given = ["answer", "--prompts", str(questions(tmp_path)), "--model", str(saved)]
    given += ["--base", str(llama.directory), "--max-new-tokens", "4", "--batch", "4"]
    clustered = [*given, "--out", str(out), "--json", "--cluster", "local", "--workers", "2"]
    said = run(capsys, *given, "--out", str(whole))
    # what one process began, a cluster goes on with, in the midst of a window
    stopped_after(21, monkeypatch, *given, "--out", str(out))
    started = subprocess.Popen(
        [sys.executable, "-m", "atmoe", *clustered],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part, last, killed = tmp_path / "out.jsonl.part", time.monotonic() + 400, None
    try:
        while killed is None:
            assert time.monotonic() < last and started.poll() is None, started.communicate()
            if part.read_bytes().count(b"\n") > 30:
                killed = busy_worker(psutil.Process(started.pid))
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        assert part.exists(), "all rows were done before"
        printed, complaint = started.communicate(timeout=300)
    finally:
        started.kill()
    assert started.returncode == 0, complaint
    own = json.loads(printed)
    assert (own["rows"], own["errors"]) == (said["rows"], said["errors"]) == (112, 3)
    assert out.read_bytes() == whole.read_bytes()
    logs = [file for file in place.glob("**/logs/**/*") if file.is_file()]
    assert logs and not any(b"illness" in file.read_bytes() for file in logs)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(place) in str(p.info)]


@pytest.mark.parametrize("command", ["route", "answer", "explain", "score", "faithfulness"])
@pytest.mark.parametrize("whole", [True, False])
def test_windows_give_what_the_whole_file_gives(llama, saved, command, whole):
    sampling, asked = Sampling(max_new_tokens=4), 2 * ROWS
    size = None if command == "score" else 2
    work = Work.of(command, saved, str(llama.directory), "float32", STEERING, sampling, size)
    worker = Worker(replace(work, whole=whole))
    parts = [[vars(row) for row in window] for window in windows(command, asked, size)]
    assert len(parts) == (1 if command == "score" else 2)
    given = worker({"window": [json.dumps(part) for part in parts]})["window"]
    made = [row for window in given for row in cluster._read(json.loads(window), set())]
    model = AtMoe.from_pretrained(saved, llama.directory)
    alone = without_pauses(steps_of(command, model, asked, STEERING, sampling, size))
    rows = json.loads(json.dumps([done.written(whole, model.info.language) for done in alone]))
    for _, value in [*made, *rows]:
        if whole and value.get("explanation"):
            del value["explanation"]["seconds"]  # is measured by the clock
    assert made == rows
    errors = [False, True, command == "score", True, True, False]  # score finds no answer in "c"
    assert [bool(named.get("error")) for named, _ in made] == 2 * errors


def test_a_machine_that_would_make_other_rows_is_refused(llama, saved, tmp_path):
    work = Work.of("route", saved, str(llama.directory))
    assert refusal(work) == ""
    assert "copy the model to that path" in refusal(replace(work, model=tmp_path / "no"))
    assert "has atmoe" in refusal(replace(work, version="0"))
    assert "other numbers" in refusal(replace(work, computed="bfloat16"))
    (saved / "index").mkdir()
    (saved / "index" / "words.bin").write_bytes(b"other words")
    assert "another model or index" in refusal(work)
    (saved / "router.safetensors").write_bytes(b"")
    assert "router.safetensors" in refusal(work)
    window = Worker(work)({"window": ["[]"]})["window"][0]
    with pytest.raises(ClusterError, match=r"router\.safetensors"):
        list(cluster._read(json.loads(window), set()))


def test_a_base_that_a_worker_does_not_have_is_told_in_a_sentence(saved):
    window = Worker(Work.of("route", saved, "/no/base"))({"window": ["[]"]})["window"][0]
    with pytest.raises(ClusterError, match="/no/base"):
        list(cluster._read(json.loads(window), set()))


def test_a_fault_of_a_worker_comes_back_with_its_traceback(llama, saved):
    worker = Worker(Work.of("route", saved, str(llama.directory)))
    window = worker({"window": ['[{"nothing": 1}]']})["window"][0]
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'nothing'"):
        list(cluster._read(json.loads(window), set()))


def test_a_row_that_nests_as_deep_as_can_be_read_is_a_row_with_an_error(llama, saved):
    worker = Worker(Work.of("route", saved, str(llama.directory)))
    steering = 980 * "[" + 980 * "]"
    row = f'{{"number": 1, "id": "1", "question": "Gout?", "steering": {steering}}}'
    window = worker({"window": [f"[{row}]"]})["window"][0]
    assert "not a steering" in json.loads(window)["rows"][0][0]["error"]


def test_what_a_worker_is_warned_of_is_passed_on_once(llama, saved, caplog):
    (saved / "index").mkdir()
    worker = Worker(Work.of("route", saved, str(llama.directory)))
    told: set[str] = set()
    caplog.clear()
    for _ in range(2):
        list(cluster._read(json.loads(worker({"window": ["[]"]})["window"][0]), told))
    assert [record.name for record in caplog.records] == ["atmoe.many.cluster"]


@pytest.mark.parametrize(
    ("cpus", "workers", "shared"),
    [
        ([8], None, (1, 8)),
        ([8], 3, (3, 2)),
        ([8, 8], None, (2, 8)),
        ([64, 2], None, (2, 2)),
        ([8, 8], 5, (5, 3)),
    ],
)
def test_processors_are_shared_out(cpus, workers, shared):
    assert cluster._shared_out(cpus, workers) == shared


def test_a_cluster_that_runs_here_is_joined_by_the_word_that_has_ray_find_its_token(monkeypatch):
    joined = []
    ray = SimpleNamespace(init=lambda where, **_: joined.append(where), shutdown=lambda: None)
    monkeypatch.setattr(cluster, "_running", lambda _: "127.0.0.1:6379")
    monkeypatch.setattr(cluster, "_knock", lambda where: joined.append(where))
    with cluster._connected(ray, cluster.AUTO, None):
        assert joined == ["127.0.0.1:6379", "auto"]


def test_what_a_cluster_cannot_do_is_refused(capsys, monkeypatch, llama, saved, tmp_path):
    with pytest.raises(ClusterError, match="2 processors, too few for 3"):
        cluster._shared_out([1, 1], 3)
    (tmp_path / "asked.txt").write_text("Gout?\n")
    many = ("--prompts", str(tmp_path / "asked.txt"), "--out", str(tmp_path / "out.csv"))
    given = ("route", *many, "--model", str(saved), "--base", str(llama.directory))
    assert "pass --cluster auto" in refused(capsys, *given, "--workers", "2")
    assert "go with --prompts" in refused(capsys, "route", "Gout?", "--cluster", "auto")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "ray", None)
        assert "pip install 'atmoe[cluster]'" in refused(capsys, *given, "--cluster", "auto")
    for address in ("nonsense", "127.0.0.1:1"):
        assert f"No Ray cluster can be joined at {address}" in refused(
            capsys, *given, "--cluster", address
        )
    assert not list(tmp_path.glob("out.csv*"))  # nothing is begun
