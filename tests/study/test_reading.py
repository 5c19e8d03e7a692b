"""How a text reads: prose as textstat counts it, lists as counted by hand."""

import pytest
import textstat

from atmoe.data.text import ITEM, count_words
from atmoe.study.reading import (
    are_words,
    grade,
    grade_of,
    items_of,
    length_of,
    second_person,
    sentences_of,
    whole_sentences,
    word_count,
)

PROSE = (
    "Asthma narrows the airways. Yes, it does. There is no cure, but inhaled medicines such as "
    "corticosteroids keep it under control!\n\nWhat can be done? See Dr. Smith at 2.5 miles."
)
LIST = (
    "Signs of an attack include:\n\n- Wheezing\n- Shortness of breath\n1. A cough that is worse at "
    "night. Call your doctor.\n"
)


def test_properties_of_text():
    easy = "You have a cold. Rest at home. Drink your tea."
    hard = (
        "Pharmacological immunomodulation demonstrates considerable heterogeneity across "
        "multinational populations."
    )
    assert grade(easy) < 4 < 12 < grade(hard)
    assert (
        second_person(easy) == pytest.approx(2 / 10)
        and second_person(hard) == 0
        and second_person("") == 0
    )
    assert second_person("Youth, yourselves; YOU.") == pytest.approx(2 / 3)
    assert second_person("- Ask your/yours.") == pytest.approx(1 / 2)
    assert second_person("糖尿病 you you 影响血糖") == pytest.approx(2 / 4)
    assert whole_sentences("One is whole. Two too. Three was cut in") == "One is whole. Two too."
    assert (
        whole_sentences("Only this, cut") == "Only this, cut"
        and whole_sentences("Both. Whole!") == "Both. Whole!"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("It - or so - helps", [True, True, True, True, True, True]),
        (" - rest\n\t2) - tea\n•  sleep 3.", [False, True, False, True, True, False, True, True]),
    ],
)
def test_what_marks_an_item_is_no_word(text, words):
    assert are_words(text) == words
    assert word_count(text) == sum(words) == count_words(ITEM.sub("", text))


def test_prose_is_graded_as_textstat_grades_it():
    assert grade(PROSE) == pytest.approx(textstat.flesch_kincaid_grade(PROSE))
    assert grade("") == 0


@pytest.mark.parametrize(
    "text, words, length",
    [
        ("糖尿病是一种慢性疾病。", None, "11 characters"),
        ("これは糖尿病です。", None, "9 characters"),
        ("โรคเบาหวานเป็นโรคเรื้อรัง", None, "25 characters"),
        ("Это хроническое заболевание.", 3, "3 words"),
        ("당뇨병은 만성 질환입니다.", 3, "3 words"),
    ],
)
def test_what_is_not_in_latin_letters_has_no_grade_and_words_where_spaces_part_them(
    text, words, length
):
    assert grade_of(text) is None and second_person(text) == 0
    assert (word_count(text), length_of(text)) == (words, length)


def test_the_grade_is_of_english_alone():
    german = "Diabetes ist eine chronische Krankheit des Stoffwechsels."
    for language in ("de", ""):  # of a model that says nothing, nobody knows
        assert grade_of(german, language) is None
    mixed = "Both 𝛽-carotene and α-fetoprotein (糖) are seen."
    for text in (PROSE, LIST, mixed):
        assert grade_of(text) == grade(whole_sentences(text)) and length_of(text).endswith("words")
    assert grade_of("12 + 30") is None and word_count("12 + 30") == 3 and word_count("") == 0


def test_items_and_headings_are_sentences():
    """19 words in 5 sentences, counted by hand; the syllables are textstat's, word by word."""
    units = [
        "Signs of an attack include:",
        "Wheezing",
        "Shortness of breath",
        "A cough that is worse at night.",
        "Call your doctor.",
    ]
    assert sentences_of(LIST) == units
    words, syllables = 5 + 1 + 3 + 7 + 3, sum(map(textstat.syllable_count, units))
    assert word_count(LIST) == words
    assert grade(LIST) == pytest.approx(0.39 * words / 5 + 11.8 * syllables / words - 15.59)
    assert items_of(LIST) == 3 and items_of(PROSE) == 0
    assert second_person(LIST) == pytest.approx(1 / 19)


def test_a_list_is_graded_as_its_sentences_with_full_stops():
    bare = "Do this first:\n- Rest in a dark room\n- Drink plenty of water\n- Take your tablets"
    stopped = "Do this first. Rest in a dark room. Drink plenty of water. Take your tablets."
    assert grade(bare) == pytest.approx(textstat.flesch_kincaid_grade(stopped))
    assert grade(bare) == pytest.approx(grade(bare.replace("\n", ".\n").replace(":.", ":") + "."))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The cat sat\non the mat. It slept.", ["The cat sat on the mat.", "It slept."]),
        ("- rest at\n  home\n- drink", ["rest at home", "drink"]),
        ("# Causes\nIt runs in families.", ["Causes", "It runs in families."]),
        ("It is 2-3 cm - or so - long.", ["It is 2-3 cm - or so - long."]),
        ("\n \n", []),
        (
            "This line is broken by nobody knows what after so many words of\nAsthma. So it is.",
            [
                "This line is broken by nobody knows what after so many words of Asthma.",
                "So it is.",
            ],
        ),
    ],
)
def test_where_sentences_end(text, sentences):
    assert sentences_of(text) == sentences


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (
            "They include:\n- fever\n- cough\n- a sore",
            ["They include:", "fever", "cough", "a sore"],
        ),
        ("They include:\n- Fever.\n- Cough.\n- A sore", ["They include:", "Fever.", "Cough."]),
        ("It is mild. They incl", ["It is mild."]),
        ("It is mild.\n\nThey incl", ["It is mild."]),
        ("It is mild.\n- Fever. Then the", ["It is mild.", "Fever."]),
        ("", []),
    ],
)
def test_what_was_cut_is_left_out_and_the_last_item_is_not(text, whole):
    assert sentences_of(whole_sentences(text)) == whole


def test_leaving_out_what_was_cut_changes_no_other_count():
    for text in (PROSE, LIST):
        assert grade(whole_sentences(text)) == pytest.approx(grade(text))
        assert second_person(whole_sentences(text)) == second_person(text)
