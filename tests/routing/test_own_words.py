"""How often the shipped router reads lines in people's own words, as the card states it.

As a command, `PYTHONPATH=. python tests/routing/test_own_words.py`, it prints the counts.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from atmoe import AtMoe
from atmoe.many.brief import brief_of_plan

LINES = json.loads(Path(__file__).with_name("own_words.json").read_text("utf-8"))["lines"]
OUTSIDE = Path(__file__).parents[2] / "atmoe" / "sources" / "outside.json"
READ = {
    ("people", "task"): (9, 19),
    ("people", "specialty"): (13, 19),
    ("people", "audience"): (28, 30),
    ("shorthand", "task"): (8, 15),
    ("shorthand", "specialty"): (7, 15),
    ("shorthand", "audience"): (5, 15),
}
"""Of each kind of line and each group: how many are read right, of how many that have a label."""


def counted(model: AtMoe) -> dict[tuple[str, str], tuple[int, int]]:
    """How many lines have a group's expert of the largest share right; with no part it is wrong."""
    right: Counter[tuple[str, str]] = Counter()
    labelled: Counter[tuple[str, str]] = Counter()
    for line in LINES:
        heaviest = brief_of_plan(model.route(line["ask"]))["heaviest"]
        for group, expert in heaviest.items():
            if group in line:
                labelled[line["kind"], group] += 1
                right[line["kind"], group] += (expert or "").partition("/")[2] in line[group]
    return {key: (right[key], labelled[key]) for key in labelled}


def test_the_router_reads_them_as_often_as_the_card_says(medical):
    counts = counted(medical)
    assert {key: of for key, (_, of) in counts.items()} == {k: of for k, (_, of) in READ.items()}
    for key, (right, _) in counts.items():
        assert abs(right - READ[key][0]) <= 1, (key, right)  # a tie may fall otherwise elsewhere


def test_nobody_has_learned_from_them():
    inside = json.loads(OUTSIDE.read_text("utf-8"))["inside"]
    for kind in ("people", "shorthand"):
        assert [line["ask"] for line in LINES if line["kind"] == kind] == inside[kind]["kept"]


if __name__ == "__main__":
    for (kind, group), (right, of) in counted(AtMoe.from_pretrained("assets/medical")).items():
        print(f"{kind}, {group}: {right} of {of}")
