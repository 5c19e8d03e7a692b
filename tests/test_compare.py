"""A comparison holds what the model says of both answers; the words say what the comparison holds."""

import pytest
import torch
from conftest import PROMPTS

from app.compare_text import compared, reading_grade
from app.difference import differences
from app.markup import differing
from atmoe import AtMoeError, Override, Sampling, State, Steering
from atmoe.compare import Comparison, Parting, compare

SAMPLING = Sampling(max_new_tokens=12, repetition_penalty=1.1)


@pytest.fixture(scope="module")
def records(worlds):
    """Two answers to each prompt, the router's and one under another plan."""
    model = worlds("llama").model
    steering = Steering((Override("task", State.FIXED, 0.0), Override("reader/lay", State.OFF)), 1.7)
    return model, [(model.answer(p, Steering(), SAMPLING), model.answer(p, steering, SAMPLING)) for p in PROMPTS]


def test_each_answer_is_measured_under_both_plans(records):
    model, pairs = records
    measured = 0
    for pair in pairs:
        for record, row in zip(pair, compare(model, *pair).logp):
            if row is not None:
                alone = [float(model.score(record.prompt, record.answer, [other.plan]).mean()) for other in pair]
                assert row == pytest.approx(alone, abs=1e-5)
                measured += 1
    assert measured


def test_they_part_at_the_first_token_that_differs(records):
    model, pairs = records
    partings = [compare(model, *pair).parting for pair in pairs]
    assert any(partings)
    for pair, parting in zip(pairs, partings):
        one, two = (record.answer_tokens for record in pair)
        if parting is None:
            assert one == two
            continue
        assert one[:parting.index] == two[:parting.index] and one[parting.index] != two[parting.index]
        prompt = model.encode(pair[0].prompt)
        for record, found in zip(pair, parting.probabilities):
            batch = model.collate([prompt], [one[:parting.index]])
            with torch.inference_mode():
                logits = model.forward(batch, [record.plan])[0][0, -1]
            assert found == pytest.approx(logits.softmax(-1)[[one[parting.index], two[parting.index]]].tolist(), abs=1e-6)


def test_the_same_answer_twice_does_not_part_and_another_question_is_refused(records):
    model, [(first, _), (other, _), *_] = records
    assert compare(model, first, first).parting is None
    with pytest.raises(AtMoeError, match="different questions"):
        compare(model, first, other)


@pytest.mark.parametrize(("first", "second", "marked"), [
    ("Rest and drink water.", "Rest and drink water.", ([], [])),
    ("Rest and drink water.", "Rest, and drink more water.", (["Rest"], ["Rest,", "more"])),
    ("Take rest", "Take\n\nrest", ([], [])), ("", "Rest now", ([], ["Rest now"])), ("  a b", "a", (["b"], []))])
def test_words_that_the_other_lacks(first, second, marked):
    spans = differences(first, second)
    assert ["".join(text for text, _ in some) for some in spans] == [first, second]
    assert tuple([text for text, differs in some if differs] for some in spans) == marked


def test_marks_escape_what_the_model_wrote():
    assert differing([("<b>", True), (" & ", False)]) == \
        '<div class="passage" tabindex="0"><mark class="differs">&lt;b&gt;</mark> &amp; </div>'


class Answer:
    def __init__(self, answer: str):
        self.answer = answer


def test_the_words_of_a_comparison():
    parting = Parting(2, "It is treated with", ("<i>", " drugs"), ((0.31, 0.002), (0.125, 0.5)))
    said = compared(Comparison(((-1.214, -1.5), None), parting), Answer("It is treated with <i>."), Answer("It is treated with drugs."))
    assert "They part at token 3, after “It is treated with”: the router's answer goes on with “&lt;i&gt;”, yours goes on with “drugs”." in said
    assert ("There, the router's plan gave these 31% and less than 1%; your steering gives these 12% and 50% "
            "(before the repetition penalty).") in said
    assert "Underlined: 1 of 5 words of the router's answer and 1 of 5 of yours" in said
    assert "<td>−1.21</td><td>−1.50</td>" in said and "<td>–</td><td>–</td>" in said
    ended = compared(Comparison((None, None), Parting(0, "", ("", " a"), None)), Answer(""), Answer("a"))
    assert "They part at token 1: the router's answer ends there, yours goes on with “a”." in ended and "There," not in ended
    assert "Both answers are the same" in compared(Comparison((None, None), None), Answer("a"), Answer("a"))


def test_reading_grades():
    easy, hard = "The cat sat. The dog ran.", "Immunosuppressive pharmacotherapy necessitates continuous haematological surveillance."
    assert float(reading_grade(easy).replace("−", "-")) < 4 < 12 < float(reading_grade(hard))
    assert reading_grade("12 + 30") == reading_grade("") == "–"
