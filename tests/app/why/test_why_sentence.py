"""The one sentence: short whatever the model, and it never says two things of one part."""

import math
import re
from dataclasses import replace

import pytest
from conftest import LAYOUT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from samples import explanation, unmixed

from app.why.sentence import headline, meanings, sentence
from atmoe import Layout
from atmoe.explanation.value import Explanation, Unit
from atmoe.explanation.verdict import HARDLY, STRONGLY, UNMIXED, Size, size


def measured(groups, effects, floor=None) -> Explanation:
    """An explanation of a model of any groups; effects: name → (weight, effect)."""
    layout = Layout.of(3, groups)
    units = []
    for name in (*layout.group_names, *layout.expert_names):
        weight, effect = effects[name]
        kind = "expert" if "/" in name else "group"
        units.append(Unit(name, kind, weight, 0.1, effect, (effect,)))
    return Explanation(layout, tuple(units), ("a",), (), -1.0, -2.0, None, 1.0, 0.0, None, floor)


effect = st.one_of(
    st.just(0.0),
    st.floats(-2, 2),
    st.sampled_from([HARDLY, -HARDLY, STRONGLY, -STRONGLY, 0.0199, 0.0999]),
)
word = st.text(st.sampled_from("abcdefgh *'-é中"), min_size=1, max_size=40).filter(str.strip)


@st.composite
def explanations(draw, names=None):
    """Of models of any size, with any names and effects."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=7))
    if names is None:
        groups = {f"g{i}": [f"g{i}e{k}" for k in range(n)] for i, n in enumerate(sizes)}
    else:
        titles = draw(st.lists(names, min_size=len(sizes), max_size=len(sizes), unique=True))
        groups = {
            title: draw(st.lists(names, min_size=n, max_size=n, unique=True))
            for title, n in zip(titles, sizes)
        }
    whole = [*groups, *(f"{g}/{e}" for g, experts in groups.items() for e in experts)]
    effects = {}
    for name in whole:
        weight = draw(st.sampled_from([0.0, 0.01, 0.2, 0.6]))
        effects[name] = (weight, draw(effect) if weight else 0.0)
    return measured(groups, effects, draw(st.sampled_from([None, 0.0, 0.01, 0.05])))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(explanations(names=word))
def test_it_has_at_most_25_words_whatever_the_model(found):
    text = sentence(found)
    assert len(text.split()) <= 25
    assert text.endswith(".") and text.count("*") % 2 == 0 and "\n" not in text
    assert text[0] == text[0].upper()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(explanations())
def test_it_never_says_of_one_part_that_it_mattered_and_did_not(found):
    """Read back from the text: names here are told apart by their group."""
    text = sentence(found)
    clauses = re.split(r"[;,] ", text.rstrip("."))
    unimportant, important = set(), set()
    for clause in clauses:
        names = set(re.findall(r"\*(.+?)\*", clause))
        if re.search("hardly mattered", text[text.index(clause) :].split(";")[0]):
            unimportant |= names
        else:
            important |= names
    groups_that_mattered = {re.match(r"g\d+", name).group() for name in important}
    assert not unimportant & groups_that_mattered and not unimportant & important
    least = max(HARDLY, found.floor or 0)
    by_name = {u.plain: u for u in found.units}
    assert all(abs(by_name[name].effect) >= least for name in important)
    assert all(abs(by_name[name].effect) < least for name in unimportant)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(explanations())
def test_the_words_of_size_are_those_of_the_measured_effects(found):
    text = sentence(found)
    shaped = re.search(r"^(.*?) shaped this answer (strongly|somewhat)(?:, (.*?) somewhat)?", text)
    assume(shaped is not None)
    first, what, second = shaped.groups()
    bounds = {"strongly": (STRONGLY, math.inf), "somewhat": (HARDLY, STRONGLY)}
    by_name = {u.plain: u for u in found.units}
    for names, (low, high) in ((first, bounds[what]), (second or "", bounds["somewhat"])):
        for name in re.findall(r"\*(.+?)\*", names):
            assert low <= by_name[name].effect < high


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {},
            "The *define*, *heart*, *lay*, *treat* and 1 other expert shaped this answer strongly.",
        ),
        (
            {"task_treat": (0.12, 0.05), "reader_expert": (0.1, 0.0), "reader_lay": (0.2, 0.01)}
            | {"reader": (0.3, 0.01)},
            "The *define* and *heart* experts shaped this answer strongly, *treat* somewhat; "
            "the *reader* hardly mattered.",
        ),
        (
            {"field_heart": (0.3, -0.2)},
            "it would be likelier without *heart*",
        ),
        (
            {"reader_lay": (0.2, 0.0), "reader_expert": (0.1, 0.0)},
            "the *reader* group",
        ),
    ],
)
def test_what_it_says(changed, said):
    found = explanation(**changed)
    assert said in sentence(found)


def test_one_expert_is_called_one():
    quiet = {n.replace("/", "_"): (0.1, 0.001) for n in (*LAYOUT.group_names, *LAYOUT.expert_names)}
    assert sentence(explanation(**quiet)) == (
        "Each alone, the *task*, *field* and *reader* hardly mattered."
    )
    assert sentence(explanation(**quiet | {"task_treat": (0.2, 0.3)})) == (
        "The *treat* expert shaped this answer strongly; the *field* and *reader* hardly mattered."
    )
    assert sentence(unmixed()) == sentence(unmixed(weighed=False)) == UNMIXED


def test_the_noise_floor_of_an_answer_makes_hardly_of_what_it_reaches():
    quiet = {n.replace("/", "_"): (0.1, 0.03) for n in (*LAYOUT.group_names, *LAYOUT.expert_names)}
    found = explanation(**quiet)
    assert "somewhat" in sentence(found) and "hardly" not in sentence(found)
    loud = replace(found, floor=0.04)
    assert "somewhat" not in sentence(loud) and "hardly" in sentence(loud)
    assert "hardly: less than 1.04 times, the noise floor" in " ".join(meanings(loud))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, Size.HARDLY),
        (HARDLY - 1e-9, Size.HARDLY),
        (HARDLY, Size.SOMEWHAT),
        (-HARDLY, Size.SOMEWHAT),
        (STRONGLY - 1e-9, Size.SOMEWHAT),
        (STRONGLY, Size.STRONGLY),
        (-STRONGLY, Size.STRONGLY),
    ],
)
def test_three_words_have_two_thresholds(value, expected):
    assert size(value) is expected


def test_two_of_one_name_are_told_apart_by_their_groups():
    groups = {"a": ["other"], "b": ["other", "b"]}
    effects = {"a": (0.5, 0.3), "b": (0.5, 0.4), "a/other": (0.5, 0.3), "b/other": (0.2, 0.4)}
    text = sentence(measured(groups, effects | {"b/b": (0.3, 0.05)}))
    assert "*b other* and *a other*" in text.replace("B Other", "b other") and "*b b*" in text


def test_the_headline_says_of_which_answer_and_is_escaped():
    groups = {"a": ["<b>"]}
    html = headline(measured(groups, {"a": (1.0, 0.3), "a/<b>": (1.0, 0.3)}), "Your steering")
    assert "<b>" not in html and "&lt;b&gt;" in html and "Your steering, as a whole" in html
    assert "1.11 times or more" in html and "1.02 times" in html
