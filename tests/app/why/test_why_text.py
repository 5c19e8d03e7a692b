"""Sentences about an explanation say what was measured and nothing else.

The explanations are made by hand.
"""

import re
from dataclasses import replace

import pytest
from conftest import LAYOUT
from samples import explanation, unmixed

from app.markup import marked
from app.why import words as why_text
from app.why.figure import shapley_figure
from app.why.grid import grid as measures
from atmoe.explanation.spans import Span
from atmoe.explanation.value import Change, Unit
from atmoe.explanation.verdict import ALONE, UNMIXED, verdict
from atmoe.wording import NO_PRAISE, likely


def told(**changed):
    """An explanation of two sentences, "Rest <b>. Call!".

    The units' effects are as in `test_verdict`, token by token.
    """
    found = explanation(**changed)
    tokens, size = ("Rest", " <", "b", ">.", " Call", "!"), 6
    units = tuple(replace(u, token_effects=(u.effect,) * size) for u in found.units)
    return replace(
        found,
        units=units,
        tokens=tokens,
        sentences=(Span(0, 4, "Rest <b>."), Span(4, 6, "Call!")),
        shapley={"task": 0.5, "field": 0.3, "reader": 0.2},
    )


def with_effects(found, name, *effects):
    """The same with one unit's effects, token by token."""
    unit = found.unit(name)
    mean = sum(effects) / len(effects)
    return replace(
        found,
        units=tuple(
            replace(u, effect=mean, token_effects=effects) if u is unit else u for u in found.units
        ),
    )


def test_the_paragraph_names_the_strongest_and_what_does_not_fit():
    said = why_text.paragraph(told(field_heart=(0.3, 0.001)))
    assert said == (
        "Removing the expert *define* would make this answer 1.35 times less likely per token, "
        "more than removing any other expert. Of the groups, *task* mattered most: without it, "
        "1.35 times less likely per token. The expert *heart* received 30% of the weight, but "
        "hardly mattered. All experts together made it 2.72 times more likely per token than the "
        "base model alone."
    )


@pytest.mark.parametrize("weighed", [True, False])
def test_where_no_expert_was_mixed_in_one_sentence_says_so_and_nothing_disagrees(weighed):
    found = unmixed(weighed)
    assert why_text.paragraph(found) == UNMIXED
    sign = why_text.sign(found)
    assert "–</span> Nothing to explain <" in sign and UNMIXED in sign
    assert "disagree" not in sign and "all the weight" not in sign
    assert "⚠" not in measures(found) and "✓" not in measures(found)


@pytest.mark.parametrize(
    ("gained", "said"),
    [
        (0.004, "it is as likely per token as with the base model alone."),
        (-0.1, "made it 1.11 times less likely per token than the base model alone."),
    ],
)
def test_what_all_experts_did_together(gained, said):
    assert why_text.paragraph(told(gained=gained)).endswith(f"ll experts together {said}")


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (0.0, "as likely as before"),
        (0.004, "as likely as before"),
        (-0.004, "as likely as before"),
        (0.1, "1.11 times less likely"),
        (-0.1, "1.11 times more likely"),
        (3.0, "20 times less likely"),
        (9.0, "over 1,000 times less likely"),
    ],
)
def test_an_effect_in_words(effect, words):
    assert likely(effect) == words


def test_where_nothing_mattered_it_says_so():
    quiet = {
        name.replace("/", "_"): (0.1, 0.001) for name in (*LAYOUT.group_names, *LAYOUT.expert_names)
    }
    said = why_text.paragraph(told(**quiet))
    assert (
        said.startswith("Removing any one expert would hardly change this answer")
        and "No group mattered much" in said
    )


def test_the_grid_holds_every_unit_once_and_marks_mismatches_in_words():
    grid = measures(told(field_heart=(0.3, 0.001), reader_expert=(0.02, 0.2)))
    names = re.findall(r'data-unit="([^"]+)"', grid)
    assert sorted(names) == sorted((*LAYOUT.group_names, *LAYOUT.expert_names))
    assert (
        grid.count("⚠ much weight, hardly any effect") == 1
        and grid.count("⚠ little weight, large effect") == 1
    )


