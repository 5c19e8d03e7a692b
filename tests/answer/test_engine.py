"""The engine: what transformers computes, token for token, whoever else is decoding.

Nothing is left on the model.
"""

from contextlib import closing
from itertools import zip_longest

import pytest
import torch
from conftest import LAYOUT, PROMPTS, one_hot, random_plan
from decoding import CLOSE, both, last_of

from atmoe import RoutingPlan, Sampling
from atmoe.answer.decoder import Plain, decoder
from atmoe.answer.engine import Engine, engine_of
from atmoe.answer.fused import Fused
from atmoe.answer.layers import LINEARS
from atmoe.answer.packing import can_pack
from atmoe.answer.prefill import prefill
from atmoe.mixture.experts import Mixing, decoder_layers, mixed_by

PLANS = [random_plan(0), RoutingPlan.off(LAYOUT), one_hot("reader/expert"), random_plan(1)]


# -- equal to transformers ------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(4))
def test_one_plan_folded_in_is_transformers_for_64_tokens(world, row):
    want, got, _, name = both(world.model, [PROMPTS[row]], [PLANS[row]], 64)
    assert name == "lean, folded"
    torch.testing.assert_close(got, want, **CLOSE)
    assert torch.equal(got.argmax(-1), want.argmax(-1))


def test_four_plans_beside_one_another_are_transformers_for_64_tokens(world):
    """Prompts of four lengths: three rows are padded on the left."""
    want, got, _, name = both(world.model, PROMPTS, PLANS, 64)
    assert name == "lean"
    torch.testing.assert_close(got, want, **CLOSE)
    assert torch.equal(got.argmax(-1), want.argmax(-1))


