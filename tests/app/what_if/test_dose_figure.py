"""The chart and the table show the response, number by number."""

from dataclasses import replace
from types import SimpleNamespace

from conftest import PROMPTS

from app.what_if.desk import DONE, WhatIfDesk
from app.what_if.figure import dose_figure, dose_table
from atmoe.explanation.response import Response

ANSWERS = (
    "Rest. Drink water.",
    "Rest and drink.",
    "12",
    "",
    "Immunosuppressive pharmacotherapy necessitates surveillance.",
)


def test_the_chart_has_a_panel_a_measure_and_the_routers_own_share():
    figure = dose_figure(
        Response("task/<b>", ANSWERS, (-1.0, -1.25, -1.5, -2.0, -0.875), True), own=31
    )
    grades, words, logp = figure.data
    assert (
        list(words.x) == [0, 25, 50, 75, 100]
        and list(words.y) == [3, 3, 1, 0, 4]
        and list(logp.y) == [-1.0, -1.25, -1.5, -2.0, -0.875]
    )
    assert [grade is None for grade in grades.y] == [False, False, True, True, False] and grades.y[
        4
    ] > 12 > grades.y[0]
    german, _, _ = dose_figure(Response("task/b", ANSWERS, None, True), 31, "de").data
    assert set(german.y) == {None}
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(31, 31)}


def test_the_table_says_the_same_and_escapes_names():
    table = dose_table(Response("task/<b>", ANSWERS, None, True))
    assert '<th scope="col">share of task/&lt;b&gt;</th>' in table and table.count("<tr>") == 6
    assert '<th scope="row">50%</th><td>–</td><td>1</td><td>–</td>' in table


def test_that_a_share_calls_a_group_in_is_told_where_the_router_left_it_out(model):
    area = SimpleNamespace(progress="progress", table="table", plot="plot")
    desk = SimpleNamespace(area=area, model=model)
    plan = model.route(PROMPTS[0])
    groups = plan.group_shares.clone()
    groups[:, 2] = 0.0
    absent = replace(plan, group_shares=groups / groups.sum(1, keepdim=True))
    for router_plan, target, told in (
        (absent, "reader/lay", True),
        (absent, "reader", False),
        (absent, "task/treat", False),
        (plan, "reader/lay", False),
    ):
        response = Response(target, ("Rest.",) * 5, None, True)
        shown = WhatIfDesk._measured(desk, response, router_plan, DONE)["progress"]
        assert ("By the router reader takes no part" in shown) is told
