"""A prefill that begins where its plan parts from the router's is the whole one, bit for bit."""

import pytest
import torch
from conftest import LAYERS, PROMPTS, random_plan
from decoding import last_of

from atmoe import Override, RoutingPlan, Sampling, State, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.decoder import Plain
from atmoe.answer.kept import Kept
from atmoe.answer.leases import Product
from atmoe.answer.prefill import _Reading, prefill

LATE = Steering((Override("task", State.OFF, scope="3-4"),))
EARLY = Steering(
    (
        Override("reader/lay", State.FIXED, 0.9, scope="1"),
        Override("task", State.FIXED, 0.2, scope="late"),
    )
)


def same(model, prompt, plan, kept):
    """Whether logits, keys and values are equal, and how many layers were not computed."""
    encoded = [model.encode(prompt)]
    plans = None if plan is None else [plan]
    want, want_plans, want_cache, want_batch = prefill(model, encoded, plans)
    got, got_plans, got_cache, got_batch = prefill(model, encoded, plans, kept=kept)
    assert torch.equal(got, want) and torch.equal(got_plans[0].mixing, want_plans[0].mixing)
    assert (
        torch.equal(got_batch.positions, want_batch.positions)
        and got_cache.get_seq_length() == want_cache.get_seq_length()
    )
    for a, b in zip(got_cache.layers, want_cache.layers, strict=True):
        assert torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values)
    return kept.reused


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])  # bfloat16 prompts are padded
def test_every_first_changed_layer(world, dtype):
    model, kept = world.build(), Kept()
    model.base.to(dtype)
    plan = model.route(PROMPTS[1], kept)
    assert kept.bytes > 0
    assert same(model, PROMPTS[1], LATE.apply(plan), kept) == 3
    assert same(model, PROMPTS[1], EARLY.apply(plan), kept) == 1
    assert same(model, PROMPTS[1], random_plan(3), kept) == 0
    assert same(model, PROMPTS[1], RoutingPlan.off(model.layout), kept) == 0
    assert same(model, PROMPTS[1], plan, kept) == same(model, PROMPTS[1], None, kept) == LAYERS


def test_layers_kept_are_not_computed(model, monkeypatch):
    kept, ran, call = Kept(), [], Product.__call__
    plan = model.route(PROMPTS[0], kept)
    monkeypatch.setattr(
        Product, "__call__", lambda self, x: ran.append(self.fused.layer) or call(self, x)
    )
    prefill(model, [model.encode(PROMPTS[0])], [LATE.apply(plan)], kept=kept)
    assert set(ran) == {3, 4}


@pytest.mark.parametrize("plain", [False, True])
def test_decoding_takes_nothing_from_what_is_kept(world, plain, monkeypatch):
    if plain:
        monkeypatch.setattr(
            "atmoe.answer.generation.decoder",
            lambda model, batch, cache, weights, tokens: Plain(model, batch, cache, weights),
        )
    model, kept, sampling = world.model, Kept(), Sampling(20)
    router = model.generate(PROMPTS[1:2], None, sampling, kept)
    want, steered = last_of(router), LATE.apply(router.plans[0])
    for _ in range(2):
        assert last_of(model.generate(PROMPTS[1:2], [steered], sampling, kept)) == last_of(
            model.generate(PROMPTS[1:2], [steered], sampling)
        )
        assert (
            last_of(model.generate(PROMPTS[1:2], None, sampling, kept)) == want
            and kept.reused == LAYERS
        )


def test_only_of_this_prompt_and_model_and_one_row(llama, model):
    kept, other = Kept(), llama.build(torch.full((LAYERS,), 0.3))
    plan = model.route(PROMPTS[0], kept)
    assert same(model, PROMPTS[1], LATE.apply(plan), kept) == 0
    assert same(other, PROMPTS[0], LATE.apply(plan), kept) == 0
    assert (
        same(model, PROMPTS[0], LATE.apply(plan), kept) == 3
    )  # a steered prefill replaces nothing
    rows = [model.encode(p) for p in PROMPTS[:2]]
    want = prefill(model, rows, [plan, plan])[0]
    assert torch.equal(prefill(model, rows, [plan, plan], kept=kept)[0], want) and kept.reused == 0
    model.route(PROMPTS[1], kept)
    assert (
        same(model, PROMPTS[1], LATE.apply(plan), kept) == 0
    )  # that prompt's own router plan is another
    assert same(model, PROMPTS[1], LATE.apply(model.route(PROMPTS[1])), kept) == 3


def test_nothing_is_kept_beyond_the_bound(model):
    big = Kept()
    plan = model.route(PROMPTS[3], big)
    small = Kept(limit=big.bytes - 1)
    assert same(model, PROMPTS[3], None, small) == 0 and small.bytes == 0
    assert same(model, PROMPTS[3], LATE.apply(plan), small) == 0
    assert same(model, PROMPTS[3], LATE.apply(plan), Kept()) == 0


def test_an_answer_is_routed_once(model, monkeypatch):
    """The plan steered and the one recorded come from one reading.

    The steered prefill begins where it parts from it.
    """
    routed = []

    def watched(mixture, prompts, plans, *a, **k):
        routed.append(plans is None)
        return prefill(mixture, prompts, plans, *a, **k)

    for caller in ("atmoe.model", "atmoe.answer.generation"):
        monkeypatch.setattr(f"{caller}.prefill", watched)
    record = model.answer(PROMPTS[2], LATE, Sampling(3))
    assert routed == [True, False]
    assert torch.equal(record.plan.mixing[:3], record.router_plan.mixing[:3])


def test_layers_read_so_far_are_the_first_of_the_routers_plan(model, monkeypatch):
    kept, plans = Kept(), []
    enter = _Reading.enter

    def watched(reading, index, x):
        plans.append(kept.so_far(model.layout))
        enter(reading, index, x)

    monkeypatch.setattr(_Reading, "enter", watched)
    whole = model.route(PROMPTS[3], kept)
    assert plans[0] is None and kept.so_far(model.layout).close_to(whole)
    for layers, part in enumerate(plans[1:], 1):
        assert part.layout.layers == layers and part.layout.groups == model.layout.groups
        assert torch.equal(part.group_shares, whole.group_shares[:layers])
        assert torch.equal(part.expert_shares, whole.expert_shares[:layers])
    assert len(plans) == LAYERS
    model.route(PROMPTS[1], kept)  # another prompt begins anew
    assert plans[LAYERS] is None


def test_all_that_is_kept_has_one_limit_and_the_longest_unused_goes_first(model):
    batch, kepts = Batching(model), [Kept() for _ in range(3)]
    for kept in kepts[:2]:
        batch.route(PROMPTS[0], kept)
    one = kepts[0].bytes
    assert one > 0 and batch.shelf.bytes == 2 * one
    batch.shelf.limit = 2 * one
    # used again: now the second is the longest unused
    batch.prefill(model.encode(PROMPTS[0]), LATE.apply(batch.route(PROMPTS[0])), kepts[0])
    assert kepts[0].reused == 3
    batch.route(PROMPTS[0], kepts[2])
    assert [kept.bytes for kept in kepts] == [one, 0, one] and batch.shelf.bytes == 2 * one
    # it is read again, and is the same
    plan = batch.route(PROMPTS[0])
    assert same(model, PROMPTS[0], LATE.apply(plan), kepts[1]) == 0
    # with whoever asked it is gone
    del kept, kepts
    assert batch.shelf.bytes == 0
    batch.close()
