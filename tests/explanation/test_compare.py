"""A comparison holds what the model says of both answers; the words say what it holds."""

from dataclasses import replace

import pytest
import torch
from conftest import PROMPTS

from app.compare.words import beside_note
from atmoe import AtMoeError, Override, RoutingPlan, Sampling, State, Steering
from atmoe.answer.pieces import whole
from atmoe.explanation.coherence import coherence
from atmoe.explanation.compare import compare
from atmoe.explanation.sweep import sweep
from atmoe.steering.random_steer import order, size
from atmoe.steering.reference import Beside, plan_beside

SAMPLING = Sampling(max_new_tokens=12, repetition_penalty=1.1)


@pytest.fixture(scope="module")
def records(worlds):
    """Two answers to each prompt, the router's and one under another plan."""
    model = worlds("llama").model
    steering = Steering(
        (Override("task", State.FIXED, 0.0), Override("reader/lay", State.OFF)), 1.7
    )
    return model, [
        (model.answer(p, Steering(), SAMPLING), model.answer(p, steering, SAMPLING))
        for p in PROMPTS
    ]


def test_each_answer_is_measured_under_both_plans(records):
    model, pairs = records
    measured = 0
    for pair in pairs:
        for record, row in zip(pair, compare(model, *pair).logp):
            if row is not None:
                alone = [
                    float(model.score(record.prompt, record.answer, [other.plan]).mean())
                    for other in pair
                ]
                assert row == pytest.approx(alone, abs=1e-5)
                measured += 1
    assert measured


def test_what_is_measured_are_the_tokens_that_were_generated(model):
    """A drawn answer's text is often read as other tokens than it was made of."""
    drawn = [
        model.answer(prompt, Steering(), Sampling(30, temperature=2.0, seed=seed))
        for prompt in PROMPTS[:2]
        for seed in range(3)
    ]
    read = model.tokenizer([record.answer for record in drawn], add_special_tokens=False).input_ids
    odd = [r for r, tokens in zip(drawn, read) if tokens != list(r.answer_tokens)]
    assert odd  # or there would be nothing to see
    for record in odd:
        steps = sweep(model, model.encode(record.prompt), record.answer_tokens, [record.plan])
        expected = float(whole(steps).logp.mean())
        [mean] = record.mean_logp(model, [record.plan])
        assert mean == pytest.approx(expected, abs=1e-4)
        assert coherence(model, record).logp == pytest.approx(expected, abs=1e-4)
    assert replace(odd[0], answer=" ").mean_logp(model, [odd[0].plan]) is None
    assert replace(odd[0], answer_tokens=()).mean_logp(model, [odd[0].plan]) is None


def test_they_part_at_the_first_token_that_differs(records):
    model, pairs = records
    partings = [compare(model, *pair).parting for pair in pairs]
    assert any(partings)
    for pair, parting in zip(pairs, partings):
        one, two = (record.answer_tokens for record in pair)
        if parting is None:
            assert one == two
            continue
        assert (
            one[: parting.index] == two[: parting.index]
            and one[parting.index] != two[parting.index]
        )
        prompt = model.encode(pair[0].prompt)
        for record, found in zip(pair, parting.probabilities):
            batch = model.collate([prompt], [one[: parting.index]])
            with torch.inference_mode():
                logits = model.forward(batch, [record.plan])[0][0, -1]
            assert found == pytest.approx(
                logits.softmax(-1)[[one[parting.index], two[parting.index]]].tolist(), abs=1e-6
            )


def test_the_same_answer_twice_does_not_part_and_another_question_is_refused(records):
    model, [(first, _), (other, _), *_] = records
    assert compare(model, first, first).parting is None
    with pytest.raises(AtMoeError, match="different questions"):
        compare(model, first, other)


def test_three_answers_are_each_measured_under_three_plans(records):
    model, [(first, second), *_] = records
    third = model.answer(first.prompt, Steering(strength=0.0), SAMPLING)
    found = compare(model, first, second, third)
    pair = compare(model, first, second)
    assert found.parting == pair.parting and [row and row[:2] for row in found.logp[:2]] == [
        row and pytest.approx(row, abs=1e-5) for row in pair.logp
    ]
    if found.logp[2] is not None:
        alone = [
            float(model.score(third.prompt, third.answer, [r.plan]).mean())
            for r in (first, second, third)
        ]
        assert found.logp[2] == pytest.approx(alone, abs=1e-5)


def test_what_a_third_answer_is_made_under_is_said(records):
    _, [(router, steered), *_] = records
    plan = plan_beside(Beside.RANDOM, router.plan, steered.steering, 3)
    assert size(router.plan, plan) == pytest.approx(size(router.plan, steered.plan), abs=1e-6)
    assert plan_beside(Beside.BASE, router.plan, Steering(), 3).weights.sum() == 0
    assert plan_beside(Beside.UNIFORM, router.plan, Steering(), 3).close_to(
        RoutingPlan.uniform(router.plan.layout)
    )
    said = beside_note(Beside.RANDOM, replace(router, plan=plan, seed=3))
    assert (
        f"{100 * float(size(router.plan, steered.plan).mean()):.0f}% on average" in said
        and f"first {order(plan, 3)[0]}." in said
    )
