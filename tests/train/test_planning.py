"""The planner of a trained router, taught anew; all else stays."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from conftest import LAYOUT
from safetensors.torch import load_file
from test_train import DESCRIBED, EXAMPLES

from atmoe import AtMoe
from atmoe.errors import TrainingError
from atmoe.steering.overrides import Steering
from atmoe.train.by_hand import ByHand, set_by_hand
from atmoe.train.planning import taught_anew, train_planner, warm_instructions
from atmoe.train.rows import training_side
from atmoe.train.settings import RouterSettings

SETTINGS = RouterSettings(instructions=300, fit_steps=200, fit_decays=(0.1,), width=16)


@pytest.mark.parametrize("width", [0, 8])
def test_who_takes_part_is_learned_anew_and_nothing_else(llama, tmp_path, width):
    model = llama.planned(width)
    model.router.planner.group_bias += 0.5
    model.router.planner.group_floor.fill_(0.7)
    model.save_pretrained(tmp_path)
    before = load_file(tmp_path / "router.safetensors")
    report = train_planner(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    after = load_file(tmp_path / "router.safetensors")
    # 1. of the file, the planner of experts alone
    own = {"weight", "bias", "floor", "hidden_weight", "hidden_bias"}
    for name in set(before) | set(after):
        planner, _, part = name.rpartition(".")
        if planner != "planner" or part not in own:
            assert torch.equal(before[name], after[name]), name
    assert after["planner.hidden_weight"].shape[1] == report["settings"]["width"] == 16
    # 2. what is saved is what was taught, and tells the needs it was taught
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path), dtype="float32")
    right = 0
    for example in EXAMPLES:
        plan = loaded.route(example.prompt)
        assert plan.team == model.route(example.prompt).team
        right += f"task/{example.labels['task']}" in plan.asked
    assert right > 0.9 * len(EXAMPLES)
    assert json.loads((tmp_path / "planner.log.json").read_text())["planner_decay"] == 0.1


def test_letters_are_learned_besides_and_saved(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    settings = replace(SETTINGS, pieces=256)
    report = train_planner(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    assert report["settings"]["pieces"] == 256
    assert report["letters"].keys() == dict(LAYOUT.groups).keys()
    assert load_file(tmp_path / "router.safetensors")["planner.spelling.weight"].any()
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path), dtype="float32")
    assert loaded.router.sizes["pieces"] == 256
    for example in EXAMPLES[:9]:
        assert loaded.route(example.prompt).team == model.route(example.prompt).team
    # and taught anew without, it reads none
    train_planner(loaded, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    assert loaded.router.sizes["pieces"] == 0
    assert not [n for n in load_file(tmp_path / "router.safetensors") if "spelling" in n]


def test_what_is_not_named_stays_as_the_planner_has_it(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    first, second, third = LAYOUT.group_names
    floors = {first: 0.05, third: 0.3}
    settings = replace(SETTINGS, width=24, pieces=256, floors=floors)
    train_planner(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path), dtype="float32")
    few = {"instructions": 60, "fit_steps": 5, "fit_decays": (0.1,)}
    train_planner(loaded, EXAMPLES, DESCRIBED, tmp_path, taught_anew(loaded.router, few))
    tensors = load_file(tmp_path / "router.safetensors")
    assert tensors["planner.hidden_weight"].shape[1] == 24
    assert tensors["planner.spelling.rarity"].shape == (256,)
    assert torch.equal(tensors["planner.floor"], torch.tensor([0.05, 0.25, 0.3]))
    # what is named is as it is named: a floor for all is of those that had their own too
    given = {"width": 8, "pieces": 0, "floors": {second: 0.5}}
    named = taught_anew(loaded.router, given)
    assert (named.width, named.pieces) == (8, 0)
    assert named.floors_of(LAYOUT.group_names) == [0.05, 0.5, 0.3]
    named = taught_anew(loaded.router, given | {"floor": 0.1})
    assert named.floors_of(LAYOUT.group_names) == [0.1, 0.5, 0.1]
    # one of before there was a hidden layer had floors of another kind
    assert taught_anew(llama.planned(0).router, few) == RouterSettings(**few)


@pytest.mark.parametrize("letters", [1.0, 40.0])
def test_the_experts_told_to_take_part_are_those_of_the_plans(llama, tmp_path, letters):
    model = llama.planned()
    model.router.planner.group_bias[0, 0] -= 1.0
    model.save_pretrained(tmp_path)
    settings = replace(SETTINGS, pieces=256, floor=0.5)
    by_hand = ByHand(
        group_floors=dict.fromkeys(LAYOUT.group_names, 0.9),
        letters=dict.fromkeys(LAYOUT.group_names, letters),
    )
    report = train_planner(model, EXAMPLES, DESCRIBED, tmp_path, settings, by_hand)
    asked = warm_instructions(
        training_side(EXAMPLES), DESCRIBED, settings.instructions, settings.seed + 1
    )
    plans = [model.route(example.prompt) for example in asked]
    assert any(plan.absent for plan in plans)  # or there would be nothing to see
    told = sum(len(plan.team) for plan in plans) / len(plans)
    assert report["team_size"] == pytest.approx(told, abs=0.006)


def test_shares_are_softened_where_that_is_asked_for(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    before = model.router.expert_weight.clone(), model.router.expert_bias.clone()
    train_planner(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS, ByHand(soften=4.0))
    for new, old in zip((model.router.expert_weight, model.router.expert_bias), before):
        assert torch.allclose(new, old / 4, atol=1e-7)


def test_gains_are_multiplied_where_that_is_asked_for_as_a_strength_would(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    report = train_planner(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    before, example = model.router.gain.clone(), EXAMPLES[0]
    plan = model.route(example.prompt)
    weaker = Steering(strength=0.8).apply(plan)
    expected = model.score(example.prompt, example.answer, [weaker])
    again = train_planner(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS, ByHand(gain=0.8))
    assert torch.allclose(model.router.gain, 0.8 * before)
    assert model.route(example.prompt).team == plan.team
    assert torch.allclose(model.score(example.prompt, example.answer, [plan]), expected, atol=1e-5)
    assert report["settings"]["gain"] == 1 and again["settings"]["gain"] == 0.8


def test_floors_are_set_by_hand_and_nothing_learned(llama, tmp_path):
    model = llama.planned()
    model.router.planner.group_bias[0, 0] -= 1.0
    model.router.planner.group_floor.fill_(2.0)
    model.save_pretrained(tmp_path)
    before = load_file(tmp_path / "router.safetensors")
    absent = [group for e in EXAMPLES for group in model.route(e.prompt).absent]
    first = LAYOUT.group_names[0]
    assert first in absent  # or there would be nothing to see
    by_hand = ByHand(floors={first: 0.0}, group_floors={first: 0.0})
    report = set_by_hand(model, tmp_path, by_hand)
    assert report["stage"] == "planner-set" and (tmp_path / "planner-set.log.json").is_file()
    assert report["settings"] == {
        "soften": 1.0,
        "gain": 1.0,
        "floors": {first: 0.0},
        "group_floors": {first: 0.0},
        "letters": {},
    }
    assert "team_size" not in report and report["earlier"] == []
    after = load_file(tmp_path / "router.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"planner.floor", "planner.group_floor"}
    assert after["planner.group_floor"].tolist() == [0.0] + [2.0] * (len(LAYOUT.groups) - 1)
    assert after["planner.floor"][1:].equal(before["planner.floor"][1:])
    assert before["planner.group_floor"].tolist() == [2.0]  # one for all is written once
    # that group always takes part, with all of its experts; the others as before
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path), dtype="float32")
    members = {f"{first}/{expert}" for expert in dict(LAYOUT.groups)[first]}
    for example in EXAMPLES[:9]:
        plan = loaded.route(example.prompt)
        assert first not in plan.absent and members <= set(plan.team)


def test_what_letters_say_of_a_group_is_multiplied_and_what_states_say_stays(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    train_planner(model, EXAMPLES, DESCRIBED, tmp_path, replace(SETTINGS, pieces=256))
    planner = model.router.planner
    first, *others = (LAYOUT.members(group) for group in LAYOUT.group_names)
    states = torch.randn(3, planner.depth, planner.group_weight.shape[-1]) / 100
    prompts = [example.prompt for example in EXAMPLES[:3]]
    of_states, letters = planner.logits(states), planner.spelling(prompts)
    before = load_file(tmp_path / "router.safetensors")
    set_by_hand(model, tmp_path, ByHand(letters={LAYOUT.group_names[0]: 0.25}))
    now = model.router.planner(states, prompts)
    expected = (of_states + letters).clone()
    expected[:, first] = of_states[:, first] + 0.25 * letters[:, first]
    assert letters[:, first].abs().min() > 1e-3  # or there would be nothing to see
    assert torch.allclose(now, expected.sigmoid(), atol=1e-6)
    after = load_file(tmp_path / "router.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"planner.spelling.weight", "planner.spelling.bias"}
    for members in others:
        name = "planner.spelling.weight"
        assert torch.equal(before[name][:, members], after[name][:, members])


def test_what_was_set_before_stays_told(llama, tmp_path):
    model, log = llama.planned(), tmp_path / "planner-set.log.json"
    model.save_pretrained(tmp_path)
    once, twice = ByHand(gain=0.5), ByHand(gain=0.8)
    set_by_hand(model, tmp_path, once)
    before = json.loads(log.read_text())
    set_by_hand(model, tmp_path, twice)
    after = json.loads(log.read_text())
    assert after["earlier"] == [before["settings"]] and after["settings"]["gain"] == 0.8
    set_by_hand(model, tmp_path, once)
    assert json.loads(log.read_text())["earlier"] == [before["settings"], after["settings"]]
    log.write_text("[1]")
    gain, weights = model.router.gain.clone(), (tmp_path / "router.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="does not tell what was set before"):
        set_by_hand(model, tmp_path, twice)
    assert torch.equal(model.router.gain, gain)
    assert (tmp_path / "router.safetensors").read_bytes() == weights


@pytest.mark.parametrize("option", ["--group-floors", "--letters", "--floors"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_numbers_of_a_group_that_it_cannot_have_are_named(option, value):
    with pytest.raises(TrainingError, match=f"^{option} is from 0"):
        ByHand(**{option[2:].replace("-", "_"): {"task": value}})


@pytest.mark.parametrize("name", ["group_floors", "letters", "floors"])
def test_a_group_that_is_not_there_is_named(llama, tmp_path, name):
    with pytest.raises(TrainingError, match="names the group 'nobody', and there is none"):
        set_by_hand(llama.planned(), tmp_path, ByHand(**{name: {"nobody": 0.5}}))
    with pytest.raises(TrainingError, match="names the group 'nobody', and there is none"):
        by_hand = ByHand(**{name: {"nobody": 0.5}})
        train_planner(llama.planned(), EXAMPLES, DESCRIBED, tmp_path, SETTINGS, by_hand)


def test_a_planner_without_letters_has_none_to_multiply(llama, tmp_path):
    by_hand = ByHand(letters={LAYOUT.group_names[0]: 0.5})
    with pytest.raises(TrainingError, match="reads states alone"):
        train_planner(llama.planned(), EXAMPLES, DESCRIBED, tmp_path, SETTINGS, by_hand)
    with pytest.raises(TrainingError, match="reads states alone"):
        set_by_hand(llama.planned(), tmp_path, by_hand)


def test_what_would_change_nothing_is_refused(llama, tmp_path):
    with pytest.raises(TrainingError, match="nothing is set; name what to set"):
        set_by_hand(llama.planned(), tmp_path, ByHand())


@pytest.mark.parametrize("by", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["soften", "gain"])
def test_what_all_are_scaled_by_is_above_zero(name, by):
    with pytest.raises(TrainingError, match=f"--{name} must be above 0"):
        ByHand(**{name: by})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"width": 0}, "--width"),
        ({"pieces": -1}, "--pieces"),
        ({"floor": 1.0}, "--floor"),
        ({"floors": {"task": -0.1}}, "--floor"),
        ({"temperature": 0}, "--temperature"),
    ],
)
def test_settings_that_no_planner_can_have_are_named(wrong, named):
    with pytest.raises(TrainingError, match=f"{named} (must be|is from)"):
        replace(SETTINGS, **wrong)


def test_a_router_without_a_planner_has_nothing_to_be_taught(llama, tmp_path):
    with pytest.raises(TrainingError, match="no planner.*--depth"):
        train_planner(llama.build(), EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    with pytest.raises(TrainingError, match="no planner.*--depth"):
        set_by_hand(llama.build(), tmp_path, ByHand(gain=0.8))
