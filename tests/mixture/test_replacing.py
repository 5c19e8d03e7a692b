"""Whoever is killed while a model is saved leaves the old one or the new one, never neither."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import LAYOUT, PROMPTS

from atmoe import AtMoe, Layout, files
from atmoe.errors import AssetError, PlanError
from atmoe.mixture import config, store
from atmoe.mixture.config import ADAPTER, CONFIG, ROUTER
from atmoe.mixture.replacing import read_config, replacing

pytestmark = pytest.mark.usefixtures("own_cache")
STEPS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
"""Python says of each of these before it happens: between two of them a kill changes nothing."""


@pytest.fixture
def saved(llama, tmp_path):
    path = tmp_path / "kitchen"
    llama.model.save_pretrained(path)
    (path / "README.md").write_text("the user's own")
    return path


@pytest.fixture
def other(llama):
    """A model whose router differs."""
    return llama.build(torch.full((LAYOUT.layers,), 0.7))


def killed_at(step: int, path, action) -> bool:
    """Run something in a process that is killed before its nth touch of files under a path."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = step

    def count(event, arguments):
        nonlocal left
        if event in STEPS and str(path) in str(arguments):
            left -= 1
            if left == 0:
                os._exit(9)

    try:
        sys.addaudithook(count)
        action()
    finally:
        os._exit(0)


def each_kill(path, action, old: str, stride: int = 1):
    """Yields after each kill, a fresh copy each; the last one was not killed."""
    step = 0
    while True:
        step += stride
        copy = path.with_name(f"copy{step}")
        shutil.copytree(path, copy)
        killed = killed_at(step, copy, lambda copy=copy: action(copy))
        yield copy
        shutil.rmtree(copy)
        if not killed:
            return


def whole(path) -> str:
    """The hash of the router of a model that can be loaded."""
    read_config(path)
    hashes = json.loads((path / CONFIG).read_text())["files"]
    assert all(config.sha256_of(path / name) == sha256 for name, sha256 in hashes.items())
    cards = [card.read_text() for card in path.rglob("README.md")]
    assert "the user's own" in cards  # beside the model that it is of, or moved aside from another
    return hashes[ROUTER]


def left_over(path):
    return [p.name for p in path.rglob("*") if p.name.startswith(".") or p.suffix == ".tmp"]


def test_a_router_killed_at_every_step(saved, other, llama):
    def train(path):  # what `train router` ends with
        with replacing(path, other.layout, other.info) as room:
            store.save_router(other.router, room)

    old, seen = whole(saved), []
    for path in each_kill(saved, train, saved):
        seen.append(whole(path))
        assert left_over(path) == []
    assert seen[0] == old != seen[-1] and len(set(seen)) == 2 and len(seen) > 15
    assert sorted(seen, key=lambda sha256: sha256 != old) == seen  # from one step on it is the new


def test_a_whole_model_killed_at_many_steps(saved, other):
    old, seen = whole(saved), []
    for path in each_kill(saved, other.save_pretrained, saved, stride=5):
        seen.append(whole(path))
        other.save_pretrained(path)  # a second save is not locked out
        assert whole(path) != old and left_over(path) == []
    assert seen[0] == old != seen[-1] and len(set(seen)) == 2


@pytest.mark.parametrize("step", [3, 12, 30, 60])
def test_a_first_save_that_is_killed_is_none_or_whole(tmp_path, other, step):
    path = tmp_path / "new"
    path.mkdir()
    assert killed_at(step, path, lambda: other.save_pretrained(path))
    with pytest.raises(AssetError, match="holds no AT-MoE model"):
        read_config(path)
    other.save_pretrained(path)
    read_config(path)
    assert left_over(path) == []


@pytest.mark.parametrize("moves", range(4))
def test_an_error_in_the_middle_of_a_move(saved, other, llama, monkeypatch, moves):
    """The same in one process: the disk fails, or Ctrl-C comes, between two renames."""
    left, rename = moves, os.replace

    def fails(source, target):
        nonlocal left
        left -= str(target).startswith(str(saved)) and ".saving-" not in str(target)
        if left < 0:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(KeyboardInterrupt):
        other.save_pretrained(saved)
    monkeypatch.undo()
    again = AtMoe.from_pretrained(saved, base=llama.directory)
    want = (llama.model if moves == 0 else other).route(PROMPTS[0])
    assert again.route(PROMPTS[0]).close_to(want, atol=0) and left_over(saved) == []


