"""What the controls are set to becomes a steering, settings are checked, or both are refused."""

import pytest
import torch

from app.controls import Controls, Setting
from app.view import sampling_of
from atmoe import AtMoeError, Layout, Override, RoutingPlan, Sampling, State, Steering
from atmoe.report.words import average_percents, expert_percents

LAYOUT = Layout.of(3, dict.fromkeys(("task", "field", "reader"), ("a", "b")))


def controls(strength=1.0, scope="all", on=True, **settings) -> dict:
    return {
        "set": {name.replace("_", "/"): value for name, value in settings.items()},
        "strength": strength,
        "scope": scope,
        "on": on,
    }


def test_what_is_set_becomes_overrides_in_the_order_of_the_layout():
    made = Controls.from_dict(
        controls(
            0.5,
            "late",
            reader_b=["off", 40, False],
            task=["fixed", 60, True],
            field=["router", 10, False],
        ),
        LAYOUT,
    )
    assert made.steering.strength == 0.5
    assert made.steering.overrides == (
        Override("task", State.FIXED, 0.6, "late"),
        Override("reader/b", State.OFF, None, "late"),
    )
    assert Controls.from_dict(made.to_dict(), LAYOUT) == made
    assert made.settings == {
        "task": Setting(State.FIXED, 60, True),
        "reader/b": Setting(State.OFF, 40),
    }


def test_switched_off_is_the_router_and_forgets_nothing():
    made = Controls.from_dict(controls(on=False, task=["off", 0, False]), LAYOUT)
    assert made.steering == Steering() and made.steering_when_on.overrides == (
        Override("task", State.OFF),
    )


@pytest.mark.parametrize(
    "percents", [(34, 27, 39), (33, 33, 34), (100, 0, 0), (1, 98, 1), (29, 57, 14)]
)
def test_whole_percents_that_sum_to_100_are_exact_enough_to_apply(percents):
    fixed = {
        group: ["fixed", percent, False] for group, percent in zip(LAYOUT.group_names, percents)
    }
    plan = Controls.from_dict(controls(**fixed), LAYOUT).steering.apply(RoutingPlan.uniform(LAYOUT))
    torch.testing.assert_close(plan.group_shares.sum(1), torch.ones(3))
    assert list(average_percents(plan).values()) == pytest.approx(percents, abs=1e-3)


def test_an_experts_percent_is_its_share_of_the_group():
    plan = Controls.from_dict(controls(task_a=["fixed", 70, False]), LAYOUT).steering.apply(
        RoutingPlan.uniform(LAYOUT)
    )
    assert list(expert_percents(plan).values()) == pytest.approx([70, 30, 50, 50, 50, 50])


@pytest.mark.parametrize(
    "sent",
    [
        controls(task=["fixed", 60, False], field=["fixed", 60, False]),
        controls(**{group: ["fixed", 10, False] for group in LAYOUT.group_names}),
        controls(task_a=["fixed", 30, False], task_b=["fixed", 30, False]),
        controls(task=["fixed", 101, False]),
        controls(task=["off", -1, False]),
        controls(task=["fixed", float("nan"), False]),
        controls(scope="nowhere"),
        controls(scope="0-1"),
        controls(2.5),
        controls(float("nan")),
        controls(diet=["off", 0, False]),
        controls(task=["on", 0, False]),
        controls(task=["off"]),
        controls(task=None),
        {},
        None,
        "x",
        {"set": 3},
    ],
)
def test_impossible_settings_are_refused_with_a_sentence(sent):
    with pytest.raises(AtMoeError, match=r"\.$"):
        Controls.from_dict(sent, LAYOUT)


def test_settings():
    assert sampling_of(24, 0, 3) == Sampling(
        max_new_tokens=24, temperature=0.0, seed=3, repetition_penalty=1.1
    )
    assert sampling_of(24, 0.7, None).seed == 0


@pytest.mark.parametrize(
    "values",
    [(0, 0, 0), (401, 0, 0), (24, -1, 0), (24, 1.6, 0), (24, 0, -1), (24, float("nan"), 0)],
)
def test_settings_out_of_range_are_refused_with_a_sentence(values):
    with pytest.raises(AtMoeError, match=r"\.$"):
        sampling_of(*values)
