"""An answer that was stopped at its limit says so where its words end, and holds no word more."""

import pytest
from browser import QUESTION, TOKENS, flat

from app.view import sampling_of

expect = pytest.importorskip("playwright.sync_api").expect

END = """(which) =>
    getComputedStyle(document.querySelector(`#${which} .passage`), "::after").content"""


def test_it_is_told_behind_the_last_word_of_either_answer(tab):
    assert tab.page.evaluate(END, "first") == "none"
    tab.ask()
    expect(tab.first_facts).to_contain_text(f"stopped at the {TOKENS}-token limit")
    assert "cut here" in tab.page.evaluate(END, "first")
    answer = tab.model.answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0)).answer
    assert flat(tab.first.inner_text()) == flat(answer)
    assert tab.page.evaluate(END, "second") == "none"
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    assert "cut here" in tab.page.evaluate(END, "second")
    # while the next is on its way nothing is said of the one before
    tab.tokens(400)
    tab.question.fill("What causes gout?")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_function(f"({END})('first') === 'none'")
