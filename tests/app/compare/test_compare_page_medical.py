"""Two answers compared over the model that is shipped; all other tests use a tiny one."""

import pytest
import test_compare_page
from conftest import ASSETS

from app.page import LAUNCH, build

test_compare = test_compare_page.test_both_answers_are_compared_once_they_have_ended


@pytest.fixture(scope="module")
def served(medical):
    """(address, model) of the page over the shipped model, in place of the tiny one."""
    demo = build(medical, ASSETS / "reports")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    yield address, medical
    demo.close()
