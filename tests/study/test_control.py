"""The study of control: doses are the steerings they say, and its statistics are the plain ones."""

from dataclasses import replace

import pytest
import torch
from conftest import LAYOUT
from samples import EXAMPLES

from atmoe import Override, Sampling, State, Steering
from atmoe.cli.study import _control
from atmoe.errors import DataError
from atmoe.study import control
from atmoe.study.control import (
    DOSES,
    _mean_of,
    generated_response,
    monotone,
    sample,
    spearman,
    steering_for,
    study,
    wrong_expert,
)
from atmoe.study.reading import grade, grade_of, whole_sentences


@pytest.fixture
def english(model, monkeypatch):
    """A model that learned from English, and whose gibberish has a grade, whatever its letters."""
    monkeypatch.setattr(model, "info", replace(model.info, language="en"))
    monkeypatch.setattr(control, "grade_of", lambda text: grade(whole_sentences(text)))
    return model


def test_doses_are_shares(model):
    plan = model.route("How is asthma treated?")
    for dose in DOSES:
        by_group = steering_for("task/warn", dose, "group").apply(plan)
        assert torch.allclose(by_group.group_shares[:, 0], torch.tensor(dose))
        assert torch.allclose(
            by_group.expert_shares[:, LAYOUT.expert_index("task/warn")], torch.tensor(1.0)
        )
        by_expert = steering_for("task/warn", dose, "expert").apply(plan)
        assert torch.equal(by_expert.group_shares, plan.group_shares)
        assert torch.allclose(
            by_expert.expert_shares[:, LAYOUT.expert_index("task/warn")], torch.tensor(dose)
        )


def test_statistics():
    assert spearman(DOSES, [1, 2, 3, 4, 5]) == pytest.approx(1) and spearman(
        DOSES, [5, 4, 3, 2, 1]
    ) == pytest.approx(-1)
    assert spearman(DOSES, [1, 2, 3, 5, 4]) == pytest.approx(0.9) and spearman(DOSES, [7] * 5) == 0
    assert monotone([1, 2, 1.9, 4, 5], [0.2] * 4, +1) and not monotone(
        [1, 2, 1.9, 4, 5], [0.05] * 4, +1
    )
    assert monotone([3, 2, 2, 1, 0], [0] * 4, -1)


def test_a_sample_is_even_over_experts_and_of_different_diseases(model):
    chosen = sample(EXAMPLES, "task", 6, 0)
    assert len(chosen) == 6 == len({e.disease for e in chosen})
    assert sorted(e.labels["task"] for e in chosen) == ["define"] * 3 + ["treat"] * 3
    assert chosen == sample(EXAMPLES, "task", 6, 0) != sample(EXAMPLES, "task", 6, 1)
    with pytest.raises(DataError, match="no label in the group|No example has a label"):
        sample(EXAMPLES, "other", 3, 0)


def test_a_wrong_expert_is_scored_at_its_whole_group(model):
    e = EXAMPLES[0]
    plan = model.route(e.prompt)

    def at(name):
        steered = Steering((Override(f"task/{name}", State.FIXED, 1.0),)).apply(plan)
        return float(model.score(e.prompt, e.answer, [steered]).mean())

    right = at(e.labels["task"])
    others = [at(x) for x in ("define", "treat", "warn") if x != e.labels["task"]]
    found = wrong_expert(model, [e], "task")
    assert found["pairs"] == 2 and found["prompts"] == 1
    assert found["worse_than_right"] == sum(x < right for x in others) / 2
    assert found["mean_worse_than_right"] == float(sum(others) / 2 < right)


def test_of_two_needs_neither_expert_is_a_wrong_one(model, english):
    two = [replace(e, also={"task": "warn"}) for e in EXAMPLES if e.labels["task"] != "warn"]
    found = wrong_expert(model, two[:2], "task")
    assert found["pairs"] == found["prompts"] == 2  # of three experts one is wrong
    sampling = Sampling(max_new_tokens=3)
    assert "task" not in study(english, two, "reader", "lay", "expert", 2, 0, sampling)["groups"]


def test_a_dose_of_several_answers_is_their_mean(english):
    """One answer a seed; the reading grade of each, then the mean."""
    model = english
    chosen, sampling = EXAMPLES[:2], Sampling(8, 1.5, seed=3)
    several = generated_response(model, chosen, "reader/lay", "group", sampling, 2, answers=2)
    alone = [
        generated_response(model, chosen, "reader/lay", "group", Sampling(8, 1.5, seed=seed), 1)
        for seed in (3, 4)
    ]
    for name, values in several.items():
        assert torch.allclose(
            torch.tensor(values), torch.tensor([one[name] for one in alone]).mean(0)
        )
    assert alone[0] != alone[1]


