"""Answers given before: only the very same question is answered by one, and the bounds hold."""

from dataclasses import replace

import pytest
import torch
from conftest import PROMPTS, one_hot, random_plan

from atmoe import RoutingPlan, Sampling, Steering
from atmoe.answer.remembered import Remembered, _bytes
from atmoe.record import AGAIN


@pytest.fixture(scope="module")
def record(worlds):
    return worlds("llama").model.answer(PROMPTS[0], sampling=Sampling(4))


def test_whatever_decides_an_answer_is_in_its_key(llama):
    model, plan, sampling = llama.model, random_plan(0), Sampling(9, temperature=0.5)
    asked = [
        (model, PROMPTS[0], plan, sampling),
        (model, PROMPTS[1], plan, sampling),
        (model, PROMPTS[0], None, sampling),
        (model, PROMPTS[0], random_plan(1), sampling),
        (model, PROMPTS[0], replace(plan, strength=0.5 * plan.strength), sampling),
    ]
    asked += [
        (model, PROMPTS[0], plan, replace(sampling, **change))
        for change in (
            {"max_new_tokens": 8},
            {"temperature": 0.6},
            {"top_p": 0.9},
            {"seed": 1},
            {"repetition_penalty": 1.1},
        )
    ]
    other = llama.build()
    other.info = replace(other.info, sha256="of other experts")
    based = llama.build()
    based.info = replace(based.info, base_sha256="of another base")
    rounded = llama.build()
    rounded.base.to(torch.bfloat16)
    keys = [
        Remembered.key(*one)
        for one in asked + [(m, PROMPTS[0], plan, sampling) for m in (other, based, rounded)]
    ]
    assert len(set(keys)) == len(keys)
    same = RoutingPlan.from_dict(plan.to_dict())
    assert Remembered.key(model, f" {PROMPTS[0]}\n", same, replace(sampling)) == keys[0]


def test_the_least_recently_used_goes_first(record):
    answers = Remembered(entries=2)
    for key in (b"1", b"2"):
        answers.put(key, record, -1.0)
    assert answers.get(b"1") == (record, -1.0)
    answers.put(b"3", record, None)
    assert answers.get(b"2") is None and answers.get(b"1") and answers.get(b"3") == (record, None)


def test_bytes_are_bounded_too(record):
    answers = Remembered(size=3 * _bytes(record))
    for key in range(9):
        answers.put(bytes([key]), record, None)
    assert [key for key in range(9) if answers.get(bytes([key]))] == [6, 7, 8]
    answers.put(b"long", replace(record, answer="x" * 10**6), None)
    assert answers.get(b"long") is None and not answers._kept


def test_an_answer_given_again_says_so_and_claims_no_speed(record):
    plan, steering = one_hot("task/define"), Steering(strength=0.5)
    again = record.again(steering, plan)
    assert (again.answer, again.answer_tokens, again.seed) == (
        record.answer,
        record.answer_tokens,
        record.seed,
    )
    assert (again.steering, again.router_plan) == (steering, plan) and again.plan.close_to(
        record.plan
    )
    assert not again.timings and again.versions["engine"] == f"{record.versions['engine']}, {AGAIN}"
    assert type(record).from_json(again.to_json()).timings == {}
