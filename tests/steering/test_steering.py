"""Steering: what each state does to a plan, how overrides compose, and what is refused."""

import itertools
import json
import random

import pytest
import torch
from conftest import GROUPS, LAYOUT, random_plan

from atmoe import Layout, Override, RoutingPlan, State, Steering
from atmoe.errors import SteeringError
from atmoe.steering.overrides import layer_range, parse_target

FIXED, OFF, ROUTER = State.FIXED, State.OFF, State.ROUTER


def steer(*overrides, strength=1.0, plan=None):
    return Steering(tuple(Override(*o) for o in overrides), strength).apply(plan or random_plan(0))


def sums(plan):
    return [
        plan.group_shares.sum(1),
        *(plan.expert_shares[:, LAYOUT.members(g)].sum(1) for g in GROUPS),
    ]


# -- states ----------------------------------------------------------------------------------------


def test_router_everywhere_is_the_identity():
    plan = random_plan(0)
    everywhere = [
        (target, ROUTER, None, scope)
        for target in (*LAYOUT.group_names, *LAYOUT.expert_names)
        for scope in ("all", "late", "2")
    ]
    for steering in (Steering(), Steering(tuple(Override(*o) for o in everywhere))):
        assert steering.untouched and steering.apply(plan).close_to(plan, atol=0)


def test_fixed_leaves_the_rest_in_the_routers_proportions():
    plan = random_plan(0)
    steered = steer(("field", FIXED, 0.6))
    assert torch.allclose(steered.group_shares[:, 1], torch.tensor(0.6))
    rest = plan.group_shares[:, [0, 2]]
    assert torch.allclose(
        steered.group_shares[:, [0, 2]], 0.4 * rest / rest.sum(1, keepdim=True), atol=1e-6
    )
    assert torch.equal(steered.expert_shares, plan.expert_shares)
    assert all(torch.allclose(s, torch.ones(5), atol=1e-6) for s in sums(steered))


def test_fixed_inside_a_group_moves_only_that_group():
    plan = random_plan(0)
    steered = steer(("task/warn", FIXED, 0.7))
    rest = plan.expert_shares[:, :2]
    assert torch.allclose(steered.expert_shares[:, 2], torch.tensor(0.7))
    assert torch.allclose(
        steered.expert_shares[:, :2], 0.3 * rest / rest.sum(1, keepdim=True), atol=1e-6
    )
    assert torch.equal(steered.group_shares, plan.group_shares)
    assert torch.equal(steered.expert_shares[:, 3:], plan.expert_shares[:, 3:])


def test_several_fixed():
    steered = steer(("field", FIXED, 0.5), ("task", FIXED, 0.2))
    assert torch.allclose(
        steered.group_shares, torch.tensor([0.2, 0.5, 0.3]).expand(5, 3), atol=1e-6
    )
    full = steer(("field", FIXED, 0.5), ("task", FIXED, 0.2), ("reader", FIXED, 0.3))
    assert torch.allclose(full.group_shares, torch.tensor([0.2, 0.5, 0.3]).expand(5, 3))
    alone = steer(("task", FIXED, 1.0))
    assert torch.allclose(alone.group_shares, torch.tensor([1.0, 0, 0]).expand(5, 3), atol=1e-6)


@pytest.mark.parametrize("target", ["task", "field", "reader/lay", "task/treat"])
def test_off_drops_and_nobody_takes_over(target):
    plan, steered = random_plan(0), steer((target, OFF))
    gone = [
        e
        for e, name in enumerate(LAYOUT.expert_names)
        if name == target or name.startswith(target + "/")
    ]
    kept = [e for e in range(6) if e not in gone]
    assert not steered.weights[:, gone].any() and torch.equal(
        steered.weights[:, kept], plan.weights[:, kept]
    )


