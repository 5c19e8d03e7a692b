"""The verdict, at and around each threshold."""

import pytest
import torch
from samples import explanation, unit, unmixed

from atmoe.explanation.verdict import (
    ALONE,
    HARDLY,
    UNMIXED,
    Level,
    Mismatch,
    leaders,
    mismatch,
    plain,
    verdict,
)
from atmoe.many import brief


def test_agreement_in_every_group_explains():
    found = verdict(explanation())
    assert (
        found.level is Level.EXPLAIN
        and not found.mismatches
        and (found.agree, found.groups) == (2, 2)
    )
    assert "removal costs most" in found.sentence


ONE_OF_TASK = {"task_treat": (0.0, 0.0), "task_warn": (0.0, 0.0)}
ONE_OF_EACH = {**ONE_OF_TASK, "reader_expert": (0.0, 0.0)}


def test_where_one_expert_a_group_took_part_the_sentence_speaks_of_no_order():
    found = verdict(explanation(**ONE_OF_EACH))
    assert (found.level, found.agree, found.groups) == (Level.EXPLAIN, 2, 2)
    assert found.sentence == (
        "The weights explain this answer: every group that received much weight has an effect. "
        + ALONE
    )
    # where something could have disagreed, the order is told, and where nothing could
    some = verdict(explanation(**ONE_OF_TASK)).sentence
    assert "removal costs most. In task one expert has all the weight" in some and ALONE not in some
    partly = verdict(explanation(**ONE_OF_EACH, field=(0.3, 0.0), field_heart=(0.3, 0.0)))
    assert partly.level is Level.PARTLY and partly.sentence.endswith(f"hardly mattered. {ALONE}")


def test_an_expert_alone_that_the_answer_is_better_without_is_no_agreement_by_construction():
    against = {"reader_lay": (0.05, -0.001), "reader": (0.05, -0.001)}
    sentence = verdict(explanation(**ONE_OF_EACH | against)).sentence
    assert "in reader, lay received most weight" in sentence
    assert sentence.endswith(
        "In task one expert has all the weight, so there is no order in which "
        "weight and effect could differ."
    )


def test_a_heavy_expert_without_effect_makes_it_partly():
    found = verdict(explanation(reader_expert=(0.15, 0.01)))
    assert found.level is Level.PARTLY
    assert found.mismatches == (("reader/expert", Mismatch.NO_EFFECT),)
    assert (
        found.sentence
        == "The weights explain this answer only partly: expert received 15% of the weight, but "
        "hardly mattered."
    )


def test_another_leader_in_one_of_two_groups_makes_it_partly():
    found = verdict(explanation(task_treat=(0.12, 0.5)))
    assert found.level is Level.PARTLY and found.agree == 1
    assert "define received most weight, but removing treat costs more" in found.sentence


def test_nobody_who_takes_no_part_is_said_to_cost_more():
    alone = {"reader_lay": (0.05, -0.001), "reader_expert": (0.0, 0.0), "reader": (0.05, -0.001)}
    found = verdict(explanation(**alone))
    assert found.level is Level.PARTLY and found.agree == 1
    assert found.sentence.endswith(
        "in reader, lay received most weight, but without it the answer would be no less likely."
    )
    assert brief._measured(explanation(**alone))["costliest"] == {
        "task": "task/define",
        "reader": None,
    }


def test_other_leaders_in_most_groups_do_not_explain():
    found = verdict(explanation(task_treat=(0.12, 0.5), reader_expert=(0.1, 0.4)))
    assert found.level is Level.NOT and found.agree == 0 and "do not explain" in found.sentence


def test_experts_that_hardly_shaped_the_answer_do_not_explain():
    assert "hardly less likely" in verdict(explanation(gained=0.04)).sentence
    assert "more likely" in verdict(explanation(gained=-0.3)).sentence
    assert (
        verdict(explanation(gained=0.04)).level
        is verdict(explanation(gained=-0.3)).level
        is Level.NOT
    )
    assert verdict(explanation(gained=0.06)).level is Level.EXPLAIN


@pytest.mark.parametrize("weighed", [True, False])
def test_where_no_expert_was_mixed_in_there_is_nothing_to_explain(weighed):
    found = verdict(unmixed(weighed))
    assert (found.level, found.sentence) == (Level.NOT, UNMIXED)
    assert not found.mismatches and (found.agree, found.groups) == (0, 0)
    assert brief._measured(unmixed(weighed))["costliest"] == {"task": None, "reader": None}


@pytest.mark.parametrize("layers", range(1, 65))
def test_a_share_of_a_tenth_in_every_layer_is_one_from_a_tenth_on(layers):
    """float32 has the mean of 0.1 over 30 layers as 0.09999999."""
    for share, expected in ((0.1, Mismatch.NO_EFFECT), (0.03, Mismatch.UNSEEN)):
        weight = float(torch.full((layers,), share).mean())
        effect = 0.0 if expected is Mismatch.NO_EFFECT else 1.0
        assert mismatch(unit("task/warn", weight, effect)) is expected


@pytest.mark.parametrize(
    ("weight", "effect", "expected"),
    [
        (0.10, HARDLY - 1e-6, Mismatch.NO_EFFECT),
        (0.10, HARDLY, None),
        (0.099, 0.0, None),
        (0.5, -HARDLY, Mismatch.AGAINST),
        (0.5, -HARDLY + 1e-6, Mismatch.NO_EFFECT),
        (0.03, 0.05, Mismatch.UNSEEN),
        (0.03, 0.049, None),
        (0.031, 0.5, None),
        (0.0, 0.0, None),
    ],
)
def test_mismatches(weight, effect, expected):
    assert mismatch(unit("task/warn", weight, effect)) is expected


def test_an_unseen_expert_is_named_with_its_ratio():
    found = verdict(explanation(task_warn=(0.01, 0.1)))
    assert (
        found.level is Level.PARTLY
        and "warn received 1% of the weight, yet without it the answer would be 1.11 times"
        in found.sentence
    )


def test_leaders_leave_out_groups_of_one():
    assert {g: (h.name, s.name) for g, (h, s) in leaders(explanation()).items()} == {
        "task": ("task/define", "task/define"),
        "reader": ("reader/lay", "reader/lay"),
    }


def test_names_as_they_are_said():
    assert [plain(n) for n in ("task", "task/treat", "task@late")] == [
        "task",
        "treat",
        "task in the late layers",
    ]


def test_a_group_without_weight_neither_agrees_nor_disagrees():
    found = explanation(reader=(0.0, 0.0), reader_lay=(0.0, 0.0), reader_expert=(0.0, 0.0))
    assert set(leaders(found)) == {"task"}
    ruled = verdict(found)
    assert (ruled.agree, ruled.groups, ruled.level) == (1, 1, Level.EXPLAIN)
