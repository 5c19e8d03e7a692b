"""What the tour says."""

import re

from app.tour.area import CASES, STEPS


def test_four_short_steps_in_the_words_of_the_page():
    assert [title for _, title, _ in STEPS] == ["Ask", "Read", "Steer", "Why"]
    assert [anchor for anchor, _, _ in STEPS] == ["question", "first", "steer", "tabs"]
    for _, _, words in STEPS:
        assert len((words + CASES).split()) <= 45
        assert not re.search(r"importan|caus|because", words, re.IGNORECASE)
