"""Routing and scoring: a row in a batch is the row alone.

Nothing but the person's words decides its plan.
"""

from dataclasses import replace

import pytest
import torch
from conftest import (
    ASSETS,
    CHAT,
    GROUPS,
    LAYERS,
    LAYOUT,
    PROMPTS,
    in_threads,
    logits_of,
    one_hot,
    random_plan,
    reference_logits,
)
from peft import PeftModel

from atmoe import Layout, Override, RoutingPlan, Sampling, State, Steering
from atmoe.errors import PlanError, PromptError, SteeringError
from atmoe.mixture import base as base_models
from atmoe.mixture import base_loading
from atmoe.mixture.experts import _mixing, decoder_layers
from atmoe.mixture.passes import _entered
from atmoe.routing.router import pool_instruction

ANSWERS = [
    "With inhalers.",
    "Nerve cells die; nobody knows quite why.",
    "A joint hurts.",
    "See the doctor often.",
]
CLOSE = dict(rtol=1e-5, atol=1e-5)  # float32


# -- routing ---------------------------------------------------------------------------------------


def test_shares_of_a_routed_plan_sum_to_one_and_differ(world):
    plans = [world.model.route(p) for p in PROMPTS]
    for plan in plans:
        assert torch.allclose(plan.group_shares.sum(1), torch.ones(LAYERS), atol=1e-6)
        assert torch.allclose(plan.weights.sum(1), torch.ones(LAYERS), atol=1e-6)
        for group in GROUPS:
            assert torch.allclose(
                plan.expert_shares[:, LAYOUT.members(group)].sum(1), torch.ones(LAYERS), atol=1e-6
            )
    for other in plans[1:]:
        assert (plans[0].weights - other.weights).abs().max() > 0.02
    assert (plans[0].weights[1:] - plans[0].weights[:-1]).abs().max() > 0.02  # and layers differ


def test_a_plan_is_the_router_on_the_words_that_enter_each_layer(world):
    """Under its own plan, the pooled states give that plan again."""
    model, plan, pooled = world.model, world.model.route(PROMPTS[1]), []
    batch = model.collate([model.encode(PROMPTS[1])])
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: pooled.append(
                pool_instruction(args[0] if args else kwargs["hidden_states"], batch.instruction)
            ),
            with_kwargs=True,
        )
        for layer in decoder_layers(model.base)[0]
    ]
    with torch.inference_mode():
        model.forward(batch, [plan])
    for hook in hooks:
        hook.remove()
    groups, experts = model.router(torch.stack(pooled, 1), slice(None))
    assert RoutingPlan(LAYOUT, groups[0], experts[0]).close_to(plan, atol=1e-5)


def test_what_follows_the_words_has_no_influence(world):
    """A causal model: with or without an answer behind it, the plan is the prompt's."""
    for side in ("left", "right"):
        plans = world.model.score_rows(PROMPTS, ANSWERS, side=side)[1]
        for plan, prompt in zip(plans, PROMPTS):
            assert plan.close_to(world.model.route(prompt), atol=1e-5)


def test_the_template_is_not_pooled(worlds):
    """At layer 0 a state knows its own token only: another system turn must not show there."""
    model = worlds("qwen3").build()
    before = model.route(PROMPTS[0])
    model.tokenizer.chat_template = CHAT.replace(
        "You help.", "Answer like a pirate, at length, in verse."
    )
    try:
        after = model.route(PROMPTS[0])
    finally:
        model.tokenizer.chat_template = CHAT
    assert torch.allclose(before.group_shares[0], after.group_shares[0], atol=1e-6)
    assert torch.allclose(before.expert_shares[0], after.expert_shares[0], atol=1e-6)
    assert not after.close_to(before, atol=1e-4)


def test_padding_has_no_influence(world):
    """Whatever token fills it, and however much of it there is."""
    model = world.model
    encoded = [model.encode(p) for p in PROMPTS]
    batch = model.collate(encoded)
    noisy = replace(batch, ids=torch.where(batch.attention == 1, batch.ids, torch.tensor(77)))
    with torch.inference_mode():
        plans, noisy_plans = model.forward(batch)[1], model.forward(noisy)[1]
    for prompt, plan, noisy_plan in zip(PROMPTS, plans, noisy_plans):
        assert plan.close_to(model.route(prompt), atol=1e-5) and noisy_plan.close_to(
            plan, atol=1e-5
        )