def test_a_full_disk_leaves_the_old_model_and_names_the_file(saved, other, monkeypatch):
    writes = Path.write_bytes

    def full(path, data):
        if path.name == ROUTER:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return writes(path, data)

    old = whole(saved)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=ROUTER) as caught:
        other.save_pretrained(saved)
    assert caught.value.errno == errno.ENOSPC
    assert whole(saved) == old and left_over(saved) == []


def test_a_save_in_progress_is_left_alone(saved, other):
    old = whole(saved)
    with replacing(saved, other.layout, other.info) as room:
        store.save_router(other.router, room)
        assert whole(saved) == old and room.is_dir()
    assert whole(saved) != old


def test_what_a_killed_save_left_of_an_expert_is_no_part_of_the_model(saved):
    stale = saved / ".saving-dead" / "experts"
    stale.mkdir(parents=True)
    (stale / "half").write_text("half")
    whole(saved)
    assert left_over(saved) == [] and not (saved / "experts" / "half").exists()


# -- what atmoe.json may say -----------------------------------------------------------------------


def changed(path, **fields):
    file = path / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("name", [ROUTER, *(f"experts/field/heart/{f}" for f in ADAPTER)])
def test_a_file_that_no_hash_is_kept_of_is_not_read(saved, name):
    hashes = json.loads((saved / CONFIG).read_text())["files"]
    changed(saved, files={k: v for k, v in hashes.items() if k != name})
    with pytest.raises(AssetError, match=f"says nothing of '{name}'; restore it"):
        read_config(saved)
    changed(saved, files={})
    with pytest.raises(AssetError, match="restore it"):
        read_config(saved)


ABSURD = [
    {"layers": 1e12},
    {"layers": 10**12},
    {"layers": 5.0},
    {"layers": float("nan")},
    {"layers": True},
    {"layers": -1},
    {"layers": [5]},
    {"groups": [{"name": 3, "experts": ["a"]}]},
    {"groups": [{"name": ["a"], "experts": ["a"]}]},
    {"groups": [{"name": "a", "experts": [1, None]}]},
    {"groups": [{"name": "a", "experts": "abc"}]},
    {"groups": [{"name": "a", "experts": ["b"]}] * 2},
    {"groups": [{"name": "..", "experts": ["b"]}]},
    {"groups": [{"name": "a\0", "experts": ["b"]}]},
    {"groups": [{"name": f"g{i}", "experts": ["e"]} for i in range(5000)]},
    {"groups": [{"name": "g", "experts": [f"e{i}" for i in range(5000)]}]},
    {"groups": [{"name": "g" * 300, "experts": ["e"]}]},
    {"name": 7},
    {"name": "\ud800"},
    {"base": {"name": "x", "sha256": 5}},
    {"base": {"name": "x"}},
    {"base": []},
    {"max_prompt_tokens": -1},
    {"max_prompt_tokens": "x"},
    {"max_prompt_tokens": 10**30},
    {"max_prompt_tokens": float("inf")},
    {"scripts": "LATIN"},
    {"scripts": {"LATIN": 1}},
    {"scripts": [1]},
    {"files": []},
    {"files": {ROUTER: 3}},
]


@pytest.mark.parametrize("fields", ABSURD, ids=lambda fields: str(fields)[:40])
def test_an_absurd_config_is_one_sentence(saved, fields):
    changed(saved, **fields)
    with pytest.raises(AssetError, match="restore it") as caught:
        read_config(saved)
    message = str(caught.value)
    assert message.count("\n") == 0 and message.endswith(".") and len(message) < 400
    assert message.isprintable()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"format":' * 100_000, '{"format": ' + "9" * 5000 + "}", " " * 5_000_000],
    ids=["lists", "objects", "digits", "blank"],
)
def test_a_deep_or_long_config_is_one_sentence(saved, text):
    (saved / CONFIG).write_text(text)
    with pytest.raises(AssetError, match="restore it"):
        read_config(saved)


def test_a_model_whose_files_cannot_be_looked_at(saved):
    (saved / "experts" / "field" / "heart").rename(saved / "elsewhere")
    (saved / "experts" / "field" / "heart").symlink_to("heart")  # a circle
    with pytest.raises(AssetError, match=r"is missing|cannot be read"):
        read_config(saved)


def test_layouts_have_bounds():
    with pytest.raises(PlanError, match="at most 1,024 layers"):
        Layout.of(10**12, {"a": ["b"]})
    with pytest.raises(PlanError, match="whole number"):
        Layout.of(30.0, {"a": ["b"]})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "note"
    files.replace(file, b"old")
    monkeypatch.setattr(os, "fsync", lambda opened: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="note"):
        files.replace(file, b"new")
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["note"]
