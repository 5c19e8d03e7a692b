"""What is looked for in answers, on answers written by hand; and needs against scores by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import PROMPTS

from atmoe import RoutingPlan, Sampling
from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.study import answers as module
from atmoe.study.answers import echoed, flattened, invents_a_patient, listing, study


@pytest.mark.parametrize(
    ("answer", "is_echoed"),
    [
        ("How might gout be treated? Gout is treated with rest.", True),
        ("Is gout inherited? No.", True),
        ("Gout is treated with rest. Ask your doctor what is best.", False),
        ("Gout is treated with rest. What else helps? Water.", False),
    ],
)
def test_an_echo_is_a_question_at_the_beginning(answer, is_echoed):
    assert echoed(answer) is is_echoed


def test_lists_in_lines_and_in_running_text():
    lines = "Signs may include:\n- fever\n- cough"
    flat = "Signs may include - fever - cough - rash."
    prose = "Rings - a rusty brown - appear around the eye, well-known and long-lasting."
    assert listing(lines) and not flattened(lines)
    assert listing(flat) and flattened(flat)
    assert not flattened("1. Rest\n2. Water") and listing("1. Rest\n2. Water")
    assert not listing("Fever and cough.") and not flattened("A self-limited illness - mostly.")
    assert flattened(prose) is True  # said of it: two dashes in a line count as a list


def test_a_patient_nobody_mentioned():
    chart = "The patient denies any muscle pain."
    assert invents_a_patient(chart, "How is gout treated?")
    assert invents_a_patient("This is a 45-year-old woman with gout.", "gout mgmt?")
    assert not invents_a_patient("A patient with gout should drink water.", "gout mgmt?")
    assert not invents_a_patient("- Whether the patient has a history of it.", "How is it going?")
    assert invents_a_patient("Whether or not, the patient has a history of it.", "gout mgmt?")
    assert not invents_a_patient("It is common in a 70 year old.", "my mum is a 70 year old")


def _example(i: int, kind: str, task: str) -> Example:
    return Example(
        id=f"{i}-{kind}",
        prompt=f"What is it, disease {i}, {kind}?",
        answer=f"The {kind} of it is {i}, they say.",
        labels={"task": task, "audience": "patient"},
        disease=f"d{i}",
        source="own",
        kind=kind,
        focus=f"disease {i}",
    )


def test_what_both_needs_gain_is_what_scores_say(worlds, monkeypatch):
    model = worlds("llama").planned()
    # The corpus' tasks, by the names that a tiny model has.
    examples = [_example(1, "causes", "causes"), _example(1, "treatment", "treatment")]
    monkeypatch.setattr(module, "two_needs", lambda a, b, rng, split: _both(a, b))
    nameless = replace(_example(2, "causes", "causes"), focus="")  # no wording asks for that
    report = study(model, [*examples, nameless], 3, 0, Sampling(max_new_tokens=4))
    assert report["answers"] == 3 and report["both_needs"]["pairs"] == 1
    assert report["reworded"] == 2
    off, gains = RoutingPlan.off(model.layout), {}
    for e in examples:
        for prompt in (PROMPTS[0], e.prompt):
            logp = model.score(prompt, e.answer, [model.route(prompt), off]).mean(1)
            gains[e.kind, prompt == e.prompt] = float(logp[0] - logp[1])
    together = gains["causes", False] + gains["treatment", False]
    alone = gains["causes", True] + gains["treatment", True]
    assert report["both_needs"]["gained"]["both"] == pytest.approx(together / alone, rel=1e-3)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        # (together first, second, alone first, second) of each pair
        ([(-0.6, -0.6, -1.0, -1.0)], {"first": None, "second": None, "both": None, "kept": None}),
        (
            [(0.5, 0.5, 1.0, -0.5), (0.9, 0.3, 1.0, 1.5)],
            {"first": 0.7, "second": 0.8, "both": 2.2 / 3, "kept": 0},
        ),
        (
            [(0.5, 0.5, 1.0, -0.5), (0.9, 1.2, 1.0, 1.5)],
            {"first": 0.7, "second": 1.7, "both": 3.1 / 3, "kept": 1},
        ),
    ],
)
def test_no_share_is_told_of_a_gain_that_is_not_there(worlds, monkeypatch, gains, expected):
    model, told = worlds("llama").planned(), iter([gain for pair in gains for gain in pair])
    monkeypatch.setattr(module, "_gain", lambda *of: next(told))
    pairs = []
    for i in range(len(gains)):
        first, second = _example(i, "causes", "causes"), _example(i, "treatment", "treatment")
        pairs.append((first, second, _both(first, second)))
    both = module._both_needs(model, pairs)
    assert both["pairs"] == len(gains) and both["gaining"] == sum(min(g[2:]) > 0 for g in gains)
    assert both["gained"] | {"kept": both["kept"]} == pytest.approx(expected)


def _both(a: Example, b: Example) -> Example:
    return Example(
        id="both",
        prompt=PROMPTS[0],
        answer="both",
        labels=a.labels,
        disease=a.disease,
        source="own",
        kind=a.kind,
        also={"task": b.labels["task"]},
    )


def test_without_questions_there_is_nothing_to_study(worlds):
    with pytest.raises(DataError, match="plain question"):
        study(worlds("llama").model, [])
