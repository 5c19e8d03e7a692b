"""A file that a training resumes from is whole, or is refused in one sentence."""

import errno
import io
import os

import pytest
import torch
from test_train import DESCRIBED, EXAMPLES, small_batches  # noqa: F401  # a fixture

from atmoe.errors import TrainingError
from atmoe.train import loop
from atmoe.train.router import train_router
from atmoe.train.settings import RouterSettings
from atmoe.train.team import Team

SETTINGS = RouterSettings(
    instructions=20, fit_steps=5, answer_tokens=200, effect_answers=3, dtype="float32"
)


def saved_bytes(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Harmful:
    """Unpickled, it would make a file."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def damages(whole: bytes) -> dict[str, bytes]:
    content = torch.load(io.BytesIO(whole), weights_only=True)
    return {
        "empty": b"",
        "garbage": b"\x80garbage" * 50,
        "half": whole[: len(whole) // 2],
        "short": whole[:-1],
        "a list": saved_bytes([1, 2]),
        "no dictionary": saved_bytes(torch.zeros(2)),
        "code": saved_bytes({**content, "more": Harmful()}),
    }


@pytest.fixture(scope="module")
def parameter_run(tmp_path_factory):
    """A checkpoint of one parameter, and what runs it on."""
    out = tmp_path_factory.mktemp("run")

    def resume():
        parameter = torch.nn.Parameter(torch.zeros(3))
        return loop.run(
            parameters=[{"params": [parameter], "lr": 1e-2}],
            batches=iter(()),
            budget=1,
            loss=None,
            out=out,
            settings={"seed": 5},
            team=Team(),
        )

    resume()
    return out / loop.CHECKPOINT, resume


KINDS = ("empty", "garbage", "half", "short", "a list", "no dictionary", "code")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint(parameter_run, kind):
    path, resume = parameter_run
    whole = path.read_bytes()
    try:
        path.write_bytes(damages(whole)[kind])
        with pytest.raises(
            TrainingError, match=r"cannot be read .*; delete .*or name an empty"
        ) as e:
            resume()
        assert "\n" not in str(e.value) and not os.path.exists("harmed")
    finally:
        path.write_bytes(whole)
    resume()


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": [torch.zeros(1)]},
        {"parameters": []},
        {"parameters": None},
        {"optimizer": {}},
        {"optimizer": None},
        {"state": {"step": -1, "tokens": 0, "seconds": 0.0, "validation": {}}},
        {"state": {"step": "x", "tokens": 0, "seconds": 0.0, "validation": {}}},
        {"state": {}},
        {"state": None},
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit(parameter_run, change):
    path, resume = parameter_run
    whole = path.read_bytes()
    try:
        path.write_bytes(saved_bytes(torch.load(path, weights_only=True) | change))
        with pytest.raises(TrainingError, match=r"no checkpoint of this run .*; delete"):
            resume()
    finally:
        path.write_bytes(whole)


def test_a_full_disk_leaves_the_checkpoint_before(parameter_run, monkeypatch):
    path, resume = parameter_run
    whole = path.read_bytes()

    def full(opened):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*checkpoint\.pt"):
        resume()
    assert path.read_bytes() == whole
    assert sorted(p.name for p in path.parent.iterdir()) == [loop.CHECKPOINT, loop.LOG]


def test_a_damaged_warm_start(llama, tmp_path):
    model = llama.build()
    model.save_pretrained(tmp_path)
    train_router(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    path = tmp_path / "warm_start.pt"
    whole = path.read_bytes()
    for kind, data in damages(whole).items():
        path.write_bytes(data)
        with pytest.raises(TrainingError, match=r"cannot be read .*; delete .*made again"):
            train_router(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
        assert not os.path.exists("harmed"), kind
    content = torch.load(io.BytesIO(whole), weights_only=True)
    for change in ({"mean": torch.zeros(1)}, {"router": {}}, {"facts": None}):
        path.write_bytes(saved_bytes(content | change))
        with pytest.raises(TrainingError, match=r"no warm start of this model; delete"):
            train_router(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    path.write_bytes(whole)
    train_router(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)  # a second time, over the first
