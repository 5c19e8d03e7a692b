"""Training on two processes: the same steps and, but for the order of sums, the same weights."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from samples import LINES

from atmoe.cli.main import main
from atmoe.train.launch import asked_for
from atmoe.train.team import Team

EXPERTS = ["--rank", "2", "--answer-tokens", "2500", "--dtype", "float32"]
FEW = ["--instructions", "40", "--effect-answers", "12"]
ROUTER = [*FEW, "--answer-tokens", "2500", "--dtype", "float32"]


@pytest.fixture(scope="module")
def trained(worlds, tmp_path_factory):
    """The same trainings here and, under accelerate, in two processes: {processes: directory}."""
    home = tmp_path_factory.mktemp("team")
    (home / "own.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    (home / "own.yaml").write_text(
        "groups: {task: [define, treat, warn], field: [heart], reader: [lay, expert]}\n"
        "sources: [{reader: jsonl, path: own.jsonl}]\n"
    )
    out = {processes: home / f"on{processes}" for processes in (1, 2)}

    def trainings(processes: int) -> list[list[str]]:
        given = [str(home / "own.yaml"), "--base", str(worlds("llama").directory), "--json"]
        where = str(out[processes])
        return [
            ["train", "experts", *EXPERTS, "--out", where, *given],
            ["train", "router", *ROUTER, "--model", where, *given],
        ]

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ATMOE_CACHE", str(home / "cache"))
        patched.setenv("PYTHONPATH", str(ROOT))
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.delenv("WORLD_SIZE", raising=False)
        for words in trainings(1):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                main(words)
            assert json.loads(printed.getvalue())["stage"] == words[1]
        accelerated = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
        for words in trainings(2):
            done = subprocess.run(
                [*accelerated, "-m", "atmoe", *words],
                cwd=home,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            # one document, whatever the number of processes
            assert json.loads(done.stdout)["stage"] == words[1]
    return out


def steps(path: Path) -> list[dict]:
    return [
        entry for line in path.read_text().splitlines() if "step" in (entry := json.loads(line))
    ]


@pytest.mark.parametrize("log", ["log.jsonl", "router-run/log.jsonl"])
def test_two_processes_take_the_same_steps(trained, log):
    first = json.loads((trained[2] / log).read_text().splitlines()[0])
    assert first["processes"] == 2
    one, two = steps(trained[1] / log), steps(trained[2] / log)
    assert len(one) == len(two) > 4
    for a, b in zip(one, two):
        assert a["tokens"] == b["tokens"] if "tokens" in a else True
        for name in set(a) - {"seconds", "tokens", "validation"}:
            assert a[name] == pytest.approx(b[name], abs=2e-3), name
    if log == "log.jsonl":  # the router's few steps are of other rows each, and change less
        assert one[-2]["loss"] < one[0]["loss"]


def test_two_processes_end_at_the_same_weights(trained):
    files = [p.relative_to(trained[1]) for p in trained[1].rglob("*.safetensors")]
    assert len(files) == 7
    for file in files:
        one, two = load_file(trained[1] / file), load_file(trained[2] / file)
        for key in one:
            assert (one[key] - two[key]).norm() <= 0.01 * one[key].norm() + 1e-3, (file, key)


def test_alone_a_team_changes_nothing():
    team, weight = Team(), torch.nn.Parameter(torch.ones(3))
    (weight * 2).sum().backward()
    team.sum_gradients([weight])
    assert weight.grad.tolist() == [2, 2, 2] and team.leads and team.size == 1
    assert team.share([1, 2, 3]) == team.gather([1, 2, 3]) == [1, 2, 3] and team.agree("x") == "x"
    assert team.total(weight) is weight


@pytest.mark.parametrize(
    "words, count",
    [
        (
            [
                "/usr/bin/python",
                "/venv/bin/accelerate",
                "launch",
                "--num_processes",
                "2",
                "-m",
                "atmoe",
                "train",
                "experts",
            ],
            2,
        ),
        (
            [
                "python",
                "-m",
                "accelerate.commands.launch",
                "--num-processes=3",
                "--module",
                "atmoe",
                "train",
            ],
            3,
        ),
        (["/venv/bin/accelerate", "launch", "--num-processes=3", "--module", "atmoe", "train"], 3),
        (["/venv/bin/accelerate-launch", "--num_processes", "4", "-m", "atmoe", "train"], 4),
        (["accelerate", "launch", "-m", "atmoe", "train", "--num_processes", "9"], 1),
        (["accelerate", "launch", "--num_processes", "2", "other.py"], 1),
        (["bash"], 1),
        ([], 1),
    ],
)
def test_what_accelerate_was_asked_for(words, count):
    assert asked_for(words) == count