def test_gain_multiplies_what_the_router_mixes(world):
    """Routed on the way, or as a plan afterwards: the same answer."""
    model = world.model
    for prompt in PROMPTS[:2]:
        torch.testing.assert_close(
            logits_of(model, prompt, None), logits_of(model, prompt, model.route(prompt)), **CLOSE
        )
    plan = random_plan(2)
    halved = RoutingPlan(LAYOUT, plan.group_shares, plan.expert_shares, 1 / model.router.gain)
    torch.testing.assert_close(
        logits_of(model, PROMPTS[0], halved), logits_of(world.unit, PROMPTS[0], plan), **CLOSE
    )


# -- scoring ---------------------------------------------------------------------------------------


def test_a_batch_of_prompts_and_plans_is_each_alone(world):
    model, plans = (
        world.model,
        [random_plan(0), RoutingPlan.off(LAYOUT), one_hot("task/treat"), random_plan(1)],
    )
    together = model.score_rows(PROMPTS, ANSWERS, plans)[0]
    for row in range(4):
        alone = model.score(PROMPTS[row], ANSWERS[row], [plans[row]])
        assert alone.shape == (1, len(model.encode_answer(ANSWERS[row])))
        torch.testing.assert_close(together[row], alone[0], **CLOSE)


def test_left_right_and_no_padding_agree(world):
    model, plans = world.model, [random_plan(i) for i in range(4)]
    left, right = (
        model.score_rows(PROMPTS, ANSWERS, plans, side=side)[0] for side in ("left", "right")
    )
    for row in range(4):
        none = model.score_rows(
            PROMPTS[row : row + 1], ANSWERS[row : row + 1], plans[row : row + 1]
        )[0][0]
        torch.testing.assert_close(left[row], right[row], **CLOSE)
        torch.testing.assert_close(left[row], none, **CLOSE)


def test_scores_are_log_probabilities_of_the_answer(world):
    model, plan = world.model, random_plan(0)
    prompt, answer = model.encode(PROMPTS[0]), model.encode_answer(ANSWERS[0])
    with torch.inference_mode():
        logits = model.forward(model.collate([prompt], [answer]), [plan])[0][0]
    want = torch.tensor(
        [logits[len(prompt.ids) - 1 + i].log_softmax(-1)[t] for i, t in enumerate(answer)]
    )
    torch.testing.assert_close(model.score(PROMPTS[0], ANSWERS[0], [plan])[0], want, **CLOSE)


def test_one_prompt_under_many_plans(model):
    plans = [random_plan(i) for i in range(7)]
    scores = model.score(PROMPTS[0], ANSWERS[1], plans)
    assert (
        scores.shape == (7, len(model.encode_answer(ANSWERS[1]))) and scores.dtype is torch.float32
    )
    assert (scores[1:] - scores[:1]).abs().max() > 1e-2
    torch.testing.assert_close(
        model.score(PROMPTS[0], ANSWERS[1], plans[::-1]), scores.flip(0), **CLOSE
    )


# -- nothing outlives a call -----------------------------------------------------------------------


def test_an_exception_inside_a_forward_leaves_nothing_behind(llama):
    model = llama.model

    def fail(*_):
        raise MemoryError("in the middle")

    hook = decoder_layers(model.base)[0][2].register_forward_pre_hook(fail)
    for plans in (None, [random_plan(0)]):
        with pytest.raises(MemoryError):
            model.forward(model.collate([model.encode(PROMPTS[0])]), plans)
        assert _mixing.get() is None and _entered.get() is None
    hook.remove()
    assert torch.equal(
        reference_logits(model.base, model, PROMPTS[0]),
        reference_logits(llama.base(), model, PROMPTS[0]),
    )
    torch.testing.assert_close(
        model.score(PROMPTS[0], ANSWERS[0], [random_plan(0)]),
        llama.build().score(PROMPTS[0], ANSWERS[0], [random_plan(0)]),
        rtol=0,
        atol=0,
    )


def test_calls_from_many_threads_are_each_alone(model):
    plans = [RoutingPlan.off(LAYOUT), random_plan(0), one_hot("field/heart"), None]

    def work(i):
        if plans[i]:
            return model.score(PROMPTS[i], ANSWERS[i], [plans[i]])
        return model.route(PROMPTS[i]).weights

    want, wrong = [work(i) for i in range(4)], []

    def repeat(i):
        for _ in range(8):
            if not torch.allclose(work(i), want[i], atol=1e-6):
                wrong.append(i)

    in_threads(4, repeat)
    assert not wrong


# -- answers ---------------------------------------------------------------------------------------


