"""int8: the nearest whole numbers, and nothing lost of a folded plan.

One set of them is behind prefill, scoring and decoding.
"""

from contextlib import closing

import pytest
import torch
from conftest import LAYOUT, PROMPTS, logits_of, one_hot, random_plan
from decoding import CLOSE, both, last_of

from atmoe import AtMoe, RoutingPlan, Sampling
from atmoe.answer.decoder import decoder
from atmoe.answer.engine import engine_of
from atmoe.answer.prefill import prefill
from atmoe.mixture.int8 import FEW, Int8Linear, product, quantised, to_int8

PLANS = [random_plan(0), one_hot("reader/expert"), random_plan(1), random_plan(2)]


def small(world, dtype=torch.float32) -> AtMoe:
    """The tiny model in int8, its activations in `dtype`."""
    model = world.build()
    model.base.to(dtype)
    to_int8(model.base)
    return model


def grid(world) -> AtMoe:
    """The same numbers as floats: s · Q in plain linears."""
    model = world.build()
    for module in model.base.modules():
        if type(module) is torch.nn.Linear:
            weight, scale = quantised(module.weight.detach())
            module.weight = torch.nn.Parameter(
                weight * scale[:, None], requires_grad=False
            )  # a head of its own, were it shared
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_weight_is_within_half_a_step(dtype):
    weight = (torch.randn(7, 300) * torch.logspace(-3, 3, 7)[:, None]).to(dtype)
    weight[2] = 0
    q, scale = quantised(weight)
    assert q.dtype is torch.int8 and scale.dtype is dtype
    assert (
        (q * scale.float()[:, None] - weight.float()).abs() <= 0.501 * scale.float()[:, None]
    ).all()
    for again, first in zip(quantised(weight, torch.full((3000,), 5.0)), (q, scale)):
        assert torch.equal(again, first)
    used = torch.arange(7) != 2
    assert (q[used].int().abs().amax(1) == 127).all() and not q[2].any()


@pytest.mark.parametrize("width", [64, 40])  # the kernel would read beyond rows of 40
@pytest.mark.parametrize("rows", [1, 3, FEW, FEW + 1])
def test_kernel_and_floating_product_are_the_same_numbers(rows, width):
    linear = torch.nn.Linear(width, 37).requires_grad_(False)
    low = Int8Linear(linear)
    x = torch.randn(rows, width)
    want = x @ (low.weight * low.scale[:, None]).T + linear.bias
    torch.testing.assert_close(low(x), want, **CLOSE)
    got = product(x.bfloat16(), low.weight, low.scale.bfloat16(), linear.bias.detach().bfloat16())
    assert got.dtype is torch.bfloat16 and (got - want).norm() / want.norm() < 0.01
    torch.testing.assert_close(low(x[:, None])[:, 0], want, **CLOSE)


def test_forward_and_decoding_read_the_same_weights(world):
    """float32, plans beside the weights: as transformers computes with s · Q in plain linears.

    And the engine too.
    """
    model, floats = small(world), grid(world)
    assert model.precision == "int8" and not torch.equal(
        logits_of(world.model, PROMPTS[0], PLANS[0]), logits_of(floats, PROMPTS[0], PLANS[0])
    )
    for prompt, plan in zip(PROMPTS, PLANS):
        torch.testing.assert_close(
            logits_of(model, prompt, plan), logits_of(floats, prompt, plan), **CLOSE
        )
    torch.testing.assert_close(
        model.score(PROMPTS[0], "With tablets.", PLANS),
        floats.score(PROMPTS[0], "With tablets.", PLANS),
        **CLOSE,
    )
    want, got, _, name = both(model, PROMPTS, PLANS, 16)
    assert name == "lean"
    torch.testing.assert_close(got, want, **CLOSE)


def test_a_folded_plan_is_rounded_once_and_all_of_it(llama):
    """Every folded weight is within half a step of s · Q + the plan's own.

    And the output is as near as those roundings sum to.
    """
    model = small(llama)
    copy, weights = engine_of(model).copy, model.weights_of(PLANS[:1], 1)
    with closing(copy.lease(weights)) as lease:
        assert lease.folded
        scaled = weights * model.bank.scaling
        for fused, at_work, made in zip(copy._fused, lease.products, copy._copied, strict=True):
            exact = fused.folded(scaled)
            assert made.W.dtype is torch.int8
            assert ((made.W * made.S[:, None] - exact).abs() <= 0.501 * made.S[:, None]).all()
            x = torch.randn(3, exact.shape[1])
            want = x @ exact.T + (0 if fused.bias is None else fused.bias)
            assert (
                (at_work(x) - want).abs() <= 0.501 * x.abs().sum(1)[:, None] * made.S + 1e-4
            ).all()


def test_all_off_is_the_base_itself_not_rounded_again(llama):
    model, floats = small(llama), grid(llama)
    off = [RoutingPlan.off(LAYOUT)]
    want, got, _, name = both(model, PROMPTS[:1], off, 12)
    assert name == "lean, folded" and engine_of(model).copy._copied == []
    torch.testing.assert_close(got, want, **CLOSE)
    assert last_of(model.generate(PROMPTS[:1], off, Sampling(12))) == last_of(
        floats.generate(PROMPTS[:1], off, Sampling(12))
    )


def test_in_bfloat16_every_form_is_as_near_as_bfloat16_is(world):
    """Three ways to decode.

    One row by the int8 kernel, folded; four rows of four plans by the packed copy; one row beside a
    copy that is taken.
    """
    model, exact = small(world, torch.bfloat16), grid(world)
    for prompts, plans, taken in (
        (PROMPTS[:1], PLANS[:1], False),
        (PROMPTS, PLANS, False),
        (PROMPTS[:1], PLANS[:1], True),
    ):
        want, _, chosen, _ = both(exact, prompts, plans, 6)
        other = engine_of(model).copy.lease(model.weights_of(PLANS[3:], 1)) if taken else None
        _, _, cache, batch = prefill(model, [model.encode(p) for p in prompts], plans)
        with closing(
            decoder(model, batch, cache, model.weights_of(plans, len(plans)), 6)
        ) as decode:
            assert decode.name == ("lean, folded" if len(plans) == 1 and not taken else "lean")
            got = torch.stack([decode(tokens.tolist()) for tokens in chosen.T], 1)
        if other:
            other.close()
        assert (got.float() - want).norm() / want.norm() < 0.06


def test_training_weights_are_left_alone(llama):
    """Only linears of the layers and the head, and no linear is missed.

    Norms, embeddings and experts keep their precision.
    """
    model = small(llama)
    assert not [
        name for name, module in model.base.named_modules() if type(module) is torch.nn.Linear
    ]
    floating = {name for name, p in model.base.named_parameters() if p.dtype is torch.float32}
    assert {name.rsplit(".", 1)[1] for name in floating} == {"weight", "scale", "A", "B"}
    assert torch.equal(
        model.base.get_input_embeddings().weight, llama.model.base.get_input_embeddings().weight
    )
    assert model.base_parameters == llama.base().num_parameters()
