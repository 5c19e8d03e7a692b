"""A link restores what it was made of, and nothing else is taken for one."""

import random

import pytest

from app.controls import Cells, Controls, Setting
from app.share.link import Linked, LinkError, from_query, query_of, to_query
from atmoe import Layout, State

LAYOUT = Layout.of(
    6, {"task": ("treat", "cause & effect"), "fi:el,d": ("heart", "lü%ng"), "reader": ("lay",)}
)


def read(query: str) -> Linked | None:
    return from_query(query_of(query.removeprefix("?")), LAYOUT)


def test_the_router_alone_is_the_shortest_link():
    assert to_query(Linked()) == "?v=2" and read("?v=2") == Linked()


def test_a_link_can_be_read_by_a_person():
    controls = Controls(
        {
            "task": Setting(State.FIXED, 60, True),
            "reader": Setting(State.OFF, 33),
            "task/treat": Setting(State.FIXED, 12.5),
        },
        0.5,
        "late",
        False,
        (
            Cells("task", 0, 3, State.ROUTER),
            Cells("fi:el,d", 2, 2, State.FIXED, 7.5),
            Cells("fi:el,d", 4, 5, State.OFF),
        ),
    )
    query = to_query(Linked(controls, 80, 0.7, 3, "Why & how?"))
    assert query == (
        "?v=2&set=task:60!,reader:off33,task/treat:12.5&cells=task:0-3:router,fi%253Ael%252Cd:2:7.5,fi%253Ael%252Cd:4-5:off"
        "&strength=0.5&in=late&on=0&tokens=80&temperature=0.7&seed=3"
        "&q=Why+%26+how?"
    ).replace("how?", "how%3F")
    assert read(query) == Linked(controls, 80, 0.7, 3, "Why & how?")


def test_whatever_can_be_set_comes_back():
    draw = random.Random(5)
    targets = (*LAYOUT.group_names, *LAYOUT.expert_names)
    for _ in range(300):
        settings = {
            t: Setting(State.OFF, draw.randint(0, 100), draw.random() < 0.2)
            for t in targets
            if draw.random() < 0.4
        }
        fixed = draw.choice([t for t in targets if t != "reader/lay"])
        settings[fixed] = Setting(State.FIXED, draw.randint(0, 100))
        controls = Controls(
            settings,
            draw.randint(0, 20) / 10,
            draw.choice(["all", "early", "middle", "late"]),
            draw.random() < 0.8,
            tuple(
                Cells(t, n, n + 1, draw.choice([State.OFF, State.ROUTER]))
                for t in targets
                if t != "reader/lay"
                for n in (1, 3)
                if draw.random() < 0.2
            ),
        ).checked(LAYOUT)
        linked = Linked(
            controls,
            draw.randint(1, 400),
            draw.randint(0, 15) / 10,
            draw.randint(0, 2**31),
            draw.choice([None, "é=1&v=9#%?\n+"]),
        )
        assert read(to_query(linked)) == linked


def test_an_address_without_anything_of_ours_is_no_link():
    assert read("") is None and read("?__theme=dark&utm_source=x") is None
    assert read("?v=2&__theme=dark") == Linked()


def test_a_link_of_version_1_still_opens():
    assert read("?v=1&set=task:60!,reader:off33&in=late") == Linked(
        Controls(
            {"task": Setting(State.FIXED, 60, True), "reader": Setting(State.OFF, 33)}, scope="late"
        )
    )


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?v=3&set=task:60", "version 3, and this page reads versions 1 and 2"),
        ("?set=task:60", "version none"),
        ("?q=asthma", "version none"),
        ("?v=1&set=task:", "broken"),
        ("?v=1&set=task", "broken"),
        ("?v=1&set=task:6x", "broken"),
        ("?v=1&set=task:-5", "broken"),
        ("?v=1&on=maybe", "broken"),
        ("?v=1&strength=nan", "broken"),
        ("?v=1&tokens=many", "broken"),
        ("?v=1&seed=1e3", "broken"),
        ("?v=1&set=diet:60", "no group 'diet'"),
        ("?v=1&set=task:60,reader:60", "lower them"),
        ("?v=1&set=task:600", "between 0% and 100%"),
        ("?v=2&cells=task:60", "broken"),
        ("?v=2&cells=task:2-1-3:60", "broken"),
        ("?v=2&cells=task:1-2:on", "broken"),
        ("?v=2&cells=task:1-2:600", "between 0% and 100%"),
        ("?v=2&cells=task:4-9:60", "this model has layers 0-5"),
        ("?v=2&cells=task:3-2:60", "do not exist"),
        ("?v=2&cells=diet:1:60", "no group 'diet'"),
        ("?v=2&cells=task:1-3:60,task:3:off", "task is set twice for layer 3"),
        ("?v=2&set=task:60&cells=reader:2:60", "sum to 120% (layer 2)"),
        ("?v=1&in=attic", "names no layers"),
        ("?v=1&strength=9", "Strength is 9"),
        ("?v=1&tokens=9000", "1 to 400 tokens"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(query, said):
    with pytest.raises(LinkError, match=r"starts clean.*\.?$") as refusal:
        read(query)
    assert said in str(refusal.value)


def test_a_question_too_long_for_a_link_is_refused():
    with pytest.raises(LinkError, match="leave it out"):
        to_query(Linked(question="a" * 2001))


@pytest.mark.parametrize("percent", [100 / 3, 99.99999, 1e-5, 1e-7, 5e-324, 0.1234567, 100.0])
def test_a_link_holds_every_digit(percent):
    controls = Controls({"task": Setting(State.FIXED, percent)}, 0.1234567).checked(LAYOUT)
    query = to_query(Linked(controls, temperature=0.30000000000000004))
    again = read(query)
    assert again.controls == controls and again.temperature == 0.30000000000000004


@pytest.mark.parametrize(
    "query",
    [
        {"set": "task:50,task:off"},
        {"tokens": "1_0"},
        {"seed": "١٢"},
        {"strength": "1_0"},
        {"set": ["task"]},
    ],
)
def test_what_no_link_of_ours_says_is_refused(query):
    with pytest.raises(LinkError, match="page starts clean"):
        from_query({"v": "2"} | query, LAYOUT)


def test_a_thing_said_twice_is_refused():
    with pytest.raises(LinkError, match="says set twice"):
        read("?v=2&set=task:off&set=reader:off")
    assert read("?v=2&utm_source=a&utm_source=b") == Linked()
