"""A comparison holds what the model says of both answers; the words say what it holds."""

from dataclasses import replace

import pytest
import torch
from conftest import PROMPTS

from app.compare.difference import differences
from app.compare.words import BESIDE, ROUTER, YOURS, beside_note, compared, reading_grade
from app.markup import differing
from atmoe import AtMoeError, Override, RoutingPlan, Sampling, State, Steering
from atmoe.explanation.compare import Comparison, Parting, compare
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


@pytest.mark.parametrize(
    ("first", "second", "marked"),
    [
        ("Rest and drink water.", "Rest and drink water.", ([], [])),
        ("Rest and drink water.", "Rest, and drink more water.", (["Rest"], ["Rest,", "more"])),
        ("Take rest", "Take\n\nrest", ([], [])),
        ("", "Rest now", ([], ["Rest now"])),
        ("  a b", "a", (["b"], [])),
    ],
)
def test_words_that_the_other_lacks(first, second, marked):
    spans = differences(first, second)
    assert ["".join(text for text, _ in some) for some in spans] == [first, second]
    assert tuple([text for text, differs in some if differs] for some in spans) == marked


def test_marks_escape_what_the_model_wrote():
    assert (
        differing([("<b>", True), (" & ", False)])
        == '<div class="passage" tabindex="0"><mark class="differs">&lt;b&gt;</mark> &amp; </div>'
    )


PAIR = (ROUTER, YOURS)


class Answer:
    def __init__(self, answer: str):
        self.answer = answer


def test_the_words_of_a_comparison():
    parting = Parting(2, "It is treated with", ("<i>", " drugs"), ((0.31, 0.002), (0.125, 0.5)))
    said = compared(
        Comparison(((-1.214, -1.5), None), parting),
        PAIR,
        (Answer("It is treated with <i>."), Answer("It is treated with drugs.")),
    )
    assert (
        "They part at token 3, after “It is treated with”: the router's answer goes on with "
        "“&lt;i&gt;”, yours goes on with “drugs”." in said
    )
    assert (
        "There, the router's plan gave these 31% and less than 1%; your steering gives these 12% "
        "and 50% (before the repetition penalty)."
    ) in said
    assert "Underlined: 1 of 5 words of the router's answer and 1 of 5 of yours" in said
    assert "<td>−1.21</td><td>−1.50</td>" in said and "<td>–</td><td>–</td>" in said
    ended = compared(
        Comparison((None, None), Parting(0, "", ("", " a"), None)), PAIR, (Answer(""), Answer("a"))
    )
    assert (
        "They part at token 1: the router's answer ends there, yours goes on with “a”." in ended
        and "There," not in ended
    )
    assert "Both answers are the same" in compared(
        Comparison((None, None), None), PAIR, (Answer("a"), Answer("a"))
    )


def test_a_third_answer_has_its_row_and_its_plan_a_column():
    logp = ((-1.0, -2.0, -3.0), (-1.5, -1.25, -3.5), (-4.0, -4.5, -0.5))
    records = (Answer("Rest now."), Answer("Rest more."), Answer("Sleep."))
    said = compared(
        Comparison(logp, Parting(1, "Rest", (" now", " more"), None)),
        (*PAIR, BESIDE[Beside.RANDOM]),
        records,
    )
    assert (
        "The first two part at token 2, after “Rest”: the router's answer goes on with “now”, "
        "yours goes on with “more”." in said
    )
    assert "log-prob., the random steer</th>" in said and said.count("<tr>") == 4
    assert (
        '<th scope="row">Random steer of the same size</th><td>1</td>' in said
        and "<td>−4.00</td><td>−4.50</td><td>−0.50</td>" in said
    )
    alone = compared(
        Comparison(
            ((-1, -2), (-3, -4)), Parting(0, "", ("Rest", "Sleep"), ((0.5, 0.25), (0.1, 0.9)))
        ),
        (ROUTER, BESIDE[Beside.BASE]),
        records[::2],
    )
    assert (
        "the base model's goes on with “Sleep”. There, the router's plan gave these 50% and 25%; "
        "the base model gives these 10% and 90%" in alone
    )
    assert (
        "Underlined: 2 of 2 words of the router's answer and 1 of 1 of the base model's that the "
        "other does not have there." in alone
    )


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


def test_reading_grades():
    easy, hard = (
        "The cat sat. The dog ran.",
        "Immunosuppressive pharmacotherapy necessitates continuous haematological surveillance.",
    )
    assert float(reading_grade(easy).replace("−", "-")) < 4 < 12 < float(reading_grade(hard))
    assert reading_grade("12 + 30") == reading_grade("") == "–"
