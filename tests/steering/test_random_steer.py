"""A random steer is as large as the steering it stands beside; nothing else is the steering's."""

import pytest
import torch
from conftest import LAYERS, LAYOUT, random_plan

from atmoe import AtMoeError, Layout, Override, RoutingPlan, State, Steering
from atmoe.steering.random_steer import order, random_steer, size

FIXED = Override("task", State.FIXED, 0.9)
STEERINGS = {
    "a group": Steering((FIXED,)),
    "an expert, harder": Steering((Override("reader/lay", State.FIXED, 1.0),), 1.6),
    "all to one group": Steering((Override("field", State.FIXED, 1.0),)),
    "a drop": Steering((Override("reader", State.OFF),)),
    "a drop and a share": Steering(
        (Override("task/treat", State.OFF), Override("field", State.FIXED, 0.7)), 0.5
    ),
    "late layers": Steering((Override("task", State.FIXED, 0.0, "late"),)),
    "a band's drop": Steering((Override("task", State.OFF, None, "early"),)),
}


@pytest.mark.parametrize("name", STEERINGS)
@pytest.mark.parametrize("seed", range(12))
def test_it_has_the_size_the_total_and_the_strength_of_the_steering(name, seed):
    router = random_plan(seed + 30)
    steered = STEERINGS[name].apply(router)
    drawn = random_steer(router, steered, seed)
    assert torch.allclose(size(router, drawn), size(router, steered), rtol=0, atol=1e-6)
    assert torch.allclose(drawn.weights.sum(1), steered.weights.sum(1), rtol=0, atol=1e-6)
    assert torch.equal(drawn.strength, steered.strength) and size(router, steered).max() > 0.005
    untouched = size(router, steered) == 0
    assert torch.allclose(drawn.weights[untouched], router.weights[untouched], rtol=0, atol=1e-7)
    for group in LAYOUT.group_names:
        inside = drawn.expert_shares[:, LAYOUT.members(group)].sum(1)
        assert torch.allclose(inside, torch.ones(LAYERS), atol=1e-6)


def test_size_is_total_variation():
    plan, other = random_plan(1), random_plan(2)
    by_hand = torch.stack([(a - b).clamp(min=0).sum() for a, b in zip(plan.weights, other.weights)])
    assert (
        torch.allclose(size(plan, other).float(), by_hand, atol=1e-6) and not size(plan, plan).any()
    )


def test_the_seed_draws_the_direction_and_only_that():
    router = random_plan(5)
    steered = Steering((FIXED,)).apply(router)
    one, again = random_steer(router, steered, 3), random_steer(router, steered, 3)
    assert torch.equal(one.weights, again.weights)
    drawn = [random_steer(router, steered, seed) for seed in range(8)]
    assert len({tuple(plan.weights.flatten().tolist()) for plan in drawn}) > 3
    first = LAYOUT.expert_index(order(router, 3)[0])
    enough = size(router, steered) <= 1 - router.weights[:, first]
    assert (
        enough.any() and (one.weights[enough, first] > router.weights[enough, first]).all()
    )  # where it was drawn to go
    assert sorted(order(router, 3)) == sorted(LAYOUT.expert_names)


def test_a_size_that_the_drawn_expert_cannot_give_is_made_up_by_the_next():
    """The router gives almost all to the expert drawn first, and the steering takes it away."""
    layout = Layout.of(2, {"only": ("a", "b", "c")})
    for seed in range(6):
        plan = RoutingPlan.uniform(layout)
        favourite = order(plan, seed)[0]
        shares = torch.full((2, 3), 0.05)
        shares[:, layout.expert_index(favourite)] = 0.9
        router = RoutingPlan(layout, plan.group_shares, shares)
        steered = Steering((Override(favourite, State.FIXED, 0.0),)).apply(router)
        drawn = random_steer(router, steered, seed)
        assert torch.allclose(
            size(router, drawn), torch.full((2,), 0.9, dtype=torch.float64), atol=1e-6
        )


def test_no_size_is_the_routers_plan_and_what_moves_no_weight_is_refused():
    router = random_plan(7)
    assert random_steer(router, router, 1).close_to(router)
    with pytest.raises(AtMoeError, match="moves no weight between experts"):
        random_steer(router, Steering(strength=1.5).apply(router), 1)
    with pytest.raises(AtMoeError, match="moves no weight"):
        random_steer(
            router,
            Steering(tuple(Override(g, State.OFF) for g in LAYOUT.group_names)).apply(router),
            1,
        )
    with pytest.raises(AtMoeError, match="different models"):
        random_steer(router, random_plan(1, Layout.of(2, {"task": ("a",)})), 1)
