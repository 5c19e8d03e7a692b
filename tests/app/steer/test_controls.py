"""Cells beside the controls' own settings: what they say of a layer is what happens there.

And every steering has its controls.
"""

import random

import pytest
import torch

from app.controls import Cells, Controls, Setting, of_steering, runs
from atmoe import Layout, Override, RoutingPlan, State, Steering
from atmoe.errors import SteeringError

LAYOUT = Layout.of(7, {"task": ("a", "b", "c"), "field": ("x", "y"), "reader": ("lay",)})
PLAN = RoutingPlan(
    LAYOUT,
    torch.tensor([0.5, 0.3, 0.2]).repeat(7, 1),
    torch.tensor([0.2, 0.3, 0.5, 0.4, 0.6, 1.0]).repeat(7, 1),
)


def task(controls: Controls) -> list[int]:
    """What task has at each layer, in percent."""
    return [
        round(100 * share)
        for share in controls.checked(LAYOUT).steering.apply(PLAN).group_shares[:, 0].tolist()
    ]


@pytest.mark.parametrize(
    ("scope", "cells", "shares"),
    [
        ("all", [], [60] * 7),
        ("all", [(2, 3, State.OFF, 0)], [60, 60, 0, 0, 60, 60, 60]),
        ("all", [(2, 3, State.ROUTER, 0), (4, 4, State.FIXED, 10)], [60, 60, 50, 50, 10, 60, 60]),
        ("all", [(0, 6, State.FIXED, 20)], [20] * 7),  # as wide as the scope
        (
            "late",
            [(1, 5, State.FIXED, 20)],
            [50, 20, 20, 20, 20, 20, 60],
        ),  # wider than the scope, and over its edge
        ("late", [(3, 4, State.OFF, 0)], [50, 50, 50, 0, 0, 60, 60]),
        ("early", [(4, 6, State.FIXED, 20)], [60, 60, 50, 50, 20, 20, 20]),  # beside it
        ("early", [(0, 0, State.OFF, 0), (1, 1, State.OFF, 0)], [0, 0, 50, 50, 50, 50, 50]),
    ],
)
def test_cells_win_over_the_setting_wherever_they_are(scope, cells, shares):
    controls = Controls(
        {"task": Setting(State.FIXED, 60)},
        scope=scope,
        cells=tuple(Cells("task", *c) for c in cells),
    )
    assert task(controls) == shares
    assert Controls.from_dict(controls.to_dict(), LAYOUT) == controls.checked(LAYOUT)


def test_cells_alone_leave_all_other_layers_and_the_expert_shares_to_the_router():
    plan = (
        Controls(cells=(Cells("field", 1, 2, State.OFF), Cells("task/b", 6, 6, State.FIXED, 100)))
        .checked(LAYOUT)
        .steering.apply(PLAN)
    )
    assert [
        layer
        for layer in range(7)
        if not torch.equal(plan.group_shares[layer], PLAN.group_shares[layer])
    ] == [1, 2]
    assert [
        layer
        for layer in range(7)
        if not torch.equal(plan.expert_shares[layer], PLAN.expert_shares[layer])
    ] == [6]


def test_cells_left_to_the_router_are_dropped_where_there_is_no_setting_to_leave():
    assert Controls(cells=(Cells("task", 1, 2, State.ROUTER),)).checked(LAYOUT) == Controls()


def test_switched_off_keeps_the_cells():
    controls = Controls(on=False, cells=(Cells("task", 1, 2, State.OFF),)).checked(LAYOUT)
    assert controls.steering == Steering() and controls.steering_when_on.overrides == (
        Override("task", State.OFF, None, "1-2"),
    )


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([["task", 1, 3, "off", 0], ["task", 3, 4, "fixed", 10]], "task is set twice for layer 3"),
        ([["task", 1, 7, "off", 0]], "this model has layers 0-6"),
        ([["task", -1, 2, "off", 0]], "names no layers"),
        ([["task", 3, 2, "off", 0]], "do not exist"),
        ([["diet", 1, 2, "off", 0]], "no group 'diet'"),
        ([["task", 1, 2, "fixed", 101]], "between 0% and 100%"),
        ([["task", 1, 2, "fixed", float("nan")]], "between 0% and 100%"),
        ([["task", 2, 2, "fixed", 60], ["field", 1, 3, "fixed", 60]], r"sum to 120% \(layer 2\)"),
        ([["reader/lay", 2, 2, "fixed", 60]], "nothing is left"),
        ([["task", 1]], "cannot be read"),
        ([["task", 1, float("inf"), "off", 0]], "cannot be read"),
        ("off", "cannot be read"),
        (3, "cannot be read"),
    ],
)
def test_impossible_cells_are_refused_with_a_sentence(cells, said):
    with pytest.raises(SteeringError, match=said):
        Controls.from_dict(Controls().to_dict() | {"cells": cells}, LAYOUT)


def test_what_was_saved_before_there_were_cells_is_still_read():
    old = {"set": {"task": ["off", 40, False]}, "strength": 1.0, "scope": "late", "on": True}
    assert Controls.from_dict(old, LAYOUT) == Controls(
        {"task": Setting(State.OFF, 40)}, scope="late"
    )


def test_every_steering_has_controls_that_make_the_same_plan():
    draw = random.Random(3)
    several = 0
    for _ in range(400):
        overrides = [
            Override(
                draw.choice(("task", "task/a", "task/b", "field", "field/x")),
                draw.choice(list(State)),
                draw.choice((0.1, 0.3)),
                draw.choice(("all", "early", "middle", "late", "0-3", "2-5", "4", "6", "0-6")),
            )
            for _ in range(draw.randint(0, 6))
        ]
        steering = Steering(tuple(overrides), draw.choice((1.0, 0.5)))
        try:
            plan = steering.apply(PLAN)
        except SteeringError:
            continue
        controls = of_steering(steering, LAYOUT)
        assert controls.steering.apply(PLAN).close_to(plan)
        assert Controls.from_dict(controls.to_dict(), LAYOUT) == controls
        several += len({o.scope for o in overrides}) > 1
    assert several > 50


def test_a_share_is_the_percent_that_was_typed():
    steering = Steering(
        (Override("task", State.FIXED, 0.29), Override("field", State.OFF, None, "2"))
    )
    controls = of_steering(steering, LAYOUT)
    assert controls.settings["task"].percent == 29 and controls.steering == steering


def test_runs():
    assert runs([3, 4, 5, 9]) == ["3-5", "9"] and runs([]) == [] and runs(range(2)) == ["0-1"]
