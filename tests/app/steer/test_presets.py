"""A model's presets become controls, and do what they say."""

import pytest
from conftest import ASSETS

from app.controls import Setting
from app.steer.presets import presets
from atmoe import Layout, RoutingPlan, State
from atmoe.errors import SteeringError
from atmoe.mixture.replacing import read_config
from atmoe.presentation import Page


def test_all_of_the_shipped_model_can_be_set_and_each_changes_its_plan():
    info, layout = read_config(ASSETS)
    plan, offered = RoutingPlan.uniform(layout), presets(info.page, layout)
    assert list(offered) == list(info.page.presets) and len(offered) == 4
    for preset in offered.values():
        assert not preset.steering.apply(plan).close_to(plan)


def test_a_share_is_fixed_and_off_is_off():
    layout = Layout.of(2, {"diet": ("vegan", "any"), "task": ("recipe", "swap")})
    page = Page(presets={"Vegan": {"diet/vegan": 80, "task": "off"}})
    assert presets(page, layout)["Vegan"].settings == {
        "diet/vegan": Setting(State.FIXED, 80),
        "task": Setting(State.OFF, 0),
    }


def test_what_is_no_share_is_refused_when_the_page_is_built():
    layout = Layout.of(2, {"diet": ("vegan", "any")})
    page = Page.model_construct(presets={"Too much": {"diet": 300.0}})
    with pytest.raises(SteeringError):
        presets(page, layout)
