"""Drafts are the question sampled alone, and what they share is counted by hand."""

import json
from dataclasses import replace

import pytest
from conftest import PROMPTS
from hypothesis import given
from hypothesis import strategies as st

from atmoe import AtMoeError, Sampling, Steering
from atmoe.answer.generation import generate
from atmoe.explanation.drafts import Drafts, agreement_of, compared, drafted, drafting, f1, seeds_of

SAMPLING = Sampling(12, repetition_penalty=1.1)
SAMPLED = Sampling(12, temperature=0.7, repetition_penalty=1.1)


def test_each_draft_is_that_seed_alone(model):
    for prompt in PROMPTS[:2]:
        record = model.answer(prompt, Steering(), SAMPLING)
        *growing, last = drafting(model, record)
        alone = [
            model.answer(prompt, Steering(), replace(SAMPLED, seed=seed)).answer
            for seed in last.seeds
        ]
        assert last.texts == tuple(alone) and last.ended and last.answer == record.answer
        assert not any(drafts.ended for drafts in growing) and growing[-1].texts == last.texts
        assert len(set(last.texts)) > 1 and record.seed not in last.seeds


def test_drafts_of_many_answers_are_those_of_each(model):
    records = [model.answer(prompt, Steering(), SAMPLING) for prompt in PROMPTS[:2]]
    for record, drafts in zip(records, drafted(model, records, count=2)):
        *_, last = drafting(model, record, count=2)
        assert drafts.texts == last.texts and drafts.to_dict() == last.to_dict()
    assert drafted(model, []) == []
    other = replace(records[0], sampling={**records[0].sampling, "top_p": 0.5})
    with pytest.raises(AtMoeError, match="one by one"):
        drafted(model, [records[1], other])


def test_drafts_at_temperature_zero_agree_fully(model):
    record = model.answer(PROMPTS[0], Steering(), SAMPLING)
    *_, last = drafting(model, record, temperature=0.0)
    assert set(last.texts) == {record.answer}
    assert last.agreement in (1.0, None) and all(s.shared == 1 for s in last.statements)


def test_a_seed_a_prompt_and_no_other_count(model):
    with pytest.raises(AtMoeError, match="one a prompt"):
        generate(model, PROMPTS[:2], None, SAMPLING, seeds=[1])
    record = model.answer(PROMPTS[0], Steering(), SAMPLING)
    for count in (0, 17):
        with pytest.raises(AtMoeError, match="1 to 16"):
            next(drafting(model, record, count))
    assert seeds_of(replace(record, seed=2**63 - 1), 2) == (0, 1)


def test_what_is_shared_counted_by_hand():
    answer = "Aspirin thins blood. It may cause bleeding of the stomach.\n- Take with food."
    drafts = [
        "Aspirin thins the blood.",
        "Bleeding of the stomach may occur. Aspirin helps the blood.",
        "Take it with food. Blood thins.",
        "Nothing at all.",
    ]
    assert [(s.text, s.shared) for s in compared(answer, drafts)] == [
        ("Aspirin thins blood.", 0.75),  # F1 1, 2/3 and 4/5
        ("It may cause bleeding of the stomach.", 0.25),  # 4/6
        ("Take with food.", 0.25),
    ]
    assert agreement_of(compared(answer, drafts)) == pytest.approx(1.25 / 3)


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_f1_is_the_mean_of_precision_and_recall(a, b):
    one, other = frozenset(map(str, a)), frozenset(map(str, b))
    if one and other:
        precision, recall = len(one & other) / len(one), len(one & other) / len(other)
        mean = 2 * precision * recall / (precision + recall) if one & other else 0
        assert f1(one, other) == f1(other, one) == pytest.approx(mean)


TEXTS = st.text(st.sampled_from("ab c.\n-1"), max_size=60)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_to_json_and_back(answer, texts):
    drafts = Drafts(answer, tuple(texts), tuple(range(len(texts))), {"temperature": 0.7}, True)
    assert Drafts.from_dict(json.loads(json.dumps(drafts.to_dict()))) == drafts
    assert drafts.agreement is None or 0 <= drafts.agreement <= 1
    copies = Drafts(answer, (answer,) * 3, (1, 2, 3), {}, True)
    assert copies.agreement in (1.0, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": [1]}, "one seed a draft"),
        ({"drafts": [], "seeds": []}, "drafts"),
        ({"agreement": 0.25}, "not those of its texts"),
        ({"statements": []}, "not those of its texts"),
        ({"sampling": {"warmth": 1.0}}, "warmth"),
        ({"sampling": {"seed": 1.0}}, "seed"),
        ({"answer": "Other words."}, "what stands there"),
    ],
)
def test_what_is_no_drafts_is_refused(change, said):
    data = Drafts("Blood thins.", ("Blood thins.", "No."), (1, 2), {}, True).to_dict()
    with pytest.raises(AtMoeError, match=said):
        Drafts.from_dict({**data, **change})
    with pytest.raises(AtMoeError, match="as downloaded"):
        Drafts.from_dict({name: value for name, value in data.items() if name not in change})