def test_the_whole_study(english):
    seen, model = [], english
    report = study(
        model,
        EXAMPLES,
        "reader",
        "lay",
        "expert",
        count=4,
        sampling=Sampling(max_new_tokens=6),
        batch=3,
        progress=lambda part: seen.append(sorted(part["groups"])),
    )
    assert report["prompts"] == 4
    assert set(report["groups"]) == {"task", "field", "reader"} and set(report["wrong"]) == {"task"}
    assert set(report["groups"]["field"]) == {
        "group"
    }  # its only expert has no share to be given inside it
    e = sample(EXAMPLES, "task", 4, 0)
    plans = [
        steering_for(f"task/{x.labels['task']}", 0.25, "group").apply(model.route(x.prompt))
        for x in e
    ]
    mean = sum(float(model.score(x.prompt, x.answer, [p]).mean()) for x, p in zip(e, plans)) / 4
    assert report["groups"]["task"]["group"]["mean"][1] == pytest.approx(mean, abs=1e-4)
    for dose in ("group:lay", "expert:lay", "group:expert", "expert:expert"):
        assert len(report["groups"]["reader"][dose]["grade"]["mean"]) == len(DOSES)
    assert (
        set(report["contrast"]) == {"group", "expert"}
        and 0 <= report["contrast"]["group"]["lay_reads_easier"] <= 1
    )
    assert seen[-1] == ["field", "reader", "task"] and report["seconds"] > 0


def test_prompts_are_those_that_there_were(english):
    report = study(english, EXAMPLES[:3], "reader", "lay", "expert", 40, 0, Sampling(3))
    assert report["prompts"] == 3 == report["groups"]["task"]["group"]["prompts"]


@pytest.mark.parametrize("language", ["de", ""])
def test_how_an_answer_reads_is_measured_in_english_alone(model, monkeypatch, language):
    monkeypatch.setattr(model, "info", replace(model.info, language=language))
    with pytest.raises(DataError, match=f"is {repr(language) if language else 'not said'}, and"):
        study(model, EXAMPLES, "reader", "lay", "expert")
    # a group that is one by default is measured by its references instead
    monkeypatch.setattr("atmoe.study.control.TEXT_GROUP", "reader")
    report = study(model, EXAMPLES[:2], None, "lay", "expert", 2)
    assert "mean" in report["groups"]["reader"]["group"] and "contrast" not in report


def test_a_prompt_answered_with_nothing_to_grade_is_in_no_curve(english, monkeypatch):
    grades = [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, None, 3.0, 4.0, None], [5.0, 4.0, 3.0, 2.0, 0.5]]
    person = [[0.0] * 5, [0.3] * 5, [0.1] * 5]
    values = {"grade": grades, "second_person": person}
    monkeypatch.setattr("atmoe.study.control.generated_response", lambda *of: values)
    report = study(english, EXAMPLES[:3], "reader", "lay", "expert", 3)
    told = report["groups"]["reader"]["group:lay"]
    assert told["grade"]["prompts"] == told["second_person"]["prompts"] == 2
    assert told["grade"]["mean"] == [3.0, 3.0, 3.0, 3.0, 2.75]
    assert told["second_person"]["mean"] == pytest.approx([0.05] * 5)
    assert report["contrast"]["group"]["prompts"] == 2
    assert report["contrast"]["group"]["median_grade_lay"] == 2.75
    values["grade"] = [[None] * 5] * 3
    report = study(english, EXAMPLES[:3], "reader", "lay", "expert", 3)
    assert report["groups"]["reader"] == {} == report["contrast"]
    assert any("reader: no prompt" in line for line in _control(report, "lay", "expert"))


def test_an_answer_without_latin_letters_has_no_grade():
    assert _mean_of(grade_of, ["", "Как лечат астму?"]) is None
    assert _mean_of(grade_of, ["", "Take a pill."]) == grade_of("Take a pill.")


def test_a_model_without_an_audience_is_measured_by_its_references_alone(model, english):
    assert set(study(model, EXAMPLES[:2], count=2)["groups"]) == {"task", "field", "reader"}
    with pytest.raises(DataError, match="no group 'raeder'.*task, field, reader"):
        study(model, EXAMPLES, "raeder")
    with pytest.raises(DataError, match="no expert 'lya'.*lay, expert"):
        study(english, EXAMPLES, "reader", "lya", "expert")
