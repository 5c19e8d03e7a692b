"""Whether a question is told to be in another language, on 120 questions written for this test."""

import json
from pathlib import Path

import pytest

from app.language import NAMES, note, reads_as

QUESTIONS = json.loads(Path(__file__).with_name("language_questions.json").read_text("utf-8"))
ENGLISH = QUESTIONS["en"]
OTHERS = [(lang, text) for lang, texts in QUESTIONS.items() if lang != "en" for text in texts]


def test_there_are_sixty_of_each_and_ten_other_languages():
    assert len(set(ENGLISH)) == 60 and len(set(OTHERS)) == 60 and len(QUESTIONS) == 11


@pytest.mark.parametrize("text", ENGLISH)
def test_no_english_question_is_taken_for_another_language(text):
    assert note(text, "en") == ""


def test_most_questions_in_other_languages_are_told_and_named():
    found = [(lang, reads_as(text)) for lang, text in OTHERS]
    assert sum(other not in ("", "en") for _, other in found) >= 50
    assert sum(lang == other for lang, other in found) >= 49


def test_every_language_is_told_in_most_of_its_questions_or_in_half():
    for lang, texts in QUESTIONS.items():
        if lang != "en":
            assert sum(reads_as(text) == lang for text in texts) >= 3, lang


@pytest.mark.parametrize(
    "text",
    [
        "What causes Cri du chat syndrome ?",
        "What causes Juvenile retinoschisis ?",
        "How to diagnose Bile Duct Cancer (Cholangiocarcinoma) ?",
        "WHAT IS GOUT",
    ],
)
def test_a_question_that_begins_in_english_is_english_whatever_it_names(text):
    assert note(text, "en") == ""


def test_the_sentence_names_both_languages():
    assert note("¿Cómo se trata el asma?", "en") == (
        "This reads as Spanish; the model learned from English alone, so its answer is likely "
        "wrong."
    )
    assert note("What are the symptoms of asthma?", "fr") == (
        "This reads as English; the model learned from French alone, so its answer is likely wrong."
    )


def test_a_model_that_states_no_language_says_nothing():
    assert note("¿Cómo se trata el asma?", "") == ""


def test_other_scripts_line_breaks_and_next_to_nothing():
    assert reads_as("喘息はどのように\n治療しますか") == "ja"
    assert reads_as("Как лечится астма?") == "ru"
    for text in ("x", "?", "15q11.2", "8q12"):
        assert note(text, "en") == ""
    assert all(len(code) == 2 for code in NAMES)
