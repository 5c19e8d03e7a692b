"""The recipe of atmoe/README.md, run as it is written, on a tiny base that nobody has trained."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tools.documents import LIBRARY, marked

SECONDS = 180
"""Of a processor, for all of it: twice to three times what it took where it was tried (50 to 70,
most of them for starting the commands). The ten minutes that it may take on a base of one's own are
measured by hand (atmoe/README.md)."""


@pytest.fixture(scope="module")
def recipe(worlds, tmp_path_factory):
    """What the commands printed, one after another, and where the model is."""
    home = tmp_path_factory.mktemp("recipe")
    (home / "tests").symlink_to(ROOT / "tests")
    block = marked((ROOT / LIBRARY).read_text("utf-8"), "recipe")
    lines = [line for line in block.splitlines() if line and not line.startswith("```")]
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ATMOE_CACHE": str(home / "cache"),
        "BASE": str(worlds("qwen3").directory),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = []
    for line in lines:
        done.append(
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                cwd=home,
                env=env,
                capture_output=True,
                text=True,
                timeout=500,
            )
        )
        assert done[-1].returncode == 0, done[-1].stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, home / "kitchen", seconds


def test_the_rows_are_ours_in_two_groups_and_topics_of_their_own():
    from atmoe.data import Description, split

    description = Description.load(ROOT / "tests" / "train" / "kitchen.yaml")
    rows = description.examples()
    cells = [(e.labels["task"], e.labels["diet"]) for e in rows]
    assert len(rows) == 60 == len({e.prompt for e in rows})
    assert {cells.count(cell) for cell in set(cells)} == {15} and len(set(cells)) == 4
    assert len({e.topic for e in rows}) == 20
    assert len([e for e in rows if split(e) == "validation"]) >= 4


def test_it_takes_no_more_of_a_processor_than_its_commands_take_to_start(recipe):
    assert recipe[2] < SECONDS


@pytest.mark.parametrize("stage", [0, 1], ids=["experts", "router"])
def test_it_says_before_how_many_passes_and_how_long(recipe, stage):
    told = recipe[0][stage].stderr
    assert "51 training rows" in told and "passes over them" in told
    assert "The loss on 9 rows of unseen topics (3) is measured" in told
    assert told.index("passes over them") < told.index("The whole budget takes about")


@pytest.mark.parametrize("stage, loss", [("experts", "label"), ("router", "routed")])
def test_the_loss_on_unseen_topics_falls_and_the_lowest_is_kept(recipe, stage, loss):
    done, model, _ = recipe
    report = json.loads((model / f"{stage}.log.json").read_text())
    assert report[loss] <= report["before"][loss]
    log = model / ("log.jsonl" if stage == "experts" else "router-run/log.jsonl")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    measured = [e["validation"][loss] for e in entries if "validation" in e]
    assert report[loss] == pytest.approx(min(measured), abs=1e-4) and len(measured) > 2
    said = done[stage == "router"].stdout
    assert f"{report['before'][loss]:.3f} before, {report[loss]:.3f} after" in said


def test_a_question_is_routed_by_name_and_answered(recipe):
    routed, answered = recipe[0][2].stdout, recipe[0][3].stdout
    assert "of 4 experts take part" in routed
    # Who was asked for stands in the words; the base was never trained, the router was.
    assert "of task" in routed.split("recipe")[1].splitlines()[0]
    assert "of diet" in routed.split("vegan")[1].splitlines()[0]
    assert answered.strip()
