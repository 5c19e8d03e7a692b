"""The tab "Why this answer" over the model that is shipped: the test that says most of it."""

import pytest
import test_why_page
from conftest import ASSETS

from app.page import LAUNCH, build

test_why = (
    test_why_page.test_an_answer_is_explained_by_itself_in_a_sentence_of_what_the_record_holds
)


@pytest.fixture(scope="module")
def served(medical):
    """(address, model) of the page over the shipped model, in place of the tiny one."""
    demo = build(medical, ASSETS / "reports")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    yield address, medical
    demo.close()
