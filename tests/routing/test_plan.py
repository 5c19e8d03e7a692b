"""A plan's algebra: its sums, its names, its round trip, and what it refuses."""

import json

import pytest
import torch
from conftest import LAYERS, LAYOUT, random_plan

from atmoe import Layout, RoutingPlan
from atmoe.errors import AtMoeError, PlanError


def test_layout_orders_names_and_columns():
    assert LAYOUT.expert_names == (
        "task/define",
        "task/treat",
        "task/warn",
        "field/heart",
        "reader/lay",
        "reader/expert",
    )
    assert LAYOUT.group_of == (0, 0, 0, 1, 2, 2)
    assert [LAYOUT.expert_names[LAYOUT.members(g)] for g in LAYOUT.group_names] == [
        LAYOUT.expert_names[:3],
        LAYOUT.expert_names[3:4],
        LAYOUT.expert_names[4:],
    ]
    assert [LAYOUT.expert_index(name) for name in LAYOUT.expert_names] == list(range(6))


@pytest.mark.parametrize(
    "layers, groups, sentence",
    [
        (0, {"a": ["b"]}, "at least one layer"),
        (2, {}, "one group"),
        (2, {"a": []}, "give it at least one"),
        (2, {"a": ["b", "b"]}, "must differ"),
        (2, {"a": ["b/c"]}, "must not"),
        (2, {"": ["b"]}, "must not be empty"),
        (2, {"a=1": ["b"]}, "must not"),
    ],
)
def test_layouts_that_mean_nothing(layers, groups, sentence):
    with pytest.raises(PlanError, match=sentence):
        Layout.of(layers, groups)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("tusk", "There is no group 'tusk'; the groups are task, field, reader"),
        ("task/x", "no expert 'x' in 'task'; its experts are define, treat, warn"),
        ("task", "no expert ''"),
        ("", "no group"),
        ("/", "no group"),
        ("task/define/", "no expert 'define/'"),
    ],
)
def test_unknown_names_are_answered_with_the_known(name, sentence):
    with pytest.raises(PlanError, match=sentence):
        LAYOUT.expert_index(name)


def test_weights_multiply_group_and_expert_shares():
    plan = random_plan(0)
    for e, group in enumerate(LAYOUT.group_of):
        assert torch.equal(
            plan.weights[:, e], plan.group_shares[:, group] * plan.expert_shares[:, e]
        )
    assert torch.allclose(plan.weights.sum(1), torch.ones(LAYERS), atol=1e-6)
    for g, group in enumerate(LAYOUT.group_names):
        assert torch.allclose(
            plan.weights[:, LAYOUT.members(group)].sum(1), plan.group_shares[:, g], atol=1e-6
        )


def test_strength_multiplies_layer_by_layer():
    plan, strength = random_plan(0), torch.linspace(0, 2, LAYERS)
    stronger = RoutingPlan(LAYOUT, plan.group_shares, plan.expert_shares, strength)
    assert torch.equal(stronger.mixing, plan.weights * strength[:, None]) and torch.equal(
        plan.mixing, plan.weights
    )


def test_uniform_is_equal_inside_and_across_groups():
    plan = RoutingPlan.uniform(LAYOUT)
    assert torch.allclose(plan.group_shares, torch.full((5, 3), 1 / 3))
    assert torch.allclose(
        plan.expert_shares[2], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2])
    )


def test_choosing():
    plan = RoutingPlan.choosing(LAYOUT, {"task": "warn"}, {"task": 0.25, "reader": 0.75})
    assert torch.allclose(plan.weights, torch.tensor([0, 0, 0.25, 0, 0.375, 0.375]).expand(5, 6))
    assert torch.allclose(
        RoutingPlan.choosing(LAYOUT, {"task": "warn"}).group_shares, torch.tensor(1 / 3)
    )
    assert (
        not RoutingPlan.off(LAYOUT).weights.any() and not RoutingPlan.off(LAYOUT).group_shares.any()
    )
    with pytest.raises(PlanError, match="There is no group 'tusk'"):
        RoutingPlan.choosing(LAYOUT, {}, {"tusk": 1.0})
    with pytest.raises(PlanError, match="at most 100%"):
        RoutingPlan.choosing(LAYOUT, {}, {"task": 0.7, "field": 0.4})


