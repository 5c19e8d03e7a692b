"""The page over the model that is shipped: the tests of the page that say most of it, once more.

All others use a tiny model.
"""

import pytest
import test_page

test_answer = test_page.test_a_question_is_answered_word_by_word
test_steering = test_page.test_moving_a_slider_gives_a_second_answer_beside_the_first
test_record = test_page.test_an_opened_record_restores_the_page_and_comes_out_identical


@pytest.fixture(scope="module")
def served(served_medical):
    """In place of the page over the tiny model."""
    return served_medical