def test_each_sentence_carries_the_group_that_cost_it_most_and_is_escaped():
    found = with_effects(told(), "reader", 0, 0, 0, 0, 0.9, 0.9)
    html = why_text.sentence_list(found)
    assert "Rest &lt;b&gt;." in html and "<b>" not in html
    first, second = re.findall(r"<small>(.*?)</small>", html)
    assert first.startswith("task mattered most to this sentence: without it, 1.35 times")
    assert second.startswith("reader mattered most to this sentence: without it, 2.46 times")


def test_what_holds_of_a_sentence_and_what_of_the_answer_are_told_apart():
    found = with_effects(told(), "task", *[0.0] * 6)
    found = with_effects(found, "field", *[0.0] * 6)
    found = with_effects(found, "reader", 0, 0, 0, -0.6, 0.31, 0.31)
    first, second = re.findall(r"<small>(.*?)</small>", why_text.sentence_list(found))
    assert first == "no group mattered much to this sentence"
    assert second.endswith("(strongly here, hardly to the answer as a whole)")


def test_words_are_marked_by_their_tokens_together_and_punctuation_is_not_named():
    found = with_effects(told(), "task", 0.0, 0.5, 0.3, 5.0, 0.8, 0.0)
    html = why_text.words(found, "task")
    assert "“Call” (2.23 times less likely without it)" in html and "“&gt;.”" not in html
    assert (
        '<mark class="strong">Call</mark>' in html
        and '<mark class="light">b</mark>' in html
        and "<b>" not in html
    )
    assert "No word depended on task" in why_text.words(
        with_effects(told(), "task", *[0.05] * 6), "task"
    )


def test_the_smallest_changes_in_words():
    rest = Change("field", 0.3, "Rest now.", 0.2, "Rest later.", 1, " now", " later")
    assert why_text.changes(
        [Change("task", 0.4, "Rest."), Change("reader", 0.3, "Rest.", 0.6, "Sleep.", 0, "R", "S")]
    ) == [
        "With reader at 60% instead of 30% on average, the answer would begin “Sleep.” "
        "(from the first word on).",
        "No change of the first sentence found between 0% and 100% of task (40%).",
    ]
    assert why_text.changes([rest]) == [
        "With field at 20% instead of 30% on average, the answer would begin “Rest later.” "
        "(they part at “now”, which becomes “later”)."
    ]


def test_an_end_and_a_token_without_letters_have_words_of_their_own():
    ended = Change("field", 0.3, "Rest now.", 0.2, "Rest", 1, " now", "")
    assert why_text.changes([ended])[0].endswith("(they part at “now”, which becomes “(end)”).")
    blank = Change("field", 0.3, "Rest. Now.", 0.2, "Rest, now.", 1, " ", ",")
    assert why_text.changes([blank])[0].endswith("(they part at token 2).")


def test_of_a_drawn_answer_they_are_said_to_be_of_the_one_at_temperature_0():
    rest = Change("field", 0.3, "Rest now.", 0.2, "Rest later.", 1, " now", " later")
    assert why_text.changes([rest, Change("task", 0.4, "Rest now.")], drawn=True) == [
        "At temperature 0 the answer would begin “Rest now.”; with field at 20% instead of 30% on "
        "average, “Rest later.” (they part at “now”, which becomes “later”).",
        "No change of the first sentence at temperature 0 found between 0% and 100% of task (40%).",
    ]


def test_changes_to_the_same_sentence_are_one_line_and_the_nearest_is_named_first():
    same = [
        Change("task", 0.4, "Rest.", 0.9, "Sleep.", 0, "Rest", "Sleep"),
        Change("field", 0.3, "Rest.", 0.2, "Sleep.", 0, "Rest", "Sleep"),
        Change("reader", 0.3, "Rest.", 0.6, "Sleep.", 0, "Rest", "Sleep"),
    ]
    [line] = why_text.changes(same)
    assert line.startswith(
        "With field at 20% instead of 30% or reader at 60% instead of 30% or task at 90% instead "
        "of 40% on average, the answer would begin “Sleep.”"
    )
    assert len(why_text.changes([*same[:2], Change("reader", 0.3, "Rest.")])) == 2
    assert len(why_text.changes([Change(g, 0.3, "Rest.") for g in ("task", "field")])) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "●</span> Weights and effects agree <"),
        ({"reader_expert": (0.15, 0.01)}, "◐</span> Weights and effects agree in part <"),
        ({"gained": 0.0}, "○</span> Weights and effects disagree <"),
    ],
)
def test_a_verdict_is_a_sign_with_its_sentence_behind_it(changed, words):
    found = told(**changed)
    html, ruled = why_text.sign(found), verdict(found)
    assert words in html and html.index(words) < html.index(ruled.sentence)
    # open, and not behind it
    assert html.index(NO_PRAISE) < html.index("</summary>") and "✓" not in html


