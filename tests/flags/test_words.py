"""Words and statements stand where they are said to stand; forms of one word have one key."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from atmoe.flags.words import content_of, key, statements_of, words_of

TEXTS = st.text(st.sampled_from("ab Cé.?!\n-*1. '’\"\t"), max_size=120)


@given(TEXTS)
def test_words_and_statements_are_what_stands_at_their_place(text):
    for pieces in (list(words_of(text)), statements_of(text)):
        assert all(text[piece.start : piece.end] == piece.text != "" for piece in pieces)
        assert all(one.end <= other.start for one, other in pairwise(pieces))


def test_forms_of_a_word_have_one_key():
    for one, *others in (
        ("infection", "Infections", "INFECTED", "infection's", "infection’s"),
        ("patient", "patients", "patients'", "Patient’s"),
    ):
        assert {key(word.rstrip("'")) for word in others} == {key(one)}
    assert key("hypertension") != key("hypotension")


def test_a_statement_is_a_sentence_or_an_item():
    text = "It has signs:\n- fever (38.5 °C)\n2) a cough. It lasts.\n\nSee Dr. Hall.  Then rest."
    assert [piece.text for piece in statements_of(text)] == [
        "It has signs:",
        "fever (38.5 °C)",
        "a cough.",
        "It lasts.",
        "See Dr. Hall.",
        "Then rest.",
    ]


def test_content_leaves_function_words_out_unless_there_is_nothing_else():
    assert content_of("The fever of the child is 39") == {key("fever"), key("child"), "39"}
    assert content_of("Is it?") == {key("is"), key("it")}
