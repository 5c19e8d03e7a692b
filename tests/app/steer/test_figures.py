"""Heatmaps and tables show the plan, number by number: no model, plans made by hand."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.steer import figure as figures
from app.steer.table import shares_table, thirds_table
from app.view import View
from atmoe import Layout, Override, RoutingPlan, State, Steering

LAYOUT = Layout.of(
    6, {"task": ("treat", "warn"), "field": ("heart", "lung", "skin"), "reader": ("lay",)}
)


@pytest.fixture
def router() -> RoutingPlan:
    generator = torch.Generator().manual_seed(3)

    def draw(n):
        return torch.randn(6, n, generator=generator).softmax(-1)

    return RoutingPlan(LAYOUT, draw(3), torch.cat([draw(2), draw(3), draw(1)], 1))


STEERING = Steering(
    (Override("field", State.FIXED, 0.7, "late"), Override("reader", State.OFF, None, "late"))
)


def boxes(figure) -> set:
    return {(s.yref, s.x0, s.x1, s.y0, s.y1) for s in figure.layout.shapes}


def test_group_figure_shows_both_plans_in_the_same_cells(router):
    view = View.of(router, STEERING)
    [drawn] = figures.group_figure(LAYOUT, view).data
    strips, rows = np.array(drawn.z)[::2], np.array(drawn.z)[1::2]
    np.testing.assert_allclose(strips, 100 * router.group_shares.T, atol=1e-4)
    np.testing.assert_allclose(rows, 100 * view.plan.group_shares.T, atol=1e-4)
    [untouched] = figures.group_figure(LAYOUT, View.of(router, Steering())).data
    np.testing.assert_allclose(np.array(untouched.z), 100 * router.group_shares.T, atol=1e-4)


def test_while_the_router_reads_the_layers_that_it_has_read_stand_in_their_places(router):
    read = RoutingPlan(replace(LAYOUT, layers=2), router.group_shares[:2], router.expert_shares[:2])
    part, whole = View.of(read, Steering()), View.of(router, Steering())
    for draw in (figures.group_figure, figures.expert_figure):
        some, all_ = draw(LAYOUT, part), draw(LAYOUT, whole)
        assert some.layout.xaxis.range == all_.layout.xaxis.range == (-0.5, 5.5)
        assert (some.layout.height, some.layout.margin) == (all_.layout.height, all_.layout.margin)
        for few, many in zip(some.data, all_.data, strict=True):
            assert [list(row) for row in few.z] == [[*row[:2], *[None] * 4] for row in many.z]
            assert [list(row) for row in few.text] == [
                [*row[:2], *[figures.UNREAD] * 4] for row in many.text
            ]


def test_expert_figure_has_a_panel_a_group(router):
    steering = Steering(
        (
            *STEERING.overrides,
            Override("task/warn", State.OFF),
            Override("field/skin", State.FIXED, 0.1, "3"),
        )
    )
    view = View.of(router, steering)
    figure = figures.expert_figure(LAYOUT, view)
    *changed, reader = figure.data
    assert not boxes(figures.expert_figure(LAYOUT, View.of(router, STEERING)))
    # lay alone: as the router gave it, but where the whole group is off
    assert [list(row) for row in reader.z] == [[100.0] * 6, [100.0] * 4 + [None] * 2]
    strips, rows = (np.concatenate([np.array(t.z)[first::2] for t in changed]) for first in (0, 1))
    np.testing.assert_allclose(rows, 100 * view.plan.expert_shares.T[:5], atol=1e-4)
    np.testing.assert_allclose(strips, 100 * router.expert_shares.T[:5], atol=1e-4)
    assert [t for trace in figure.data for t in trace.meta["targets"]] == list(LAYOUT.expert_names)
    for trace, (group, experts) in zip(
        changed, LAYOUT.groups
    ):  # two rows an expert, between edges half a row beside its name
        assert len(trace.y) == 2 * len(experts) + 1 and list(trace.y[::2]) == [
            i - 0.5 for i in range(len(experts) + 1)
        ]
        assert (
            f"{experts[-1]} receives" in trace.text[-1][2]
            and f"of the {group} share at layer 2; the router gave" in trace.text[-1][2]
        )
    assert list(figure.layout.yaxis2.ticktext) == ["heart ■", "lung ■", "✎ skin ■"]


def test_one_scale_from_0_to_100_and_no_title(router):
    for make in (figures.group_figure, figures.expert_figure):
        layout = make(LAYOUT, View.of(router, STEERING)).layout
        assert (layout.coloraxis.cmin, layout.coloraxis.cmax) == (0, 100)
        assert layout.title.text is None


def test_outlines_mark_exactly_what_was_changed(router):
    assert boxes(figures.group_figure(LAYOUT, View.of(router, STEERING))) == {
        ("y", 3.5, 5.5, 0.5, 1.5),
        ("y", 3.5, 5.5, 1.5, 2.5),
    }
    assert not boxes(figures.group_figure(LAYOUT, View.of(router, Steering())))
    cells = Steering(
        (
            Override("task", State.FIXED, 0.5),
            Override("task", State.ROUTER, None, "2"),
            Override("task", State.OFF, None, "4"),
        )
    )
    figure = figures.group_figure(LAYOUT, View.of(router, cells))
    assert boxes(figure) == {
        ("y", first - 0.5, last + 0.5, -0.5, 0.5)
        for first, last in ((0, 1), (3, 3), (4, 4), (5, 5))
    }
    assert figure.layout.yaxis.ticktext[0] == "✎✕ task ●"


def test_changes_are_said_in_words_and_signs_too(router):
    figure = figures.group_figure(LAYOUT, View.of(router, STEERING))
    assert list(figure.layout.yaxis.ticktext) == ["task ●", "✎ field ■", "✕ reader ▲"]
    said = figure.data[0].text[3][5]
    assert "field receives 70.0% of the routing weight at layer 5; the router gave" in said


def test_a_cell_says_where_the_share_that_it_is_of_is_0(router):
    figure = figures.expert_figure(LAYOUT, View.of(router, STEERING))
    lay = figure.data[2].text[-1]
    assert lay[3] == "lay receives 100.0% of the reader share at layer 3; the router gave 100.0%"
    assert lay[4] == (
        "lay has no weight at layer 4: its group has no share in force; the router gave 100.0%"
    )
    # and is drawn as none, below the router's
    assert [list(row) for row in figure.data[2].z] == [[100.0] * 6, [100.0] * 4 + [None] * 2]


def test_what_was_measured_of_a_part_is_told_with_its_cells(router):
    effects = {"field": "without it, 1.20 times less likely", "field/lung": "hardly any effect"}
    view = View.of(router, Steering())
    assert (
        figures.group_figure(LAYOUT, view, effects)
        .data[0]
        .text[1][0]
        .endswith("<br>without it, 1.20 times less likely")
    )
    _, field, _ = figures.expert_figure(LAYOUT, view, effects).data
    assert [text[0].endswith("hardly any effect") for text in field.text] == [False, True, False]


def test_an_expert_that_was_set_is_named_and_outlined_in_its_groups_picture(router):
    figure = figures.expert_figure(
        LAYOUT, View.of(router, Steering((Override("field/lung", State.FIXED, 0.5, "late"),)))
    )
    assert list(figure.layout.yaxis2.ticktext) == ["heart ■", "✎ lung ■", "skin ■"]
    assert boxes(figure) == {("y2", 3.5, 5.5, 0.5, 1.5)}
    assert not boxes(figures.expert_figure(LAYOUT, View.of(router, STEERING)))


def test_layers_of_both_pictures_stand_under_one_another(router):
    view = View.of(router, STEERING)
    groups, experts = (make(LAYOUT, view) for make in (figures.group_figure, figures.expert_figure))
    assert groups.layout.margin.l == experts.layout.margin.l
    assert groups.layout.xaxis.range == experts.layout.xaxis.range


def test_a_picture_names_its_axis_and_says_what_its_strips_its_grey_and_its_paleness_mean(router):
    steered, plain = View.of(router, STEERING), View.of(router, Steering())
    strip, pale = "thin strip above a cell: the router's share", "pale: a question unlike training"
    for make in (figures.group_figure, figures.expert_figure):
        for view in (steered, plain):
            for far in (False, True):
                figure = make(LAYOUT, view, None, far)
                signs, traces = figure.layout.meta["signs"], figure.data
                assert (strip in signs) == any(len(t.z) > len(t.meta["targets"]) for t in traces)
                assert (pale in signs) == far == all(t.opacity not in (None, 1) for t in traces)
                grey = any(cell is None for trace in traces for row in trace.z for cell in row)
                assert ("grey: takes no part" in signs) == grey
    assert strip in figures.group_figure(LAYOUT, steered).layout.meta["signs"]
    assert any(a.text == "layer" for a in figures.expert_figure(LAYOUT, plain).layout.annotations)


@pytest.mark.parametrize("make", [figures.group_figure, figures.expert_figure])
def test_before_a_question_the_frame_has_its_height_and_says_what_comes(make, router):
    empty = make(LAYOUT, None)
    assert empty.layout.height == make(LAYOUT, View.of(router, STEERING)).layout.height
    assert all(cell is None for trace in empty.data for row in trace.z for cell in row)
    assert any(a.text == "Filled in once you ask" for a in empty.layout.annotations)


def buttons(html: str) -> list[tuple[str, str, str, str]]:
    """(picture, first cell, last cell, text) of each cell of a table."""
    found = re.findall(
        r'data-cell="([^"]+)" data-at="([^"]+)"(?: data-to="([^"]+)")?[^>]*>(.*?)</button>', html
    )
    return [(plot, at, to or at, text) for plot, at, to, text in found]


def test_the_table_equals_the_plan_cell_by_cell(router):
    view = View.of(router, STEERING)
    cells = buttons(shares_table(LAYOUT, view))
    assert len(cells) == 6 * (3 + 6)
    for plot, at, _, text in cells:
        row, layer = map(int, at.split(","))
        name = "group_shares" if plot == "groups-map" else "expert_shares"
        before, now = (
            100 * float(getattr(p, name)[layer, row]) for p in (view.router_plan, view.plan)
        )
        number, _, small = text.partition('<small data-csv="skip">')
        if plot == "experts-map" and row == 5 and layer >= 4:  # lay, where reader is off
            assert (number, small) == ("–", "router 100.0</small>")
            continue
        assert float(number) == pytest.approx(now, abs=0.051)
        if small:
            assert float(small.split()[1].partition("<")[0]) == pytest.approx(before, abs=0.051)
        else:
            assert now == pytest.approx(before, abs=0.11)


def test_thirds_are_means_over_their_layers(router):
    view = View.of(router, STEERING)
    cells = buttons(thirds_table(LAYOUT, view))
    assert len(cells) == 3 * (3 + 6)
    for plot, at, to, text in cells:
        (row, first), (same, last) = (map(int, place.split(",")) for place in (at, to))
        name = "group_shares" if plot == "groups-map" else "expert_shares"
        mean = 100 * float(getattr(view.plan, name)[first : last + 1, row].mean())
        if plot == "experts-map" and (row, first) == (5, 4):  # lay, where reader is off
            assert text == '–<small data-csv="skip">router 100</small>'
            continue
        assert row == same and float(text.partition("<")[0]) == pytest.approx(mean, abs=0.51)
    for table in (shares_table, thirds_table):
        assert "Filled in once you ask" in table(LAYOUT, None)


def test_one_outside_the_team_is_said_to_take_no_part(router):
    shares = router.expert_shares.clone()
    shares[:, :2] = torch.tensor([1.0, 0.0])
    shares[3, 2:5] = torch.tensor([0.0, 0.5, 0.5])  # at 0 in one layer only: it does take part
    plan = RoutingPlan(LAYOUT, router.group_shares, shares)
    task, field, _ = figures.expert_figure(LAYOUT, View.of(plan, Steering())).data
    assert list(task.text[1]) == ["warn takes no part"] * 6
    # no share, which is not a share of 0
    assert list(task.z[1]) == [None] * 6 and 0.0 in field.z[0] and None not in field.z[0]
    assert "heart receives 0.0%" in field.text[0][3]
    called = Steering((Override("task/warn", State.FIXED, 0.5),))
    task = figures.expert_figure(LAYOUT, View.of(plan, called)).data[0]
    assert None not in [share for row in task.z for share in row]
    assert "warn receives 50.0%" in task.text[-1][0] and "router gave 0.0%" in task.text[-1][0]


def test_tables_show_who_takes_part_first_and_no_share_of_the_others(router):
    shares = router.expert_shares.clone()
    shares[:, :2] = torch.tensor([0.0, 1.0])
    plan = RoutingPlan(LAYOUT, router.group_shares, shares)
    view = View.of(plan, Steering())
    cells = buttons(shares_table(LAYOUT, view))
    assert [at for _, at, _, _ in cells].index("0,0") == 0  # a group's
    assert cells[3 + 6 - 1][:2] == ("experts-map", "0,0")
    for table, columns in ((shares_table, 6), (thirds_table, 3)):
        html = table(LAYOUT, view)
        absent = [
            text for plot, at, _, text in buttons(html) if (plot, at[0]) == ("experts-map", "0")
        ]
        assert absent == ["–"] * columns and "task/treat takes no part" in html
        numbers = [text for _, _, _, text in buttons(html) if text != "–"]
        assert len(numbers) == columns * (3 + 5)


def test_a_group_that_takes_no_part_has_no_share_nor_have_its_experts(router):
    groups = router.group_shares.clone()
    groups[:, 1] = 0
    plan = RoutingPlan(LAYOUT, groups / groups.sum(1, keepdim=True), router.expert_shares)
    view = View.of(plan, Steering())
    [drawn] = figures.group_figure(LAYOUT, view).data
    assert list(drawn.z[1]) == [None] * 6 and list(drawn.text[1]) == ["field takes no part"] * 6
    field = figures.expert_figure(LAYOUT, view).data[1]
    assert [share for row in field.z for share in row] == [None] * 18
    for table, columns in ((shares_table, 6), (thirds_table, 3)):
        html = table(LAYOUT, view)
        assert [text for *_, text in buttons(html)].count("–") == columns * (1 + 3)
        assert "field takes no part" in html and "field/lung takes no part" in html
    # by a share it is there again, beside the router's none
    called = View.of(plan, Steering((Override("field/lung", State.FIXED, 1.0),)))
    [drawn] = figures.group_figure(LAYOUT, called).data
    assert None not in [share for row in drawn.z for share in row]
    assert "field receives 33.3%" in drawn.text[-3][0] and "router gave 0.0%" in drawn.text[-3][0]
    cells = [text for *_, text in buttons(shares_table(LAYOUT, called))]
    assert cells.count("–") == 6 * 2  # the two beside it in its group