def test_mean_is_the_mean_of_shares():
    a, b, c = (random_plan(i) for i in range(3))
    mean = RoutingPlan.mean([a, b, c])
    assert torch.allclose(
        mean.group_shares, (a.group_shares + b.group_shares + c.group_shares) / 3, atol=1e-7
    )
    assert torch.allclose(
        mean.expert_shares, (a.expert_shares + b.expert_shares + c.expert_shares) / 3, atol=1e-7
    )
    assert torch.allclose(mean.weights.sum(1), torch.ones(5), atol=0.5) and mean.close_to(
        RoutingPlan.mean([c, a, b])
    )
    with pytest.raises(PlanError, match="at least one plan"):
        RoutingPlan.mean([])
    renamed = Layout.of(5, {"x": ("a", "b", "c"), "field": ("heart",), "reader": ("lay", "expert")})
    with pytest.raises(PlanError, match="one model; route"):
        RoutingPlan.mean([a, random_plan(1, renamed)])


def test_close_to():
    a = random_plan(0)
    shifted = RoutingPlan(LAYOUT, a.group_shares, a.expert_shares, torch.full((5,), 1 + 1e-3))
    assert a.close_to(random_plan(0)) and not a.close_to(random_plan(1))
    assert not a.close_to(shifted) and a.close_to(shifted, atol=1e-2)
    assert not RoutingPlan.uniform(Layout.of(1, {"a": "b"})).close_to(
        RoutingPlan.uniform(Layout.of(1, {"a": "c"}))
    )


def test_a_plan_is_a_value():
    """What it was made of may change afterwards; it does not."""
    groups, experts = random_plan(0).group_shares.clone(), random_plan(0).expert_shares.clone()
    plan = RoutingPlan(LAYOUT, groups, experts)
    groups.zero_(), experts.zero_()
    assert plan.close_to(random_plan(0), atol=0)
    with pytest.raises(AttributeError):
        plan.strength = torch.zeros(5)


def test_shares_are_float32_on_the_cpu_and_without_gradients():
    plan = random_plan(0)
    made = RoutingPlan(
        LAYOUT, plan.group_shares.double().requires_grad_(), plan.expert_shares.tolist()
    )
    assert made.close_to(plan, atol=0) and not made.group_shares.requires_grad
    assert made.group_shares.dtype is made.expert_shares.dtype is torch.float32


def test_json_gives_the_very_same_plan():
    for seed in range(20):
        plan = random_plan(seed)
        plan = RoutingPlan(LAYOUT, plan.group_shares, plan.expert_shares, torch.rand(5) * 2)
        assert RoutingPlan.from_dict(json.loads(json.dumps(plan.to_dict()))).close_to(plan, atol=0)
    off = RoutingPlan.off(LAYOUT)
    assert RoutingPlan.from_dict(off.to_dict()).close_to(off, atol=0)


WISHES = Layout.of(2, {"task": ("define", "treat", "warn"), "field": ("heart",), "for": ("a", "b")})


def wishes(likely, groups=(0.5, 0.25, 0.25)) -> RoutingPlan:
    """A plan of a planner that took each expert to be asked for so likely."""
    inside = [[0.25, 0.75, 0, 1, 0.5, 0.5]] * 2
    return RoutingPlan(WISHES, [groups] * 2, inside, likely=likely)


