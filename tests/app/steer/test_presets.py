"""Presets are offered where their names exist, and do what they say."""

import json

from conftest import ROOT

from app.steer.presets import PRESETS, presets
from atmoe import Layout, RoutingPlan

MEDICAL = json.loads((ROOT / "assets/medical/atmoe.json").read_text("utf-8"))


def test_all_are_offered_for_the_model_that_is_shipped_and_each_changes_its_plan():
    layout = Layout.of(
        MEDICAL["layers"], {group["name"]: group["experts"] for group in MEDICAL["groups"]}
    )
    plan = RoutingPlan.uniform(layout)
    assert list(presets(layout)) == list(PRESETS)
    for preset in presets(layout).values():
        assert not preset.steering.apply(plan).close_to(plan)


def test_what_a_model_lacks_is_not_offered():
    layout = Layout.of(2, {"audience": ("patient", "reference"), "task": ("evidence", "overview")})
    assert list(presets(layout)) == ["For a patient", "Evidence first"]