def test_off_inside_takes_weight_from_the_group_and_all_off_its_part():
    plan = random_plan(2)
    task = LAYOUT.group_index("task")
    some = steer(("task/treat", OFF), plan=plan)
    treat = LAYOUT.expert_index("task/treat")
    left = plan.group_shares[:, task] - plan.weights[:, treat]
    torch.testing.assert_close(some.group_weights[:, task], left)
    assert torch.equal(some.group_shares, plan.group_shares) and not some.absent
    gone = steer(*((f"task/{e}", OFF) for e in GROUPS["task"]), plan=plan)
    assert gone.absent == ("task",) and "task" not in gone.taking_part
    assert (gone.group_weights[:, task] == 0).all() and (gone.group_shares[:, task] > 0).all()


def test_all_off_is_the_base_plan():
    assert not steer(*((g, OFF) for g in GROUPS)).weights.any()
    assert not steer(*((e, OFF) for e in LAYOUT.expert_names)).weights.any()


def test_off_beside_fixed_keeps_what_it_would_have_had():
    """The dropped group's part of the rest is dropped with it."""
    plan = random_plan(0)
    steered = steer(("field", FIXED, 0.6), ("reader", OFF))
    share = 0.4 * plan.group_shares[:, 0] / plan.group_shares[:, [0, 2]].sum(1)
    assert torch.allclose(
        steered.group_shares,
        torch.stack([share, torch.full((5,), 0.6), torch.zeros(5)], 1),
        atol=1e-6,
    )


def test_strength_is_set_and_keeps_the_shares():
    plan = random_plan(0)
    assert torch.equal(steer(strength=0.5).strength, torch.full((5,), 0.5))
    assert torch.equal(steer(strength=0.5).weights, plan.weights)
    assert not steer(strength=0).mixing.any() and not Steering(strength=0).untouched
    weak = RoutingPlan(LAYOUT, plan.group_shares, plan.expert_shares, torch.full((5,), 0.5))
    assert torch.equal(Steering((Override("task", OFF),)).apply(weak).strength, weak.strength)


def test_the_plan_given_stays_as_it_is():
    plan = random_plan(0)
    steer(("field", FIXED, 0.6), ("task/warn", OFF), strength=0.2, plan=plan)
    assert plan.close_to(random_plan(0), atol=0)


# -- composition -----------------------------------------------------------------------------------


def random_steering(rng):
    """Overrides that may be refused."""

    def draw():
        return Override(
            rng.choice([*LAYOUT.group_names, *LAYOUT.expert_names]),
            rng.choice(list(State)),
            rng.choice([0.0, 0.1, 0.25, 0.4, 1.0]),
            rng.choice(["all", "early", "late", "1-2", "3", "2-4"]),
        )

    return [draw() for _ in range(rng.randint(1, 4))]


def test_idempotent_and_order_free_over_many_steerings():
    rng, applied = random.Random(0), 0
    for trial in range(300):
        overrides, plan = random_steering(rng), random_plan(trial)
        outcomes = []
        for order in itertools.permutations(overrides):
            try:
                outcomes.append(Steering(order).apply(plan))
            except SteeringError:
                outcomes.append(None)
        assert len({o is None for o in outcomes}) == 1, overrides
        if outcomes[0] is None:
            continue
        applied += 1
        assert all(o.close_to(outcomes[0]) for o in outcomes), overrides
        assert Steering(overrides).apply(outcomes[0]).close_to(outcomes[0], atol=1e-5), overrides
        assert all((s <= 1 + 1e-5).all() for s in sums(outcomes[0]))
    assert applied > 100


def test_a_narrow_override_settles_two_wider_ones_in_any_order():
    wide, other = Override("task", FIXED, 0.2, "0-2"), Override("task", FIXED, 0.8, "2-4")
    narrow = Override("task", OFF, None, "2")
    plans = [
        Steering(order).apply(random_plan(0))
        for order in itertools.permutations((wide, other, narrow))
    ]
    assert all(p.close_to(plans[0], atol=0) for p in plans)
    assert torch.allclose(plans[0].group_shares[:, 0], torch.tensor([0.2, 0.2, 0, 0.8, 0.8]))


