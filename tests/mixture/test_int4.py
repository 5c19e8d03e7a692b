"""int4: the file's own groups, found again, and read while tokens are decoded."""

import gc
from contextlib import closing

import numpy as np
import pytest
import torch
from conftest import ASSETS, BFLOAT16, PROMPTS, one_hot, random_plan
from gguf import GGMLQuantizationType, quants

from atmoe import AtMoe, AtMoeError, RoutingPlan, Sampling
from atmoe.answer.decoder import decoder
from atmoe.answer.engine import engine_of
from atmoe.answer.fused import Picked
from atmoe.answer.head import REACH
from atmoe.answer.prefill import prefill
from atmoe.mixture import precision
from atmoe.mixture.int4 import (
    GROUP,
    ROWS,
    Int4Linear,
    groups_of,
    packed,
    product,
    rounded,
    to_int4,
)

FEW = Sampling(6)
ANSWER = "Asthma is treated with inhaled medicines."


def made_of_groups(out: int, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix as a 4-bit file has it, and its whole numbers."""
    random = torch.Generator().manual_seed(0)
    q = torch.randint(0, 16, (out, groups, GROUP), generator=random)
    q[..., 0], q[..., 1] = 0, 15  # as whoever writes such a file chooses s and m
    s = torch.rand(out, groups, 1, generator=random) * 0.02
    m = -s * (6 + 4 * torch.rand(out, groups, 1, generator=random))
    return (s * q + m).view(out, -1), q.view(out, -1)


@pytest.fixture(scope="module", params=[BFLOAT16, "float32"])
def four(request) -> AtMoe:
    """The shipped model, its linears in 4-bit groups, all else in either; on any processor."""
    model = AtMoe.from_pretrained(ASSETS, dtype=request.param)
    to_int4(model.base)
    return model


@pytest.fixture(scope="module")
def two() -> AtMoe:
    """The same in bfloat16."""
    return AtMoe.from_pretrained(ASSETS, dtype="bfloat16")


@pytest.fixture
def plain(four, two, medical) -> AtMoe:
    """The same as `four`, without groups."""
    return {"bfloat16": two, "float32": medical}[four.computed]


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


def test_a_matrix_of_more_bits_is_rounded_to_the_nearest_groups():
    random = torch.Generator().manual_seed(0)
    # no multiple of the rows that are rounded at once, and columns that count unlike
    weight = torch.randn(ROWS + 80, 2 * GROUP, generator=random).bfloat16()
    scales = torch.rand(2 * GROUP, generator=random) * 4 + 0.01
    x = torch.randn(50, 2 * GROUP, generator=random) * scales
    exact = x @ weight.float().T

    def off(groups):
        return float((product(x.bfloat16(), groups).float() - exact).norm() / exact.norm())

    # 1. the format's own way, whose numbers span every group from its least to its most
    raw = quants.quantize(weight.float().numpy(), GGMLQuantizationType.Q4_1)
    plain = torch.from_numpy(quants.dequantize(raw, GGMLQuantizationType.Q4_1))
    theirs = float((x @ plain.T - exact).norm() / exact.norm())
    assert off(rounded(weight, scales)) < 0.9 * theirs < 0.1
    assert off(rounded(weight, scales)) < off(rounded(weight, torch.ones_like(scales)))
    # 2. rounding by parts is rounding whole; what is made of groups stays itself
    whole = rounded(weight[:ROWS], scales), rounded(weight[ROWS:], scales)
    again = rounded(weight, scales)
    assert torch.equal(again.packed, torch.cat([part.packed for part in whole]))
    assert torch.equal(again.scales, torch.cat([part.scales for part in whole], 1))
    made, _ = made_of_groups(64, 2)
    assert torch.equal(rounded(made.bfloat16(), scales).packed, packed(made.bfloat16()).packed)


@pytest.mark.parametrize("rows", [1, 5])
def test_logits_within_reach_are_those_of_the_weights_and_the_best_is_the_same(four, plain, rows):
    head, weight = engine_of(four).logits, plain.base.get_output_embeddings().weight.float()
    norm = engine_of(four).norm
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        states = norm(3 * torch.randn(rows, weight.shape[1], generator=random))
        exact, got = states @ weight.T, head(states)
        near = exact > exact.max(1, keepdim=True).values - REACH / 2
        assert torch.equal(got.argmax(1), exact.argmax(1))
        assert (got - exact)[near].abs().max() < 1e-3  # a half is what 4 bits are off
        assert 0.1 < (got - exact)[~near].std() < 1
        # no row's depends on who is beside it
        for row in range(rows):
            assert torch.equal(head(states[row, None])[0], got[row])
        states[0, 0] = torch.nan
        assert head(states)[0].isnan().all()


def test_all_linears_of_the_shipped_base_are_and_nothing_else_changes(four, plain):
    linears = [m for m in four.base.modules() if isinstance(m, Int4Linear)]
    assert len(linears) == 7 * four.layout.layers and four.precision == "int4"
    assert type(four.base.get_output_embeddings()) is torch.nn.Linear
    # what reads and scores is the other itself
    plan = random_plan(3, four.layout)
    for prompt in PROMPTS[:2]:
        assert torch.equal(four.route(prompt).mixing, plain.route(prompt).mixing)
        assert torch.equal(four.score(prompt, ANSWER, [plan]), plain.score(prompt, ANSWER, [plan]))


@pytest.fixture(scope="module")
def known() -> dict[tuple[int, str], list[torch.Tensor]]:
    """Logits of steps by rows and precision, of what is no other with other groups."""
    return {}


@pytest.mark.parametrize("rows", [1, 4])
def test_steps_are_as_near_to_float32_as_bfloat16s(four, two, medical, known, rows):
    """On average over four plans and forty tokens: of a few, one's distance is half chance.

    Of the tokens that can be chosen, that is; the rest is off by what its probability bears.
    """
    layout = medical.layout
    names = layout.expert_names
    plans = [random_plan(3, layout), one_hot(names[0], layout), RoutingPlan.off(layout)]
    plans.append(one_hot(names[-1], layout))
    forced = medical.encode_answer(
        f"{ANSWER} Your doctor may ask you to keep a diary of attacks. In some people it gets "
        "better with age. Do not smoke, and stay away from what brings an attack on."
    )
    if precision.best() != "bfloat16":
        forced = forced[:12]  # or bfloat16's steps take minutes

    def steps(model, first):
        asked, under = PROMPTS[first : first + rows], plans[first : first + rows]
        _, _, cache, batch = prefill(model, [model.encode(prompt) for prompt in asked], under)
        weights = model.weights_of(under, rows)
        with closing(decoder(model, batch, cache, weights, len(forced))) as decode:
            assert not decode.name.endswith("folded") or model is not four
            return torch.stack([decode([token] * rows).float() for token in forced])

    apart, lost = {"int4": 0.0, "bfloat16": 0.0}, {"int4": 0.0, "bfloat16": 0.0}
    groups = range(0, len(plans), rows)
    for model in (medical, two):
        if (rows, model.precision) not in known:
            known[rows, model.precision] = [steps(model, first) for first in groups]
    gots = {"int4": [steps(four, first) for first in groups], "bfloat16": known[rows, "bfloat16"]}
    for at, exact in enumerate(known[rows, "float32"]):
        near = exact > exact.max(-1, keepdim=True).values - REACH / 2
        for name in apart:
            got = gots[name][at]
            apart[name] += float((got - exact)[near].norm() / exact[near].norm()) / len(groups)
            logp, want = got.log_softmax(-1), exact.log_softmax(-1)
            lost[name] += float((want.exp() * (want - logp)).sum(-1).mean()) / len(groups)
    assert apart["int4"] < 1.1 * apart["bfloat16"] < 0.03
    assert lost["int4"] < lost["bfloat16"] + 0.003  # nats: Kullback-Leibler


def test_only_experts_with_a_share_are_read(four, monkeypatch):
    engine, layout = engine_of(four), four.layout
    ranks, call = [], Picked.__call__
    monkeypatch.setattr(
        Picked, "__call__", lambda self, x, y: ranks.append(len(self.A)) or call(self, x, y)
    )
    everybody = [len(fused.A) for fused in engine.fused]
    alone = [n // len(layout.expert_names) for n in everybody]
    for plan, want in (
        (one_hot(layout.expert_names[0], layout), alone),
        (random_plan(3, layout), everybody),
    ):
        ranks.clear()
        four.generate([PROMPTS[0]], [plan], FEW).run()
        assert ranks[: len(want)] == want
    ranks.clear()
    four.generate([PROMPTS[0]], [RoutingPlan.off(layout)], FEW).run()
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
            beside = torch.randn(1, len(fused.W))
            got = two_rows.picked[row](x[row, None], beside) - beside
            assert (got[0] - want[row]).norm() < 0.01 * want[row].norm()
    both.close()
    gc.collect()
    assert len(held) == 1
    one.close()
    del two_rows, alone
    gc.collect()
    assert not held


def test_it_is_refused_where_the_kernel_is_slow(monkeypatch):
    with pytest.raises(AtMoeError, match="int4 is for the CPU; on cuda choose"):
        precision.chosen("int4", "cuda")
    monkeypatch.setattr(precision, "_features", set)
    with pytest.raises(AtMoeError, match="int4 needs a processor with AVX2, or one that"):
        precision.chosen("int4")


@pytest.mark.parametrize(("told", "computed"), [("avx2", "float32"), ("amx_bf16", "bfloat16")])
def test_a_base_in_no_groups_is_in_the_quicker_precision_and_says_so(
    told, computed, llama, own_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(precision, "_features", lambda: {told})
    llama.model.save_pretrained(tmp_path)
    assert AtMoe.from_pretrained(tmp_path, llama.directory, "int4").precision == computed