def test_a_group_in_which_one_expert_has_all_the_weight_is_told_beside_the_verdict():
    found = told()
    assert "one expert has all the weight" not in why_text.sign(found)
    group, experts = next((g, own) for g, own in found.layout.groups if len(own) > 1)
    alone = replace(
        found,
        units=tuple(
            replace(u, weight=0.0) if u.name in {f"{group}/{e}" for e in experts[1:]} else u
            for u in found.units
        ),
    )
    assert f"In {group} one expert has all the weight" in why_text.sign(alone)


def test_where_nothing_could_disagree_the_sign_says_so_before_it_is_opened():
    one = {"task_treat": (0.0, 0.0), "task_warn": (0.0, 0.0), "reader_expert": (0.0, 0.0)}
    for changed in (one, one | {"field_heart": (0.3, 0.0)}):
        html = why_text.sign(told(**changed))
        assert html.index(ALONE) < html.index("</summary>")
    for other in (told(), told(**one | {"reader_expert": (0.1, 0.1)}), told(**one, gained=0.0)):
        assert ALONE not in why_text.sign(other)


def test_no_tick_is_given_for_what_could_not_be_otherwise():
    one = {"task_treat": (0.0, 0.0), "task_warn": (0.0, 0.0)}
    assert measures(told()).count("✓ most weight and largest effect") == 2
    assert measures(told(**one)).count("✓ most weight and largest effect") == 1


def test_shapley_numbers_have_room_between_the_bars_and_the_names():
    """A line of 16 px beyond the longest bar, up and down, in the figure's own height."""
    for low, parts in ((-1.677, (0.3, 0.05, 0.05)), (-1.0, (-0.5, -0.2, 0.1)), (0.0, (0, 0, 0))):
        shapley = dict(zip(("task", "field", "reader"), parts))
        found = replace(told(), base_logp=low, logp=low + sum(parts), shapley=shapley)
        figure = shapley_figure(found)
        bars, layout = figure.data[0], figure.layout
        ends = [*bars.base, *(base + height for base, height in zip(bars.base, bars.y))]
        bottom, top = layout.yaxis.range
        height = layout.height - layout.margin.t - layout.margin.b
        room = 16 * (top - bottom) / height
        assert bottom + room <= min(ends) and max(ends) <= top - room


def test_shapley_bars_stand_on_one_another_and_end_at_the_answer():
    found = told(reader=(0.3, 0.0))
    bars = shapley_figure(found).data[0]
    ends = [base + height for base, height in zip(bars.base, bars.y)]
    assert list(bars.base[1:4]) == pytest.approx(ends[:3]) and ends[3] == pytest.approx(
        found.logp
    ) == pytest.approx(bars.y[4])
    said = why_text.shapley(found)
    assert "task +0.500, field +0.300, reader +0.200. The parts add up." in said
    assert (
        "Reader has a bar although its removal hardly matters" in said
        and "Task has a bar" not in said
    )


def test_stars_become_strong_and_the_rest_is_escaped():
    assert marked("*a* < b") == '<p class="why"><strong>a</strong> &lt; b</p>'


def test_units_of_another_kind_have_their_own_table():
    band = Unit("task@late", "band", 0.2, 0.1, 0.3, (0.3,))
    grid = measures(replace(told(), units=(*told().units, band)), bands=True)
    assert (
        re.findall(r'data-unit="([^"]+)"', grid) == ["task@late"]
        and "task in the late layers" in grid
    )
