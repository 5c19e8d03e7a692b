"""Pages' text as it was meant: lists with an item a line, no headings, nothing said twice."""

import csv

import pytest

from atmoe.data import mts_dialog
from atmoe.data.text import tidy_lines, without_questions


@pytest.mark.parametrize(
    "page, text",
    [
        # a list that was flattened into its paragraph
        (
            "Signs may include:  - fever  - a dry cough  - chills",
            "Signs may include:\n- fever\n- a dry cough\n- chills",
        ),
        # items a line apart, with another mark, or with none after a colon
        ("It causes:\n\n• pain\n\n• fever", "It causes:\n- pain\n- fever"),
        (
            "It may cause:\npain in the joints\nfever\nDoctors see it often.",
            "It may cause:\n- pain in the joints\n- fever\n\nDoctors see it often.",
        ),
        # a heading that nobody asked for
        ("Causes\nA germ causes it.", "A germ causes it."),
        # one that announces a list stays, as its beginning
        ("Common signs\n- pain\n- fever", "Common signs:\n- pain\n- fever"),
        # the same list without its marks, once more
        (
            "It causes:\n- pain\n- fever\n- chills pain fever",
            "It causes:\n- pain\n- fever\n- chills",
        ),
    ],
)
def test_a_page_is_read_as_it_was_written(page, text):
    assert tidy_lines(page) == text
    assert tidy_lines(text) == text  # and again, it is the same


def test_questions_that_a_text_puts_to_itself_are_gone():
    text = (
        "How might gout be treated? With rest.\n\nWhat else?\n\nWith ice, and is that enough? Yes."
    )
    assert without_questions(text) == "With rest.\n\nWith ice, and is that enough? Yes."


def read(folder, note: str, dialogue: str) -> list[str]:
    """The answers that a corpus of one dialogue gives."""
    (folder / "Main-Dataset").mkdir()
    with (folder / "Main-Dataset" / "a.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ID", "section_header", "section_text", "dialogue"])
        rows.writerow(["1", "ROS", note, dialogue])
    return [example.answer for example in mts_dialog.read(folder, 200)]


SAID = "Doctor: Any fever or chills?\nPatient: No fever. My knee hurts when I climb stairs."


@pytest.mark.parametrize(
    "note, written",
    [
        # what was asked and denied stands, in whatever ending
        ("Patient denies fevers or chills. Knee pain climbing stairs.", True),
        ("Patient denies any muscle weakness or diarrhea. Knee pain climbing stairs.", False),
    ],
)
def test_a_denial_that_nobody_made_is_not_learned(tmp_path, note, written):
    [answer] = read(tmp_path, note, SAID)
    assert ("denies" in answer) == written and answer.endswith("Knee pain climbing stairs.")


def test_of_a_dialogue_that_was_cut_only_what_is_left_is_written(tmp_path):
    talk = "Doctor: What hurts?\nPatient: My left knee hurts.\n"
    talk += "Doctor: Tell me more about it, please, slowly.\n" * mts_dialog.DIALOGUE_WORDS
    note = "Left knee hurts. Mother had diabetes mellitus."
    assert read(tmp_path, note, talk + "Patient: My mother had diabetes mellitus.") == [
        "Left knee hurts."
    ]
