"""How often the shipped router reads lines in people's own words, as the card states it.

As a command, `PYTHONPATH=. python tests/routing/test_own_words.py`, it prints the counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from atmoe import AtMoe
from atmoe.many.brief import brief_of_plan


def lines_of(name: str) -> list[dict]:
    """The labelled lines of a file beside this one."""
    return json.loads(Path(__file__).with_name(name).read_text("utf-8"))["lines"]


LINES, CHOOSING = lines_of("own_words.json"), lines_of("own_words_choosing.json")
OUTSIDE = Path(__file__).parents[2] / "atmoe" / "sources" / "outside.json"
READ = {
    ("people", "task"): (11, 0, 19),
    ("people", "specialty"): (14, 3, 19),
    ("people", "audience"): (28, 2, 30),
    ("shorthand", "task"): (11, 0, 15),
    ("shorthand", "specialty"): (7, 5, 15),
    ("shorthand", "audience"): (5, 8, 15),
}
"""Of each kind of line and each group: how many are read right, in how many the group takes no
part, and of how many that have a label."""


DOUBTED = (43, 23, 66, 17)
"""Of all lines of both files whose *task* is labelled: in doubt, wrong of these, the others, wrong
of these."""


Reading = tuple[tuple[str, str], bool, bool, bool]
"""Of a line and one of its labels: kind and group, whether right, absent, in doubt."""


@pytest.fixture(scope="module")
def readings(medical) -> dict[str, list[Reading]]:
    """Of every line, read once."""
    files = {"kept": LINES, "to choose by": CHOOSING}
    return {name: [*read(medical, lines)] for name, lines in files.items()}


def counted(readings: Iterable[Reading]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """How many lines have a group's expert of the largest share right, or take no part in it.

    A group takes no part where its absence is expected to cost little; its expert is not read then,
    and does nothing.
    """
    right: Counter[tuple[str, str]] = Counter()
    absent: Counter[tuple[str, str]] = Counter()
    labelled: Counter[tuple[str, str]] = Counter()
    for key, is_right, is_absent, _ in readings:
        labelled[key] += 1
        absent[key] += is_absent
        right[key] += is_right
    return {key: (right[key], absent[key], labelled[key]) for key in labelled}


def in_doubt(readings: Iterable[Reading], group: str) -> tuple[int, int, int, int]:
    """Of lines in which a group takes part: in doubt, of these wrong, others, of these wrong."""
    wrong: dict[bool, list[bool]] = {True: [], False: []}
    for (_, labelled), is_right, is_absent, doubted in readings:
        if labelled == group and not is_absent:
            wrong[doubted].append(not is_right)
    told = [(len(wrong[doubted]), sum(wrong[doubted])) for doubted in (True, False)]
    return (*told[0], *told[1])


def read(model: AtMoe, lines: Sequence[dict]) -> Iterator[Reading]:
    """Of each line and each of its labels."""
    for line in lines:
        plan = model.route(line["ask"])
        for group, expert in brief_of_plan(plan)["heaviest"].items():
            if group in line:
                right = (expert or "").partition("/")[2] in line[group]
                yield (line["kind"], group), right, expert is None, group in plan.doubts


def test_the_router_reads_them_as_often_as_the_card_says(readings):
    counts = counted(readings["kept"])
    assert {key: of for key, (*_, of) in counts.items()} == {k: of for k, (*_, of) in READ.items()}
    for key, (right, absent, _) in counts.items():  # a tie may fall otherwise elsewhere
        assert abs(right - READ[key][0]) <= 1 and abs(absent - READ[key][1]) <= 1, (key, right)


def test_where_the_router_doubts_it_is_wrong_more_often(readings):
    both = [*readings["to choose by"], *readings["kept"]]
    doubted, wrong, others, wrong_else = in_doubt(both, "task")
    for counted, told in zip((doubted, wrong, others, wrong_else), DOUBTED):
        assert abs(counted - told) <= 2
    assert wrong / doubted > 1.5 * wrong_else / others


def test_nobody_has_learned_from_them():
    inside = json.loads(OUTSIDE.read_text("utf-8"))["inside"]
    for kind in ("people", "shorthand"):
        assert [line["ask"] for line in LINES if line["kind"] == kind] == inside[kind]["kept"]
        to_choose = [line["ask"] for line in CHOOSING if line["kind"] == kind]
        assert to_choose and {*to_choose} <= {*inside[kind]["choose"]}


if __name__ == "__main__":
    medical = AtMoe.from_pretrained("assets/medical")
    for title, lines in (("kept back", LINES), ("to choose by", CHOOSING)):
        readings_of = [*read(medical, lines)]
        for (kind, group), (right, absent, of) in counted(readings_of).items():
            told = f"{right} of {of}; in {absent} of them the group takes no part"
            print(f"{title}: {kind}, {group}: {told}")
        doubted, wrong, others, wrong_else = in_doubt(readings_of, "task")
        told = f"{doubted}, of which {wrong} are wrong; of the {others} others {wrong_else}"
        print(f"{title}: task is in doubt in {told}")
