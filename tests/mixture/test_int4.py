"""int4: the file's own groups, found again, and read while tokens are decoded."""

import gc
from contextlib import closing

import numpy as np
import pytest
import torch
from conftest import ASSETS, PROMPTS, one_hot, random_plan
from gguf import GGMLQuantizationType, quants

from atmoe import AtMoe, AtMoeError, RoutingPlan
from atmoe.answer.decoder import decoder
from atmoe.answer.engine import engine_of
from atmoe.answer.fused import Picked
from atmoe.answer.prefill import prefill
from atmoe.mixture import precision
from atmoe.mixture.int4 import GROUP, Int4Linear, groups_of, packed, product, to_int4

ANSWER = "Asthma is treated with inhaled medicines."


def made_of_groups(out: int, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix as a 4-bit file has it, and its whole numbers."""
    random = torch.Generator().manual_seed(0)
    q = torch.randint(0, 16, (out, groups, GROUP), generator=random)
    q[..., 0], q[..., 1] = 0, 15  # as whoever writes such a file chooses s and m
    s = torch.rand(out, groups, 1, generator=random) * 0.02
    m = -s * (6 + 4 * torch.rand(out, groups, 1, generator=random))
    return (s * q + m).view(out, -1), q.view(out, -1)


@pytest.fixture(scope="module")
def four() -> AtMoe:
    """The shipped model, its linears in 4-bit groups; on any processor."""
    model = AtMoe.from_pretrained(ASSETS, dtype="bfloat16")
    to_int4(model.base)
    return model


@pytest.fixture(scope="module")
def two() -> AtMoe:
    """The same in bfloat16."""
    return AtMoe.from_pretrained(ASSETS, dtype="bfloat16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_are_found_again(dtype):
    weight, q = made_of_groups(48, 3)
    found, s, m = groups_of(weight.to(dtype))
    assert torch.equal(found, q.float())
    again = s.repeat_interleave(GROUP, 1) * found + m.repeat_interleave(GROUP, 1)
    worst = 1e-6 if dtype is torch.float32 else 2**-8
    assert ((again - weight).norm() / weight.norm()) < worst


def test_what_is_made_of_none_is_known():
    random = torch.randn(48, 96)
    assert groups_of(random) is None and groups_of(random[:, :80]) is None
    weight, _ = made_of_groups(48, 3)
    weight[0, 0] = torch.nan
    assert groups_of(weight) is None
    assert groups_of(torch.zeros(16, 32))[0].eq(0).all()


def test_the_groups_are_those_of_the_file():
    """The bytes of a 4-bit file, as the format's own library writes and reads them."""
    weight = np.random.default_rng(0).normal(size=(48, 96)).astype(np.float32)
    raw = quants.quantize(weight, GGMLQuantizationType.Q4_1)
    blocks = raw.reshape(48, 3, 20)
    s, m = (blocks[..., at : at + 2].copy().view(np.float16)[..., 0] for at in (0, 2))
    q = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], -1).reshape(48, 96)
    read = torch.from_numpy(quants.dequantize(raw, GGMLQuantizationType.Q4_1))
    for dtype, within in ((torch.float32, 1e-5), (torch.bfloat16, 2**-8)):
        found, found_s, found_m = groups_of(read.to(dtype))
        assert np.array_equal(found.numpy(), q)
        np.testing.assert_allclose(found_s.numpy(), s, rtol=2 * within)
        np.testing.assert_allclose(found_m.numpy(), m, rtol=2 * within)
    # of more bits there are no such groups
    raw = quants.quantize(weight, GGMLQuantizationType.Q8_0)
    assert groups_of(torch.from_numpy(quants.dequantize(raw, GGMLQuantizationType.Q8_0))) is None


@pytest.mark.parametrize("rows", [1, 3, 8, 17])
def test_the_kernel_multiplies_by_the_groups(rows):
    weight, _ = made_of_groups(64, 6)
    x = torch.randn(rows, weight.shape[1]).bfloat16()
    got = product(x, packed(weight.bfloat16())).double()
    want = x.double() @ weight.double().T
    assert ((got - want).norm() / want.norm()) < 2**-7


def test_all_linears_of_the_shipped_base_are_and_nothing_else_changes(four, two):
    linears = [m for m in four.base.modules() if isinstance(m, Int4Linear)]
    assert len(linears) == 7 * four.layout.layers and four.precision == "int4"
    assert type(four.base.get_output_embeddings()) is torch.nn.Linear
    # what reads and scores is bfloat16 itself
    plan = random_plan(3, four.layout)
    for prompt in PROMPTS[:2]:
        assert torch.equal(four.route(prompt).mixing, two.route(prompt).mixing)
        assert torch.equal(four.score(prompt, ANSWER, [plan]), two.score(prompt, ANSWER, [plan]))