def test_the_narrower_scope_wins():
    plan = random_plan(0)
    steered = steer(("task", FIXED, 0.6), ("task", FIXED, 0.1, "late"), ("task", ROUTER, None, "4"))
    assert torch.allclose(steered.group_shares[:4, 0], torch.tensor([0.6, 0.6, 0.6, 0.1]))
    assert torch.equal(steered.group_shares[4], plan.group_shares[4])


def test_equal_scopes_that_contradict_are_refused():
    with pytest.raises(
        SteeringError, match=r"task is set twice for layer 2 .*60%.*off.*narrower range"
    ):
        steer(("task", FIXED, 0.6, "0-2"), ("task", OFF, None, "2-4"))
    with pytest.raises(SteeringError, match="set twice"):
        steer(("task/warn", FIXED, 0.6), ("task/warn", FIXED, 0.5, "0-4"))
    same = steer(("task", FIXED, 0.6), ("task", FIXED, 0.6, "0-4"))
    assert same.close_to(steer(("task", FIXED, 0.6)), atol=0)


def test_layers_outside_the_scope_stay():
    plan, steered = (
        random_plan(0),
        steer(("task", OFF, None, "1-2"), ("reader/lay", FIXED, 1.0, "4")),
    )
    for layer, (group, expert) in enumerate([(1, 1), (0, 1), (0, 1), (1, 1), (1, 0)]):
        assert torch.equal(steered.group_shares[layer], plan.group_shares[layer]) == bool(group)
        assert torch.equal(steered.expert_shares[layer], plan.expert_shares[layer]) == bool(expert)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        ([("task", FIXED, 0.7), ("field", FIXED, 0.4)], r"sum to 110% \(layer 0\); lower them"),
        ([("task", FIXED, 0.7), ("field", FIXED, 0.304)], r"sum to 100.4% \(layer 0\)"),
        (
            [("task", FIXED, 0.3), ("field", FIXED, 0.3), ("reader", FIXED, 0.3)],
            "90%.*nothing is left.*raise them",
        ),
        ([("field/heart", FIXED, 0.5)], "layer 0, field.*nothing is left"),
        ([("reader/lay", FIXED, 0.6), ("reader/expert", FIXED, 0.6, "3")], "120%.*layer 3, reader"),
        ([("tusk", OFF)], "no group 'tusk'; the groups are task"),
        ([("task/x", OFF)], "its experts are define"),
        ([("task", OFF, None, "5")], "Layers 5 do not exist; this model has layers 0-4"),
        ([("task", OFF, None, "3-1")], "do not exist"),
        ([("task", OFF, None, "top")], "write all, early, middle, late"),
        ([("", OFF)], "no group ''"),
        ([("task", OFF, None, "9" * 5000)], "names no layers"),
    ],
)
def test_refused(overrides, sentence):
    with pytest.raises(SteeringError, match=sentence):
        steer(*overrides)


def test_nobody_takes_the_rest_where_the_others_take_no_part():
    plan = RoutingPlan.choosing(LAYOUT, {"task": "warn"}, {"task": 1.0})
    steered = steer(("task", FIXED, 0.6), ("task/warn", FIXED, 0.3), plan=plan)
    assert torch.equal(steered.group_shares, torch.tensor([0.6, 0.0, 0.0]).expand(5, 3))
    assert torch.equal(steered.expert_shares[:, :3], torch.tensor([0.0, 0.0, 0.3]).expand(5, 3))
    again = steer(("task", FIXED, 0.6), ("task/warn", FIXED, 0.3), plan=steered)
    assert again.close_to(steered, 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "overrides, team",
    [
        ([("task", 1.0)], {"task"}),
        ([("task", 0.7), ("reader", 0.3)], {"task", "reader"}),
        ([("task", 0.6), ("field", 0.3), ("reader", 0.1)], {"task", "field", "reader"}),
        ([("task", 1.0), ("task/warn", 1.0)], {"task/warn"}),
        ([("task", 0.1), ("reader", 0.9), ("field/heart", 1.0)], {"task", "reader"}),
    ],
)
def test_of_all_that_is_given_to_some_the_others_have_exactly_nothing(seed, overrides, team):
    """A softmax of float32 seldom sums to 1, nor do shares that people write."""
    plan = random_plan(seed)
    if "field/heart" in dict(overrides):  # it calls its group in, for which nothing is left
        shares = plan.group_shares.clone()
        shares[:, 1] = 0
        plan = RoutingPlan(LAYOUT, shares / shares.sum(1, keepdim=True), plan.expert_shares)
    steered = steer(*((target, FIXED, share) for target, share in overrides), plan=plan)
    taking = {name for name in LAYOUT.expert_names if {name, name.partition("/")[0]} & team}
    assert set(steered.team) == taking
    assert set(steered.absent) == set(GROUPS) - {name.partition("/")[0] for name in team}