def test_answer_records_both_plans(model):
    steering = Steering(
        (Override("task/warn", State.FIXED, 0.9), Override("reader", State.OFF)), 0.5
    )
    record = model.answer(PROMPTS[0], steering, Sampling(5))
    assert record.router_plan.close_to(model.route(PROMPTS[0]), atol=1e-5)
    assert record.plan.close_to(steering.apply(record.router_plan), atol=0)
    untouched = model.answer(PROMPTS[0], sampling=Sampling(5))
    assert untouched.plan.close_to(untouched.router_plan, atol=0)
    base = model.answer(PROMPTS[0], Steering(strength=0), Sampling(5))
    *_, last = model.generate([PROMPTS[0]], [RoutingPlan.off(LAYOUT)], Sampling(5))
    assert base.answer_tokens == last.tokens[0]


# -- hostile calls ---------------------------------------------------------------------------------


OTHER = Layout.of(
    LAYERS, {"x": ("define", "treat", "warn"), "field": ("heart",), "reader": ("lay", "expert")}
)


@pytest.mark.parametrize(
    "prompt",
    [None, 7, b"bytes", "", " ", "\ud83d", "a\x00b", "a" * 10**6, "word " * 2000, "🙂", []],
)
def test_prompts_that_cannot_be_read(model, prompt):
    for call in (
        lambda: model.route(prompt),
        lambda: model.generate([prompt]),
        lambda: model.answer(prompt),
        lambda: model.score(prompt, "fine", [random_plan(0)]),
    ):
        with pytest.raises(PromptError, match="(shorten|remove|write|must be text)"):
            call()


@pytest.mark.parametrize(
    "answer", [None, 7, "", " ", "a\x00b", "\udfff", "a" * 10**6, "word " * 2000]
)
def test_answers_that_cannot_be_scored(model, answer):
    with pytest.raises(PromptError, match="The answer .*(shorten|remove|write|must be text)"):
        model.score(PROMPTS[0], answer, [random_plan(0)])


def test_an_answer_may_be_a_number(model):
    assert model.score(PROMPTS[0], "42 %", [random_plan(0)]).shape[0] == 1


@pytest.mark.parametrize(
    "plans, sentence",
    [
        ([], "1 prompts need 1 plans, not 0"),
        ([random_plan(0)] * 2, "not 2"),
        ([None], "route the prompt again"),
        ([{"task": 1}], "route the prompt again"),
        ([random_plan(0, OTHER)], "route the prompt again"),
        ([random_plan(0, Layout.of(4, GROUPS))], "route the prompt again"),
    ],
)
def test_plans_that_do_not_fit(model, plans, sentence):
    with pytest.raises(PlanError, match=sentence):
        model.generate(PROMPTS[:1], plans)
    with pytest.raises(PlanError, match=sentence):
        model.score_rows(PROMPTS[:1], ANSWERS[:1], plans)


def test_nothing_to_do(model):
    with pytest.raises(PromptError, match="give at least one"):
        model.generate([])
    with pytest.raises(PromptError, match="give at least one"):
        model.score(PROMPTS[0], ANSWERS[0], [])
    with pytest.raises(PromptError, match="4 prompts and 3 answers"):
        model.score_rows(PROMPTS, ANSWERS[:3])
    with pytest.raises(PromptError, match="must be a list; put a single one in brackets"):
        model.generate(PROMPTS[0])


def test_steering_errors_come_before_decoding(model):
    with pytest.raises(SteeringError, match="no group 'tusk'"):
        model.answer(PROMPTS[0], Steering((Override("tusk", State.OFF),)), Sampling(5))


def test_long_texts_are_words_not_code(model):
    assert model.route("{{ 7 * 7 }} <|im_start|>system %s \\x00 " * 3).weights.shape == (5, 6)


# -- the model that is shipped ---------------------------------------------------------------------


def test_shipped_one_hot_is_its_adapter_and_off_is_the_base(medical):
    prompt, layout = "My father has Parkinson's disease. How is it treated?", medical.layout
    base = base_loading.load(base_models.fetch())[0]
    assert torch.equal(
        logits_of(medical, prompt, RoutingPlan.off(layout)), reference_logits(base, medical, prompt)
    )
    name = layout.expert_names[2]
    plan = one_hot(name, layout)
    plan = RoutingPlan(layout, plan.group_shares, plan.expert_shares, 1 / medical.router.gain)
    want = reference_logits(
        PeftModel.from_pretrained(base, str(ASSETS / "experts" / name)).eval(), medical, prompt
    )
    got = logits_of(medical, prompt, plan)
    assert (got - want).norm() / want.norm() < 1e-5


def test_shipped_routing_reads_the_need(medical):
    plans = [medical.route(q) for q in ("How is asthma treated?", "What causes breast cancer?")]
    for plan in plans:
        assert torch.allclose(plan.weights.sum(1), torch.ones(medical.layout.layers), atol=1e-5)
    assert (plans[0].weights - plans[1].weights).abs().max() > 0.01
