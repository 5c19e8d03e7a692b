"""Records, names and questions that nobody should send: a sentence, never an error of ours.

Drawn by hypothesis and by seeded mutation, within a budget that is the same every time.
"""

import json
import random
import resource
import tracemalloc

import pytest
from conftest import LAYERS, PROMPTS, tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated

from atmoe import Layout, Record, RoutingPlan, Sampling, Steering
from atmoe.errors import AtMoeError, PromptError
from atmoe.explanation.measure import explain
from atmoe.prompt.template import encode_prompt
from atmoe.prompt.words import check_question
from atmoe.schema import RecordJson

MUTATIONS = 1000
WORDS = tokenizer()


@pytest.fixture(scope="module")
def record(worlds):
    """A record with everything that a record can hold."""
    from dataclasses import replace

    from atmoe.explanation.response import Response
    from atmoe.explanation.smallest_change import smallest_changes

    model = worlds("llama").model
    record = model.answer(PROMPTS[0], Steering(), Sampling(max_new_tokens=6))
    explanation = replace(explain(model, record), changes=smallest_changes(model, record))
    response = Response("task/warn", tuple("abcde"), (-1.5, -1.25, -1.0, -2.0, -2.5), True)
    return replace(record, explanation=explanation, response=response)


def test_a_thousand_mutations_of_a_record_are_records_or_sentences(record):
    """None of them an error of ours, and none takes memory for a size that was not checked."""
    data, rng = record.to_dict(), random.Random(0)
    json.dumps(data)
    read = refused = 0
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTATIONS):
        broken = mutated(data, rng)
        try:
            again = Record.from_dict(broken)
        except AtMoeError as error:
            refused += 1
            assert "\n" not in str(error) and "use " in str(error) and len(str(error)) < 600
        else:
            read += 1
            # What is read is whole: it can be written, shown and read again.
            assert Record.from_json(again.to_json()).to_dict() == again.to_dict()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert refused > MUTATIONS / 2 and read > 0
    assert peak < 50 * 2**20 and grown < 50


@pytest.mark.parametrize("kind", ["group", "expert"])
def test_an_explanation_without_its_groups_or_experts_is_refused(record, kind):
    explanation = record.to_dict()["explanation"]
    units = [unit for unit in explanation["units"] if unit["kind"] != kind]
    effects = {unit["name"]: explanation["token_effects"][unit["name"]] for unit in units}
    cut = record.to_dict() | {
        "explanation": explanation | {"units": units, "token_effects": effects}
    }
    with pytest.raises(AtMoeError, match=f"the units do not name the {kind}s.*; use one"):
        Record.from_dict(cut)


def test_a_size_is_not_used_before_it_is_checked(record):
    for layers in (5e8, 500_000_000, 2**62, 1e308):
        for plan in ("plan", "router_plan"):
            data = record.to_dict()
            data[plan] = data[plan] | {"layers": layers}
            tracemalloc.start()
            with pytest.raises(AtMoeError, match=f"{plan}.layers"):
                Record.from_dict(data)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 2 * 2**20


@pytest.mark.parametrize("seed", [-1, 2**63, 5.5, "7", None, True])
def test_a_seed_has_one_range(record, seed):
    with pytest.raises(AtMoeError, match="seed"):
        Record.from_dict(record.to_dict() | {"seed": seed})
    if not isinstance(seed, bool):  # True is 1 to a Python caller
        with pytest.raises(AtMoeError, match="seed"):
            Sampling(seed=seed)


def test_the_schema_is_published_and_holds_a_record():
    published = RecordJson.model_json_schema()
    assert set(published["required"]) >= {"format", "prompt", "answer", "plan", "steering"}
    assert published["properties"]["seed"]["minimum"] == 0


legal = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="/="), min_size=1, max_size=12
).filter(str.isprintable)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(legal, min_size=2, max_size=5, unique=True), st.data())
def test_every_legal_name_comes_back_from_json(names, data):
    groups = {
        name: data.draw(st.lists(legal, min_size=1, max_size=3, unique=True)) for name in names
    }
    plan = RoutingPlan.uniform(Layout.of(LAYERS, groups))
    again = RoutingPlan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again.layout == plan.layout and again.close_to(plan, atol=0)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.text(max_size=80))
def test_any_text_is_a_question_or_a_sentence(text):
    try:
        prompt = encode_prompt(WORDS, text, 400)
    except PromptError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return
    assert prompt.text == check_question(text) == check_question(prompt.text)
    assert 0 < prompt.start < prompt.end < len(prompt.ids)
    assert WORDS.decode(prompt.ids[prompt.start : prompt.end]) == prompt.text


leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=5)


def nested(inner):
    """Lists and mappings of what there is so far."""
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.recursive(leaves, nested, max_leaves=12))
def test_any_json_is_no_steering_or_no_plan_in_a_sentence(data):
    for part in (Steering, RoutingPlan, Record):
        with pytest.raises(AtMoeError, match="use "):
            part.from_dict(data)
