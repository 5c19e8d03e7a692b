"""The tab "Why this answer" over the model that is shipped: the test that says most of it."""

import pytest
import test_why_page

test_why = (
    test_why_page.test_an_answer_is_explained_by_itself_in_a_sentence_of_what_the_record_holds
)


@pytest.fixture(scope="module")
def served(served_medical):
    """In place of the page over the tiny model."""
    return served_medical
