"""A record holds all that a replay needs, and says so when it does not."""

import json
from dataclasses import fields, replace

import pytest
from conftest import LAYOUT, PROMPTS

from atmoe import AtMoeError, Override, Record, Sampling, State, Steering
from atmoe.explanation.response import Response

# What was measured only where it could be.
OPTIONAL = ("explanation", "response", "familiarity", "nearest", "flags")
STEERING = Steering(
    (Override("task/warn", State.FIXED, 0.9, "late"), Override("reader", State.OFF)), 0.5
)
SAMPLING = Sampling(6, temperature=0.8, top_p=0.9, seed=11, repetition_penalty=1.2)


@pytest.fixture(scope="module")
def record(worlds):
    return worlds("llama").model.answer(PROMPTS[0], STEERING, SAMPLING)


def test_json_gives_the_very_same_record(record):
    again = Record.from_json(record.to_json())
    assert again.to_dict() == record.to_dict() == json.loads(record.to_json())
    assert again.steering == STEERING and again.answer_tokens == record.answer_tokens
    assert again.plan.close_to(record.plan, atol=0) and again.router_plan.close_to(
        record.router_plan, atol=0
    )
    assert not record.plan.close_to(record.router_plan)


def test_a_record_can_be_replayed(record, model):
    again = Record.from_json(record.to_json())
    sampling = Sampling(seed=again.seed, **again.sampling)
    assert sampling == SAMPLING
    *_, last = model.generate([again.prompt], [again.plan], sampling)
    assert (last.tokens[0], last.texts[0], last.finish[0]) == (
        record.answer_tokens,
        record.answer,
        record.finish,
    )


def test_it_says_what_made_it(record, model):
    assert record.prompt == PROMPTS[0] and record.base == {
        "name": "base",
        "sha256": model.info.base_sha256,
    }
    assert (
        record.versions.keys() == {"torch", "transformers", "dtype", "engine"}
        and record.versions["dtype"] == "float32"
    )
    assert record.timings["prefill_s"] > 0 and record.plan.layout == LAYOUT


def test_a_first_token_alone_has_no_speed_and_its_record_reads(model):
    record = model.answer(PROMPTS[0], sampling=Sampling(1))
    assert set(Record.from_json(record.to_json()).timings) == {"prefill_s"}


def test_a_row_of_a_batch_and_an_answer_given_up(model):
    generation = model.generate(PROMPTS, None, Sampling(50))
    step = next(iter(generation))
    record = Record.of(model, PROMPTS[2], Steering(), generation.plans[2], generation, step, row=2)
    assert record.plan.close_to(model.route(PROMPTS[2]), atol=1e-5)
    assert record.answer_tokens == step.tokens[2] and record.finish == (
        step.finish[2] or "cancelled"
    )


@pytest.mark.parametrize("name", [f.name for f in fields(Record) if f.name not in OPTIONAL])
def test_a_missing_field_is_named(record, name):
    data = record.to_dict()
    del data[name]
    with pytest.raises(AtMoeError, match=f"lacks {name}; use one downloaded"):
        Record.from_dict(data)


def test_answers_at_five_shares_go_with_it_and_older_records_have_none(record):
    response = Response("task/warn", tuple("abcde"), (-1.5, -1.25, -1.0, -2.0, -2.5), True)
    held = replace(record, response=response)
    assert Record.from_json(held.to_json()).response == response
    older = record.to_dict()
    del older["response"]
    assert Record.from_dict(older).response is None
    for damage in (
        {"answers": ["a"]},
        {"logp": [1]},
        {"logp": ["x"] * 5},
        {"doses": [0, 1]},
        {"target": 7},
        {"answers": [1] * 5},
        {"logp": [float("nan")] * 5},
    ):
        with pytest.raises(AtMoeError, match="five shares cannot be read"):
            Record.from_dict(held.to_dict() | {"response": response.to_dict() | damage})


@pytest.mark.parametrize("change", [{"format": 2}, {"format": None}, {"format": "1"}])
def test_unknown_formats(record, change):
    with pytest.raises(AtMoeError, match="no record of format 1; use one downloaded"):
        Record.from_dict(record.to_dict() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"plan": None},
        {"plan": {}},
        {"router_plan": "x"},
        {"steering": []},
        {"answer_tokens": None},
        {"answer_tokens": 7},
    ],
)
def test_damaged_fields(record, change):
    with pytest.raises(AtMoeError, match="use "):
        Record.from_json(json.dumps(record.to_dict() | change))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"x"', "NaN", None, 7, b"\xff\xfe{", "[" * 100_000, "\ud800"],
)
def test_what_is_no_record(text):
    with pytest.raises(AtMoeError, match="use "):
        Record.from_json(text)
