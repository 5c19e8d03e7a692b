"""A prompt read by the engine is the prompt read by transformers."""

from contextlib import closing

import pytest
import torch
from conftest import LAYERS, PROMPTS, random_plan
from decoding import CLOSE, last_of, read_by_transformers

from atmoe import RoutingPlan, Sampling
from atmoe.answer.batching import Batching
from atmoe.answer.engine import Engine
from atmoe.answer.kept import Kept
from atmoe.answer.prefill import prefill
from atmoe.mixture.experts import ExpertLinear

PLANS = [None, random_plan(0), RoutingPlan.off(random_plan(0).layout)]


@pytest.mark.parametrize("plan", range(3), ids=["routed", "planned", "off"])
@pytest.mark.parametrize("prompt", range(4))  # the longest is longer than the windows of Gemma
def test_logits_plan_and_cache_are_those_of_transformers(world, prompt, plan):
    encoded, plans = [world.model.encode(PROMPTS[prompt])], None if plan == 0 else [PLANS[plan]]
    want, want_plans, want_cache, want_batch = read_by_transformers(world.model, encoded, plans)
    got, got_plans, got_cache, got_batch = prefill(world.model, encoded, plans)
    torch.testing.assert_close(got, want, **CLOSE)
    torch.testing.assert_close(got_plans[0].mixing, want_plans[0].mixing, **CLOSE)
    assert torch.equal(got_batch.ids, want_batch.ids) and torch.equal(
        got_batch.positions, want_batch.positions
    )
    for a, b in zip(got_cache.layers, want_cache.layers, strict=True):
        torch.testing.assert_close(a.keys, b.keys, **CLOSE)
        torch.testing.assert_close(a.values, b.values, **CLOSE)


def test_transformers_has_no_part_in_it(model, monkeypatch):
    monkeypatch.setattr(ExpertLinear, "forward", None)
    assert len(model.route(PROMPTS[0]).group_shares) == LAYERS


def test_padding_stands_behind_and_changes_nothing(world, monkeypatch):
    """float32 has none of its own, so it is given some."""
    encoded, collate = [world.model.encode(PROMPTS[1])], type(world.model).collate
    want, [plan], cache, _ = prefill(world.model, encoded, None)

    def padded(self, prompts, tails=None, side="left"):
        batch, filler = collate(self, prompts, [[7] * 5], side), len(prompts[0].ids)
        batch.attention[:, filler:] = 0
        return batch

    monkeypatch.setattr(type(world.model), "collate", padded)
    got, [again], longer, batch = prefill(world.model, encoded, None)
    torch.testing.assert_close(got, want, **CLOSE)
    torch.testing.assert_close(again.mixing, plan.mixing, **CLOSE)
    assert (
        longer.get_seq_length()
        == cache.get_seq_length()
        == batch.ids.shape[1]
        == len(encoded[0].ids)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_batch_reads_through_its_copy_what_it_decodes_with(world, dtype):
    model = world.build()
    model.base.to(dtype)
    plan, encoded = random_plan(2), model.encode(PROMPTS[2])
    with closing(Batching(model)) as batch:
        got, _, _, _ = batch.prefill(encoded, plan, None)
        want = prefill(model, [encoded], [plan])[0]
        bound = 1e-5 if dtype is torch.float32 else 0.03
        assert (got - want).norm() <= bound * want.norm()
        kept = Kept()
        router = batch.route(PROMPTS[2], kept)
        first = torch.equal(
            batch.prefill(encoded, router, kept)[0], batch.prefill(encoded, None, None)[0]
        )
        assert first and kept.reused == LAYERS
        prefill(
            model, [encoded], [router], kept=kept
        )  # not through that copy, so it rounds otherwise
        assert kept.reused == 0


def test_a_base_that_the_engine_does_not_know_is_read_by_transformers(model, monkeypatch):
    want, [plan], _, _ = read_by_transformers(model, [model.encode(PROMPTS[0])])
    monkeypatch.setattr(Engine, "knows", lambda model: False)
    kept = Kept()
    generation = model.generate(PROMPTS[:1], None, Sampling(1), kept)
    assert torch.equal(generation.plans[0].mixing, plan.mixing) and kept.bytes == kept.reused == 0
    assert last_of(generation).tokens[0] == (int(want.argmax()),)
