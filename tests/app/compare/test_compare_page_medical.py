"""Two answers compared over the model that is shipped; all other tests use a tiny one."""

import pytest
import test_compare_page

test_compare = test_compare_page.test_both_answers_are_compared_once_they_have_ended


@pytest.fixture(scope="module")
def served(served_medical):
    """In place of the page over the tiny model."""
    return served_medical