@pytest.mark.parametrize("rows", [1, 4])
def test_steps_are_as_near_to_float32_as_bfloat16s(four, two, medical, rows):
    """On average over four plans and forty tokens: of a few, one's distance is half chance."""
    layout = medical.layout
    names = layout.expert_names
    plans = [random_plan(3, layout), one_hot(names[0], layout), RoutingPlan.off(layout)]
    plans.append(one_hot(names[-1], layout))
    forced = medical.encode_answer(
        f"{ANSWER} Your doctor may ask you to keep a diary of attacks. In some people it gets "
        "better with age. Do not smoke, and stay away from what brings an attack on."
    )

    def steps(model, first):
        asked, under = PROMPTS[first : first + rows], plans[first : first + rows]
        _, _, cache, batch = prefill(model, [model.encode(prompt) for prompt in asked], under)
        weights = model.weights_of(under, rows)
        with closing(decoder(model, batch, cache, weights, len(forced))) as decode:
            assert not decode.name.endswith("folded") or model is not four
            return torch.stack([decode([token] * rows).float() for token in forced])

    apart = {"int4": 0.0, "bfloat16": 0.0}
    for first in range(0, len(plans), rows):
        exact = steps(medical, first)
        for name, model in (("int4", four), ("bfloat16", two)):
            apart[name] += float((steps(model, first) - exact).norm() / exact.norm())
    assert apart["int4"] < 1.25 * apart["bfloat16"] < 0.04 * len(plans) / rows


def test_only_experts_with_a_share_are_read(four, monkeypatch):
    engine, layout = engine_of(four), four.layout
    ranks, call = [], Picked.__call__
    monkeypatch.setattr(
        Picked, "__call__", lambda self, x: ranks.append(len(self.A)) or call(self, x)
    )
    everybody = [len(fused.A) for fused in engine.fused]
    alone = [n // len(layout.expert_names) for n in everybody]
    for plan, want in (
        (one_hot(layout.expert_names[0], layout), alone),
        (random_plan(3, layout), everybody),
    ):
        ranks.clear()
        four.generate([PROMPTS[0]], [plan]).run()
        assert ranks[: len(want)] == want
    ranks.clear()
    four.generate([PROMPTS[0]], [RoutingPlan.off(layout)]).run()
    assert not ranks


def test_experts_are_picked_once_a_plan_and_are_gone_with_the_last_who_decodes_under_it(four):
    engine, layout = engine_of(four), four.layout
    copy, held = engine.copy, engine.copy._picked
    plans = [random_plan(3, layout), random_plan(4, layout)]
    weights = four.weights_of(plans, 2)
    gc.collect()
    assert not held
    both = copy.lease(weights, fold=False, steps=True)
    one = copy.lease(weights[:1], fold=False, steps=True)
    assert len(held) == 2
    for two_rows, alone in zip(both.products, one.products):
        assert two_rows.picked[0] is alone.picked[0]
        fused = two_rows.fused
        x = torch.randn(2, fused.W.shape[1], generator=torch.Generator().manual_seed(0))
        # B (s · A x) of all experts
        scale = fused.scale_of((weights * four.bank.scaling)[:, fused.layer]).float()
        want = (x @ fused.A.float().T * scale) @ fused.behind().float().T
        for row in range(2):
            got = two_rows.picked[row](x[row])
            assert (got - want[row]).norm() < 0.01 * want[row].norm()
    both.close()
    gc.collect()
    assert len(held) == 1
    one.close()
    del two_rows, alone
    gc.collect()
    assert not held


def test_it_is_refused_where_bfloat16_is_not_quick(monkeypatch):
    with pytest.raises(AtMoeError, match="int4 is for the CPU; on cuda choose"):
        precision.chosen("int4", "cuda")
    monkeypatch.setattr(precision, "best", lambda device="cpu": "float32")
    with pytest.raises(AtMoeError, match="int4 needs a processor that multiplies bfloat16"):
        precision.chosen("int4")


def test_a_base_in_no_groups_is_in_bfloat16_and_says_so(llama, own_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "best", lambda device="cpu": "bfloat16")
    llama.model.save_pretrained(tmp_path)
    assert AtMoe.from_pretrained(tmp_path, llama.directory, "int4").precision == "bfloat16"
