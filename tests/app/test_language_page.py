"""A question in another language: what the page says of it before its answer."""

import pytest
from browser import ENDED, TOKENS, flat, visit
from conftest import PAGE

from app.launch import launching
from app.page import build
from app.view import sampling_of
from atmoe.sources.value import SENTENCES

expect = pytest.importorskip("playwright.sync_api").expect

SPANISH = "¿Cómo se trata el asma?"
SENTENCE = (
    "This reads as Spanish; the model learned from English alone, so its answer is likely wrong."
)


def test_it_is_told_above_both_answers_which_are_given_all_the_same(browser, worlds):
    model = worlds(PAGE).build(scripts=("LATIN",), language="en")
    demo = build(model)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with visit(browser, (address, model)) as tab:
        caution = tab.page.locator("#first-asked .caution")
        tab.ask(SPANISH)
        expect(caution).to_have_text(SENTENCE)
        above, below = caution.bounding_box(), tab.first.bounding_box()
        assert above["y"] + above["height"] <= below["y"] + 1
        assert abs(above["width"] - below["width"]) < 30  # as wide as the answer
        assert not caution.evaluate("(one) => one.scrollHeight > one.clientHeight")
        answer = model.answer(SPANISH, sampling=sampling_of(TOKENS, 0, 0)).answer
        assert flat(tab.first.inner_text()) == flat(answer)
        tab.press(tab.layout.group_names[0], "End")
        expect(tab.page.locator("#second-asked .caution")).to_have_text(SENTENCE)
        expect(tab.second_facts).to_contain_text(ENDED)
        tab.ask()
        expect(caution).to_have_count(0)
        expect(tab.page.locator("#second-asked .caution")).to_have_count(0)
    demo.close()


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1100, 900), (1000, 800), (400, 800)])
def test_all_that_is_to_be_read_before_an_answer_can_be_read(browser, served, width, height):
    """Of the two sentences that there may be, both."""
    with visit(browser, served, width=width, height=height) as tab:
        tab.ask()
        cut = tab.page.locator("#first-asked").evaluate(
            """(place, words) => {
            const said = Object.assign(document.createElement("p"), { className: "caution" });
            said.textContent = words;
            place.querySelector(".of").after(said);
            place.closest(".titled").setAttribute("data-cautioned", "");
            const answer = document.querySelector("#first .passage").getBoundingClientRect();
            return [said.scrollHeight - said.clientHeight,
                    said.getBoundingClientRect().bottom - answer.top]; }""",
            f"{SENTENCE.replace('Spanish', 'Portuguese')} {SENTENCES[0]}",
        )
        assert cut[0] <= 0 and cut[1] <= 1


def test_a_model_that_states_no_language_says_nothing(tab):
    assert tab.model.info.language == ""
    tab.ask(SPANISH)
    expect(tab.page.locator(".caution")).to_have_count(0)