def test_shares_too_small_for_float32_still_take_the_rest():
    """A collapsed router leaves its other groups less than 1e-38."""
    groups = torch.tensor([1.0, 1e-40, 3e-40]).expand(5, 3)
    steered = steer(
        ("task", FIXED, 0.2), plan=RoutingPlan(LAYOUT, groups, random_plan(0).expert_shares)
    )
    assert torch.allclose(
        steered.group_shares, torch.tensor([0.2, 0.2, 0.6]).expand(5, 3), atol=1e-3
    )


@pytest.mark.parametrize("share", [None, float("nan"), float("inf"), -0.1, 1.5, 60, "0.5"])
def test_impossible_shares(share):
    with pytest.raises(SteeringError, match="100%"):
        Override("task", FIXED, share)


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), float("inf"), "1", None])
def test_impossible_strengths(strength):
    with pytest.raises(SteeringError, match=r"from 0 \(base model\) to 2"):
        Steering(strength=strength)


@pytest.mark.parametrize("arguments", [("task", "on"), ("task", None), (None, OFF), (7, OFF)])
def test_impossible_overrides(arguments):
    with pytest.raises(SteeringError, match="(use|write)"):
        Override(*arguments)


def test_scopes_that_are_no_text():
    with pytest.raises(SteeringError, match="write all"):
        steer(("task", OFF, None, 3))
    with pytest.raises(SteeringError, match="tuple of overrides"):
        Steering(("task",))


# -- scopes and written forms ----------------------------------------------------------------------


@pytest.mark.parametrize("layers", range(3, 35))
def test_bands_are_thirds(layers):
    bands = [layer_range(band, layers) for band in ("early", "middle", "late")]
    assert (
        [layer for band in bands for layer in band]
        == list(layer_range("all", layers))
        == list(range(layers))
    )
    assert max(map(len, bands)) - min(map(len, bands)) <= 1


def test_ranges_hold_both_ends():
    assert list(layer_range("1-3", 5)) == [1, 2, 3] and list(layer_range("4", 5)) == [4]


@pytest.mark.parametrize("scope", ["", "5", "2-5", "3-2", "-1", "1-", "a", "1,2", "0 - 2", "Early"])
def test_scopes_that_name_no_layers(scope):
    with pytest.raises(SteeringError, match="(write all|this model has layers 0-4)"):
        layer_range(scope, 5)


@pytest.mark.parametrize(
    "text, target, share",
    [
        ("task=0.6", "task", 0.6),
        ("task/warn=60%", "task/warn", 0.6),
        (" task = 60 % ", "task", 0.6),
        ("task=0", "task", 0),
        ("task=100%", "task", 1),
        ("task=1e-1", "task", 0.1),
    ],
)
def test_written_forms(text, target, share):
    override = parse_target(text, FIXED, "late")
    assert (override.target, override.state, override.scope) == (target, FIXED, "late")
    assert override.share == pytest.approx(share) and parse_target(target, OFF) == Override(
        target, OFF
    )


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("task", "write for example task=0.6"),
        ("task=", "write for example"),
        ("task=much", "write for example"),
        ("task=60", "a share is at most 100% .write 0.6 or 60%"),
        ("task=-1", "between 0% and 100%"),
        ("task=nan", "between 0% and 100%"),
        ("task=0.5=0.5", "write for example"),
        ("", "write for example"),
    ],
)
def test_written_forms_that_say_nothing(text, sentence):
    with pytest.raises(SteeringError, match=sentence):
        parse_target(text, FIXED)


