"""Every legal name gives the same numbers; and what is shown of tokens, joined, is the answer."""

import json

import pytest
from conftest import EXPERTS, HIDDEN, LAYERS, PROMPTS
from samples import ANSWER, record_of

from atmoe import AtMoe, Layout, Record, RoutingPlan
from atmoe.explanation.measure import explain
from atmoe.explanation.spans import character_at, token_texts
from atmoe.explanation.units import part_of, parts_of, units_of, without
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import verdict
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.config import Info
from atmoe.mixture.store import build

PLAIN = {"task": ("define", "treat", "warn"), "field": ("heart",), "reader": ("lay", "expert")}
ODD = {
    # a group named as a third of another, one that is a band's name, one with signs in it
    "task@late": ("a@late", "@", "early"),
    "task": ("@early@late",),
    "late": ("π∑ <b>&\"\\'", "x y"),
}


def renamed(world, groups) -> AtMoe:
    """The tiny model, its experts and groups under other names."""
    layout = Layout.of(LAYERS, groups)
    router = world.router()
    router.layout = layout
    adapters = [Adapter.load(world.adapter(name)) for name in EXPERTS]
    info = Info("tiny", world.found.name, world.found.sha256, max_prompt_tokens=300)
    return AtMoe(*build(world.base(), world.tokenizer, adapters, router, info))


def test_a_name_says_nothing_of_the_numbers(llama):
    plain, odd = renamed(llama, PLAIN), renamed(llama, ODD)
    results = []
    for model in (plain, odd):
        record = record_of(model)
        results.append(explain(model, record))
    for one, other in zip(results[0].units, results[1].units, strict=True):
        assert (one.kind, one.band) == (other.kind, other.band)
        assert (one.weight, one.contribution) == (other.weight, other.contribution)
        assert one.token_effects == other.token_effects
    names = dict(zip(PLAIN, ODD))
    for one, other in zip(results[0].units, results[1].units, strict=True):
        assert names[one.group] == other.group
    assert list(results[0].shapley.values()) == list(results[1].shapley.values())
    assert verdict(results[0]).level == verdict(results[1]).level


def test_every_part_has_a_name_of_its_own_and_is_found_by_it():
    layout = Layout.of(LAYERS, ODD)
    names = units_of(layout)
    assert len(set(names)) == len(names)
    assert [part_of(name, layout) for name in names] == list(parts_of(layout))


def test_odd_names_come_back_from_json(llama):
    model = renamed(llama, ODD)
    explanation = explain(model, record_of(model))
    again = Explanation.from_dict(json.loads(json.dumps(explanation.to_dict())))
    assert again == explanation


def test_dropping_a_third_leaves_the_group_of_its_name_alone():
    layout = Layout.of(6, {"a": ("x",), "a@late": ("y",)})
    plan = RoutingPlan.uniform(layout)
    third = without(plan, ("a@late=",))
    assert third.group_shares[:4, 0].tolist() == [0.5] * 4
    assert third.group_shares[4:, 0].tolist() == [0.0] * 2
    assert third.group_shares[:, 1].tolist() == [0.5] * 6
    assert without(plan, ("a@late",)).group_shares[:, 1].tolist() == [0.0] * 6


# -- tokens as text --------------------------------------------------------------------------------

SPELT = ["½ µg ≥ 3", "naïve café 🫁👩🏽‍⚕️!", "哮喘 asthma", "plain words", "a\n- list\n- of µ"]


@pytest.mark.parametrize("text", SPELT)
def test_the_pieces_joined_are_the_answer(model, text):
    tokens = model.encode_answer(text)
    texts = token_texts(model.tokenizer, tokens)
    assert len(texts) == len(tokens) and "".join(texts) == text
    assert not any("\ufffd" in piece for piece in texts)
    for cut in range(1, len(tokens)):  # as the limit of tokens cuts an answer
        pieces = token_texts(model.tokenizer, tokens[:cut])
        whole = model.tokenizer.decode(tokens[:cut], skip_special_tokens=True)
        assert "".join(pieces) == whole.rstrip("\ufffd").lstrip()


def test_a_token_of_a_character_stands_for_all_of_it(model):
    tokens = model.encode_answer("a ½ b")
    texts = token_texts(model.tokenizer, tokens)
    first = texts.index("")
    assert "½" in character_at(model.tokenizer, tokens, first)
    assert character_at(model.tokenizer, tokens, len(tokens)) == ""


@pytest.mark.parametrize("text", SPELT)
def test_an_explanation_shows_whole_characters(model, text):
    explanation = explain(model, record_of(model, answer=text))
    assert "".join(explanation.tokens) == text
    assert len(explanation.tokens) == len(explanation.units[0].token_effects)


def test_one_question_is_one_text_everywhere(model):
    spaced = model.answer(f"  {PROMPTS[0]}\r\n ")
    assert spaced.prompt == PROMPTS[0] == model.answer(PROMPTS[0]).prompt
    again = Record.from_json(spaced.to_json())
    assert again.prompt == spaced.prompt and ANSWER and HIDDEN
