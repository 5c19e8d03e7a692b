"""What a planner reads of letters."""

from __future__ import annotations

import math

import pytest
import torch

from atmoe.routing.spelling import Spelling, pieces_of

MANY = 2**20
"""So many numbers that no two pieces of these tests share one."""


@pytest.fixture
def spelling() -> Spelling:
    torch.manual_seed(5)
    made = Spelling(MANY, 3)
    torch.nn.init.normal_(made.weight)
    torch.nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def test_a_word_is_itself_and_its_pieces_of_four_and_five_letters():
    whole = pieces_of(["gout"], MANY)
    assert len(whole) == 6  # _gout_, _gou, gout, out_, _gout, gout_
    assert len(pieces_of(["gouts"], MANY)) == 8 and set(whole) & set(pieces_of(["gouts"], MANY))
    assert pieces_of(["gout", "gout"], MANY) == whole == sorted(whole)
    assert pieces_of([], MANY) == [] and len(pieces_of(["a"], MANY)) == 1


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("Sjögren's SYNDROME?", "sjogren syndrome"),
        ("gout gout, gout", "gout"),
        ("Астма, что делать", "АСТМА что делать"),
    ],
)
def test_case_accents_marks_and_repetition_say_nothing(spelling, one, same):
    assert torch.equal(spelling([one]), spelling([same]))


def test_many_texts_are_each_alone_and_one_without_a_word_says_the_bias(spelling):
    texts = ["gout", "?!", "carcinoma of the colon", "gout and asthma"]
    together = spelling(texts)
    for text, row in zip(texts, together):
        assert torch.allclose(spelling([text])[0], row, atol=1e-6)
    assert torch.equal(together[1], spelling.bias)


def test_rarity_is_the_inverse_document_frequency(spelling):
    """As scikit-learn's TfidfVectorizer has it, smoothed."""
    spelling.take_rarity(spelling.numbers(["gout", "gout again", "asthma"]))
    for word, texts in (("gout", 2), ("asthma", 1), ("lupus", 0)):
        for number in pieces_of([word], MANY):
            expected = math.log(4 / (1 + texts)) + 1
            assert float(spelling.rarity[number]) == pytest.approx(expected), word
