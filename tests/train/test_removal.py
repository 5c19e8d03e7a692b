"""What examples are worth, by training without them."""

import math
from dataclasses import replace

import pytest
import torch
from sources_examples import EXAMPLES, saved_with_index

from atmoe import AtMoe
from atmoe.data import split
from atmoe.errors import DataError
from atmoe.sources import fitting
from atmoe.train import removal
from atmoe.train.removal import _loss_after, _row


@pytest.fixture(scope="module")
def model(worlds, tmp_path_factory) -> AtMoe:
    folder, _ = saved_with_index(worlds, tmp_path_factory.mktemp("removal"))
    return AtMoe.from_pretrained(folder, base=worlds("llama").directory)


@pytest.fixture
def fresh(model, worlds, tmp_path) -> AtMoe:
    model.save_pretrained(tmp_path)
    return AtMoe.from_pretrained(tmp_path, base=worlds("llama").directory)


def test_who_trains_on_an_answer_loses_least_on_it_and_nothing_stays(fresh):
    rows = [row for e in EXAMPLES if split(e) == "train" and (row := _row(fresh, e))]
    own, others = rows[0], [row for row in rows[1:] if row.answer != rows[0].answer][:6]
    start = [p.detach().clone() for p in fresh.bank.parameters_to_train()]
    with_it = _loss_after(fresh, start, [own] * 6, own, 0)
    assert with_it < _loss_after(fresh, start, others, own, 0)
    assert with_it == _loss_after(fresh, start, [own] * 6, own, 0)


def test_a_study_puts_the_experts_back_and_counts_what_it_lists(model, fresh):
    before = [p.detach().clone() for p in fresh.bank.parameters_to_train()]
    report = removal.study(model, fresh, EXAMPLES, 2)
    after = fresh.bank.parameters_to_train()
    assert all(torch.equal(one, other) for one, other in zip(before, after))
    more = [each["nearest"] - sum(each["others"]) / 2 for each in report["questions"]]
    assert report["worse"] == sum(difference > 0 for difference in more)
    assert math.isclose(report["more"]["mean"], sum(more) / len(more), abs_tol=1e-12)
    assert report["too_few"] == 0 < len(report["questions"])
    own = _row(fresh, replace(EXAMPLES[0], answer="a " * 200))
    assert own is None or len(own.answer) == removal.CUT


def test_a_question_whose_label_has_too_few_examples_is_counted_and_not_trained_for(
    model, fresh, monkeypatch
):
    labels = [e.labels["task"] for e in EXAMPLES if split(e) == "train" and _row(fresh, e)]
    counts = sorted(labels.count(label) for label in set(labels))
    assert counts[0] < counts[-1]
    monkeypatch.setattr(removal, "OTHERS", counts[-1] - removal.NEAREST)
    pools = []
    monkeypatch.setattr(removal, "_loss_after", lambda m, s, pool, *rest: pools.append(pool) or 1.0)
    report = removal.study(model, fresh, EXAMPLES, 30)
    assert report["too_few"] and report["questions"]
    readable = [e for e in fitting.tested(EXAMPLES) if _row(model, e)]
    assert len(report["questions"]) + report["too_few"] == len(readable)
    assert {len(pool) for pool in pools} == {removal.OTHERS} and report["more"]["mean"] == 0
    monkeypatch.setattr(removal, "OTHERS", counts[-1] + removal.NEAREST)
    with pytest.raises(DataError, match="examples of its task"):
        removal.study(model, fresh, EXAMPLES, 30)