def test_rows_of_one_plan_share_the_fold_and_are_each_alone(world):
    want, got, chosen, name = both(world.model, PROMPTS, PLANS[:1] * 4, 20)
    assert name == "lean, folded"
    torch.testing.assert_close(got, want, **CLOSE)
    for row in range(4):
        alone, _, tokens, _ = both(world.model, PROMPTS[row : row + 1], PLANS[:1], 20)
        assert torch.equal(tokens[0], chosen[row])
        torch.testing.assert_close(got[row], alone[0], **CLOSE)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(30),
        Sampling(30, temperature=0.9, top_p=0.9, seed=11),
        Sampling(30, repetition_penalty=1.3),
    ],
    ids=["greedy", "sampled", "penalised"],
)
def test_answers_are_those_of_the_plain_path(world, sampling, monkeypatch):
    lean = world.model.generate(PROMPTS, PLANS, sampling)
    answer = last_of(lean)
    monkeypatch.setattr(Engine, "knows", lambda model: False)
    plain = world.model.generate(PROMPTS, PLANS, sampling)
    assert last_of(plain) == answer and (lean.engine, plain.engine) == ("lean", "plain")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_lease_computes_the_equation(world, dtype):
    """Folded, beside its own copy, beside one taken by others, against the model's linears.

    Every product of every layer.
    """
    exact, model = world.model, world.build()
    model.base.to(dtype)
    copy, layers = engine_of(model).copy, decoder_layers(exact.base)[0]
    folded, other, mixed = (
        model.weights_of(plans, len(plans)) for plans in (PLANS[:1], PLANS[3:], PLANS)
    )
    free = not can_pack(engine_of(model).fused[0].W)  # then the clean weights serve without a copy
    for order, forms in (
        ([folded, other, mixed, folded], [True, False, False, True]),
        ([mixed, other, mixed], [False, free, False]),
        ([0 * mixed, other], [True, free]),
    ):
        leases = [copy.lease(weights) for weights in order]
        assert [lease.folded for lease in leases] == forms
        for lease, weights in zip(leases, order):
            for i, product in enumerate(lease.products):
                part, names = LINEARS[i % 4]
                linears = [getattr(getattr(layers[i // 4], part), name) for name in names]
                x = torch.randn(
                    len(weights), linears[0].A.shape[1], generator=torch.Generator().manual_seed(i)
                ).to(dtype)
                with torch.inference_mode(), mixed_by(Mixing(exact.bank, weights)):
                    want = torch.cat([linear(x.float()[:, None])[:, 0] for linear in linears], 1)
                    assert (product(x) - want).norm() / want.norm() < (
                        1e-6 if dtype is torch.float32 else 1e-2
                    )
        for lease in leases:
            lease.close()
            lease.close()  # as good as once


def test_all_off_is_the_base_model(world):
    base, model = world.base(), world.model
    for plans in ([RoutingPlan.off(LAYOUT)], [RoutingPlan.off(LAYOUT)] * 2):
        generation = model.generate(PROMPTS[: len(plans)], plans, Sampling(12))
        answers = last_of(generation).tokens
        for prompt, answer in zip(PROMPTS, answers):
            ids = torch.tensor([model.encode(prompt).ids])
            want = base.generate(input_ids=ids, do_sample=False, max_new_tokens=12, pad_token_id=0)[
                0, ids.shape[1] :
            ].tolist()
            assert [t for t in want if t != base.generation_config.eos_token_id] == list(answer)
        assert generation.engine == "lean, folded"


def test_bfloat16_is_no_further_from_float32_than_transformers_is(world):
    exact = both(world.model, PROMPTS[1:2], PLANS[3:], 24)
    rounded = world.build()
    rounded.base.to(torch.bfloat16)
    off = {}
    for how, prompts, plans in (
        ("folded", PROMPTS[1:2], PLANS[3:]),
        ("beside", [PROMPTS[1]] * 2, PLANS[2:]),
    ):
        encoded = [rounded.encode(p) for p in prompts]
        for kind in ("lean", "plain"):
            weights = rounded.weights_of(plans, len(prompts))
            _, _, cache, batch = prefill(rounded, encoded, plans)
            decode = (
                decoder(rounded, batch, cache, weights, 24)
                if kind == "lean"
                else Plain(rounded, batch, cache, weights)
            )
            with closing(decode):
                steps = [decode([int(token)] * len(prompts))[-1] for token in exact[2][0]]
            off[how, kind] = float(
                (torch.stack(steps).float() - exact[0][0]).norm() / exact[0].norm()
            )
        assert off[how, "lean"] < 1.25 * off[how, "plain"] < 0.1, off


# -- whoever else is decoding ---------------------------------------------------------------------


def test_who_finds_the_copy_taken_answers_the_same(world):
    model, sampling = world.model, Sampling(12)
    alone = [last_of(model.generate([p], [plan], sampling)) for p, plan in zip(PROMPTS, PLANS)]
    generations = [model.generate([p], [plan], sampling) for p, plan in zip(PROMPTS, PLANS)]
    turns = zip_longest(*generations)  # a token each, in turn
    together = [[step for step in steps if step][-1] for steps in zip(*turns)]
    assert together == alone
    assert generations[0].engine == "lean, folded" and generations[3].engine == "lean"


def test_one_plan_is_folded_once_for_all_who_ask_for_it(model, monkeypatch):
    copy, folds, fold = engine_of(model).copy, [], Fused.folded
    monkeypatch.setattr(Fused, "folded", lambda self, plan: folds.append(self) or fold(self, plan))
    one, two = (model.weights_of([plan], 1) for plan in (random_plan(5), random_plan(6)))
    first, second, other = copy.lease(one), copy.lease(one), copy.lease(two)
    assert (first.folded, second.folded, other.folded, len(folds)) == (
        True,
        True,
        False,
        len(copy._fused),
    )
    first.close()
    assert not copy.lease(two).folded  # the second still computes with it
    second.close()
    third = copy.lease(two)
    assert third.folded and len(folds) == 2 * len(copy._fused)
    third.close()


def test_an_answer_given_up_gives_the_copy_back(model):
    steps = iter(model.generate(PROMPTS[:1], [random_plan(7)], Sampling(9)))
    next(steps), next(steps)
    other = model.generate(PROMPTS[:1], [random_plan(8)], Sampling(3))
    last_of(other)
    steps.close()
    again = model.generate(PROMPTS[:1], [random_plan(8)], Sampling(3))
    last_of(again)
    assert (other.engine, again.engine) == ("lean", "lean, folded")


def test_a_fold_that_fails_is_not_taken_for_one(llama, monkeypatch):
    model, sampling = llama.build(), Sampling(8)
    want = last_of(model.generate(PROMPTS[:1], PLANS[:1], sampling))
    fold = Fused.folded
    with monkeypatch.context() as broken:
        broken.setattr(
            Fused, "folded", lambda self, plan: 1 / 0 if self.layer == 3 else fold(self, plan)
        )
        with pytest.raises(ZeroDivisionError):
            last_of(model.generate(PROMPTS[:1], PLANS[:1], sampling))
    generation = model.generate(PROMPTS[:1], PLANS[:1], sampling)
    assert last_of(generation) == want and generation.engine == "lean, folded"


# -- the model it works for -----------------------------------------------------------------------


def test_fusing_moves_the_weights_and_changes_none(world):
    model, untouched = world.build(), world.build()
    last_of(model.generate(PROMPTS, PLANS, Sampling(3)))
    for (name, got), want in zip(
        model.base.named_parameters(), untouched.base.parameters(), strict=True
    ):
        assert torch.equal(got, want), name
    attention = decoder_layers(model.base)[0][0].self_attn
    q, k = attention.q_proj, attention.k_proj
    assert (
        q.linear.weight.untyped_storage().data_ptr() == k.linear.weight.untyped_storage().data_ptr()
    )
    assert q.A.untyped_storage().data_ptr() == k.A.untyped_storage().data_ptr()


@pytest.mark.parametrize("anew", [False, True], ids=["in place", "by others"])
def test_experts_that_changed_are_seen(llama, anew):
    model = llama.build()
    before = both(model, PROMPTS[:1], PLANS[:1], 8)[1]
    for linear in model.bank.linears.values():
        if anew:
            linear.A = torch.nn.Parameter(linear.A * -2, requires_grad=False)
        else:
            linear.A.data.mul_(-2)
    want, got, *_ = both(model, PROMPTS[:1], PLANS[:1], 8)
    torch.testing.assert_close(got, want, **CLOSE)
    assert not torch.allclose(before, got, atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: setattr(c, "model_type", "mystery"),
        lambda c: setattr(c, "rope_parameters", {**c.rope_parameters, "rope_type": "dynamic"}),
    ],
)
def test_a_base_of_another_kind_is_decoded_by_transformers(llama, change):
    model = llama.build()
    change(model.base.config)
    generation = model.generate(PROMPTS, PLANS, Sampling(6))
    assert (
        last_of(generation) == last_of(llama.model.generate(PROMPTS, PLANS, Sampling(6)))
        and generation.engine == "plain"
    )


def test_experts_in_training_are_decoded_by_transformers(llama):
    """An optimizer holds them, so they must not be replaced by views."""
    model = llama.build()
    trained = model.bank.parameters_to_train()
    generation = model.generate(PROMPTS[:1], PLANS[:1], Sampling(3))
    last_of(generation)
    assert generation.engine == "plain"
    assert all(mine is linear.A for mine, linear in zip(trained[::2], model.bank.linears.values()))


# -- the model that is shipped --------------------------------------------------------------------


def test_shipped_answers_are_those_of_transformers(medical):
    prompts = [
        "How is asthma treated?",
        "My father has Parkinson's disease. What can be done for the tremor?",
        "What causes gout?",
    ]
    plans = [medical.route(p) for p in prompts]
    for rows in ([0], [0, 1, 2]):
        want, got, *_ = both(medical, [prompts[i] for i in rows], [plans[i] for i in rows], 12)
        assert torch.equal(got.argmax(-1), want.argmax(-1))
        assert (got - want).norm() / want.norm() < 1e-5
