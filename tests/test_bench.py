"""Values of the controls become a steering and settings, or are refused with a sentence."""

import pytest
import torch

from app.bench import View, average_percents, changed_groups, sampling_of, steering_of
from atmoe import AtMoeError, Layout, Override, RoutingPlan, Sampling, State

GROUPS = ("task", "field", "reader")
LAYOUT = Layout.of(3, {group: ("a", "b") for group in GROUPS})


def test_values_become_overrides():
    steering = steering_of(GROUPS, 0.5, "late", ["fixed", "router", "off"], [60, 33, 33])
    assert steering.strength == 0.5
    assert steering.overrides == (Override("task", State.FIXED, 0.6, "late"),
                                  Override("reader", State.OFF, None, "late"))
    assert changed_groups(steering) == ("task", "reader")


def test_sliders_of_groups_left_to_the_router_do_not_count():
    steering = steering_of(GROUPS, 1.0, "all", ["router"] * 3, [90, 90, 90])
    assert steering.untouched and not changed_groups(steering)


@pytest.mark.parametrize("percents", [(34, 27, 39), (33, 33, 34), (100, 0, 0), (1, 98, 1), (29, 57, 14)])
def test_whole_percents_that_sum_to_100_are_exact_enough_to_apply(percents):
    plan = steering_of(GROUPS, 1.0, "all", ["fixed"] * 3, percents).apply(RoutingPlan.uniform(LAYOUT))
    torch.testing.assert_close(plan.group_shares.sum(1), torch.ones(3))
    assert list(average_percents(plan).values()) == pytest.approx(percents, abs=1e-3)


@pytest.mark.parametrize(("strength", "scope", "states", "percents"), [
    (1.0, "all", ["fixed", "fixed", "router"], [60, 60, 0]),
    (1.0, "all", ["fixed"] * 3, [10, 10, 10]),
    (1.0, "all", ["fixed", "router", "router"], [101, 0, 0]),
    (1.0, "nowhere", ["fixed", "router", "router"], [50, 0, 0]),
    (2.5, "all", ["router"] * 3, [0, 0, 0]),
    (float("nan"), "all", ["router"] * 3, [0, 0, 0]),
])
def test_impossible_values_are_refused_with_a_sentence(strength, scope, states, percents):
    with pytest.raises(AtMoeError, match=r"\.$"):
        View.of(RoutingPlan.uniform(LAYOUT), steering_of(GROUPS, strength, scope, states, percents))


def test_settings():
    assert sampling_of(24, 0, 3) == Sampling(max_new_tokens=24, temperature=0.0, seed=3, repetition_penalty=1.1)
    assert sampling_of(24, 0.7, None).seed == 0


@pytest.mark.parametrize("values", [(0, 0, 0), (401, 0, 0), (24, -1, 0), (24, 1.6, 0), (24, 0, -1),
                                    (24, float("nan"), 0)])
def test_settings_out_of_range_are_refused_with_a_sentence(values):
    with pytest.raises(AtMoeError, match=r"\.$"):
        sampling_of(*values)