def test_a_planner_doubts_a_group_of_which_it_takes_nobody_to_be_asked_for():
    plan = wishes([0.3, 0.49, 0.1, 0.2, 0.1, 0.4])
    assert plan.doubts == {"task": ("treat", "define", "warn"), "for": ("b", "a")}
    # not where somebody is as likely as not, where the group takes no part, or has one expert
    assert wishes([0.3, 0.5, 0.1, 0.2, 0.9, 0.9]).doubts == {}
    absent = wishes([0.3, 0.49, 0.1, 0.2, 0.1, 0.4], (1, 0, 0))
    assert absent.doubts.keys() == {"task"}
    # nor where nothing is known, as of a plan by hand and one of before
    assert random_plan(0).likely is None and random_plan(0).doubts == {}
    assert "likely" not in random_plan(0).to_dict()
    assert RoutingPlan.mean([plan, plan]).likely is None


def test_likelihoods_are_written_and_change_nothing_that_a_plan_does():
    plan, without = wishes([0.3, 0.49, 0.1, 0.2, 0.1, 0.4]), wishes(None)
    again = RoutingPlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert torch.equal(again.likely, plan.likely) and again.doubts == plan.doubts
    assert plan.close_to(without, atol=0) and torch.equal(plan.mixing, without.mixing)


@pytest.mark.parametrize(
    "likely",
    [[0.5] * 5, [[0.5] * 6], [1.5] + [0.5] * 5, [-0.1] + [0.5] * 5, [float("nan")] * 6, "x"],
)
def test_likelihoods_that_are_none_are_refused(likely):
    with pytest.raises(PlanError, match="likely|between 0 and 1"):
        wishes(likely)
    with pytest.raises(PlanError):
        RoutingPlan.from_dict(wishes(None).to_dict() | {"likely": likely})


BAD = [float("nan"), float("inf"), -0.1, 1.2]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("part", ["group_shares", "expert_shares", "strength"])
def test_impossible_shares(part, bad):
    parts = {
        k: getattr(random_plan(0), k).clone() for k in ("group_shares", "expert_shares", "strength")
    }
    parts[part].view(-1)[4] = bad
    if (part, bad) == ("strength", 1.2):
        assert RoutingPlan(LAYOUT, **parts).strength[4] == torch.tensor(1.2)
        return
    with pytest.raises(PlanError, match="between 0 and 1|at most 100%"):
        RoutingPlan(LAYOUT, **parts)
    with pytest.raises(PlanError):
        RoutingPlan.from_dict(random_plan(0).to_dict() | {part: parts[part].tolist()})


@pytest.mark.parametrize(
    "groups",
    [
        torch.ones(5, 4) / 4,
        torch.ones(3, 5) / 5,
        torch.ones(3) / 3,
        torch.ones(1, 3) / 3,
        [],
        None,
        "shares",
        [["a"]],
        [[1.0], [1.0, 2.0]],
        [[10**400] * 3] * 5,
        object(),
    ],
)
def test_shares_of_another_shape_or_kind(groups):
    """A single row for all layers would broadcast: it must not."""
    with pytest.raises(PlanError, match=r"\(5, 3\)"):
        RoutingPlan(LAYOUT, groups, random_plan(0).expert_shares)


@pytest.mark.parametrize(
    "damage",
    [
        {"layers": 4},
        {"layers": "many"},
        {"layers": None},
        {"groups": []},
        {"groups": None},
        {"groups": {"a": 1}},
        {"groups": [{"name": "a"}]},
        {"groups": "abc"},
        {"group_shares": [[None]]},
        {"group_shares": "x"},
        {"expert_shares": [[1.0]]},
        {"expert_shares": [[1e999] * 6] * 5},
        {"strength": [1.0]},
        {"strength": "much"},
        {"group_shares": [[10**400] * 3] * 5},
    ],
)
def test_damaged_json(damage):
    with pytest.raises(PlanError):
        RoutingPlan.from_dict(random_plan(0).to_dict() | damage)


@pytest.mark.parametrize("data", [None, [], "plan", 7, {}, {"layers": 5}])
def test_what_is_no_plan(data):
    with pytest.raises(AtMoeError, match="not a routing plan .* use one saved by this program"):
        RoutingPlan.from_dict(data)
