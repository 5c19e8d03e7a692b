"""The chart has one scale for all answers, and the same in words."""

import math
import re
from dataclasses import replace

import pytest
from conftest import LAYOUT
from samples import explanation

from app.why.chart import FULL, chart
from atmoe.explanation.verdict import HARDLY


def widths(html: str) -> dict[str, float]:
    """Part → the width of its bar, in percent of the track."""
    rows = re.findall(
        r'data-unit="([^"]+)".*?class="bar[^"]*" style="left:[\d.]+%;width:([\d.]+)%', html
    )
    return {name: float(width) for name, width in rows}


def only(name: str, effect: float):
    """An explanation in which one part has an effect."""
    quiet = {n.replace("/", "_"): (0.1, 0.0) for n in (*LAYOUT.group_names, *LAYOUT.expert_names)}
    return explanation(**quiet | {name.replace("/", "_"): (0.1, effect)})


def test_the_largest_effect_of_an_answer_is_no_full_bar():
    small, large = (widths(chart(only("task/treat", e)))["task/treat"] for e in (0.01, FULL))
    assert large == pytest.approx(80, abs=0.1)
    assert small == pytest.approx(large * 0.01 / FULL, abs=0.02) and small < 2


@pytest.mark.parametrize("effect", [0.05, 0.2, 0.4])
def test_one_effect_has_one_width_whatever_else_was_measured(effect):
    alone = widths(chart(only("task/treat", effect)))["task/treat"]
    beside = explanation(task_treat=(0.1, effect), task_define=(0.25, 3.0))
    assert widths(chart(beside))["task/treat"] == alone


def test_what_is_longer_than_the_scale_is_cut_and_its_number_stays():
    html = chart(only("task/treat", 2.0))
    assert widths(html)["task/treat"] == pytest.approx(80, abs=0.1)
    assert 'class="bar strongly cut"' in html and "7.39 times less likely" in html


def test_what_goes_against_the_answer_goes_to_the_other_side():
    html = chart(only("task/treat", -0.1))
    left = re.search(r'"bar strongly against" style="left:([\d.]+)%;width:([\d.]+)%', html)
    assert sum(map(float, left.groups())) == pytest.approx(20, abs=0.02)
    assert "1.11 times more likely" in html


def test_the_floor_is_as_wide_as_it_was_measured_and_told():
    html = chart(replace(explanation(), floor=0.03))
    left, width = map(
        float, re.search(r'"floor" style="left:([\d.]+)%;width:([\d.]+)%', html).groups()
    )
    per_nat = 100 / (1.25 * FULL)
    assert left == pytest.approx(20 - 0.03 * per_nat, abs=0.01)
    assert width == pytest.approx(2 * 0.03 * per_nat, abs=0.01)
    assert f"{math.exp(0.03):.3f} times" in html
    assert (
        chart(replace(explanation(), floor=0.001)).count(f"width:{2 * HARDLY * per_nat:.2f}%") > 5
    )
    assert "still to be measured" in chart(explanation())


def test_the_only_expert_of_a_group_stands_for_both_and_who_takes_no_part_has_no_bar():
    html = chart(explanation(task_warn=(0.0, 0.0)))
    names = re.findall(r'data-unit="([^"]+)"', html)
    assert names == [
        "task",
        "task/define",
        "task/treat",
        "field/heart",
        "reader",
        "reader/lay",
        "reader/expert",
    ]
    assert "field: heart" in html and "1.22 times less likely <small>(strongly)</small>" in html


def test_what_is_taken_of_the_chart_are_its_words():
    """A cell of a bar would be an empty column under the scale's numbers."""
    html = chart(explanation())
    cells = re.findall(r"<t[hd]\b([^>]*)>", html)
    bars = [attributes for attributes in cells if "track" in attributes]
    rows = html.count("<tr")
    assert len(bars) == rows and all('data-csv="skip"' in attributes for attributes in bars)
    assert len(cells) == 3 * rows