def test_json_gives_the_very_same_steering():
    steering = Steering(
        (
            Override("task", FIXED, 1 / 3, "late"),
            Override("reader/lay", OFF),
            Override("field", ROUTER),
        ),
        0.7,
    )
    assert Steering.from_dict(json.loads(json.dumps(steering.to_dict()))) == steering
    assert steering.to_dict()["overrides"][0] == {
        "target": "task",
        "state": "fixed",
        "share": 1 / 3,
        "layers": "late",
    }


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"strength": 1},
        {"override": []},
        {"overrides": None, "strength": 1},
        {"overrides": ["task"], "strength": 1},
        {"overrides": [{"target": "task"}], "strength": 1},
        {"overrides": [{"target": "task", "state": "on"}], "strength": 1},
        {"overrides": [], "strength": "much"},
        {"overrides": [], "strength": "nan"},
        {"overrides": [], "strength": None},
        {"overrides": [], "strength": 10**400},
        {"overrides": [{"target": "task", "state": "fixed", "share": 10**400}], "strength": 1},
        {"overrides": [{"target": "task", "state": "fixed", "share": "a"}], "strength": 1},
    ],
)
def test_what_is_no_steering(data):
    with pytest.raises(SteeringError):
        Steering.from_dict(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"overrides": [], "strenght": 0}, "'strenght' is no field; .* strength, overrides"),
        (
            {"overrides": [{"target": "task", "state": "off", "scope": "late"}]},
            r"overrides\.0: 'scope' is no field; .* target, state, share, layers",
        ),
    ],
)
def test_a_misspelt_field_is_named_and_not_passed_over(data, told):
    with pytest.raises(SteeringError, match=told):
        Steering.from_dict(data)


def test_a_share_means_the_same_in_every_layout():
    """Sizes as shipped: 30 layers, 7 + 6 + 3 experts."""
    layout = Layout.of(
        30, {"task": tuple("abcdefg"), "field": tuple("hijklm"), "reader": tuple("nop")}
    )
    plan = Steering((Override("task", FIXED, 0.5, "middle"),)).apply(random_plan(1, layout))
    assert torch.allclose(plan.group_shares[10:20, 0], torch.tensor(0.5))
    assert torch.allclose(plan.weights.sum(1), torch.ones(30), atol=1e-6)


def test_a_band_that_names_no_layer_is_refused():
    with pytest.raises(
        SteeringError, match="2 layers has no early third; write a range such as 0-1"
    ):
        layer_range("early", 2)
    assert list(layer_range("late", 2)) == [1]


def test_shares_that_sum_to_a_hair_more_than_all_are_told_with_the_digits_that_show_it():
    plan = RoutingPlan.uniform(Layout.of(1, {"a": ("x", "y"), "b": ("z", "w"), "c": ("v", "u")}))
    thirds = tuple(Override(group, State.FIXED, 0.333334) for group in "abc")
    with pytest.raises(SteeringError, match=r"sum to 100\.0002% \(layer 0\)"):
        Steering(thirds).apply(plan)


def test_a_contradiction_is_told_in_the_words_in_which_a_change_is():
    plan = RoutingPlan.uniform(Layout.of(1, {"a": ("x", "y"), "b": ("z", "w")}))
    rivals = (Override("a", State.ROUTER), Override("a", State.FIXED, 0.125))
    with pytest.raises(SteeringError, match=r"\(left to the router and fixed at 12\.5%\)"):
        Steering(rivals).apply(plan)
