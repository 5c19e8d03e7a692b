"""The menu of cases in a real browser."""

import pytest
from browser import ENDED, TOKENS, visit
from conftest import PAGE

from app.cases import Case
from app.launch import launching
from app.page import build
from app.view import sampling_of

expect = pytest.importorskip("playwright.sync_api").expect

CASES = (
    Case("Gout", "What causes gout, {{in}} ${two} words?", "names uric acid", ("uric",)),
    Case("Asthma", "How is asthma treated?", "names a steroid", ("steroid",)),
    Case("Plague", "How is plague treated?", "invents a drug", ("mycin",), failure=True),
)


@pytest.fixture(scope="module")
def with_cases(worlds):
    """(address, model) of a page that offers the cases."""
    model = worlds(PAGE).build(scripts=("LATIN",))
    demo = build(model, cases=CASES)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    yield address, model
    demo.close()


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 800)])
def test_a_case_is_asked_at_once_and_the_list_lies_over_the_page(
    browser, with_cases, width, height
):
    with visit(browser, with_cases, width=width, height=height) as tab:
        tab.tokens(TOKENS)
        menu, button = tab.page.locator("#cases-menu"), tab.page.locator("#cases-button")
        expect(menu).to_be_hidden()
        before = tab.page.locator("#first").bounding_box()
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        assert tab.page.locator("#first").bounding_box() == before
        box = menu.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] >= 0 and box["y"] + box["height"] <= height
        expect(menu.locator("h3")).to_have_text(["Acceptable answers", "Honest failures"])
        expect(menu).to_contain_text("An honest failure: it invents a drug.")
        menu.get_by_role("button", name="Gout").click()
        expect(menu).to_be_hidden()
        expect(tab.question).to_have_value(CASES[0].question)
        expect(tab.first_facts).to_contain_text(ENDED)
        asked = tab.model.answer(CASES[0].question, sampling=sampling_of(TOKENS, 0, 0)).answer
        assert " ".join(tab.first.inner_text().split()) == " ".join(asked.split())
        # a model that learned nothing: its answer is not what was checked
        expect(tab.first_facts).to_contain_text("its answer names uric acid. That does not hold")


def test_it_opens_and_closes_by_keyboard(browser, with_cases):
    with visit(browser, with_cases) as tab:
        button, menu = tab.page.locator("#cases-button"), tab.page.locator("#cases-menu")
        button.focus()
        tab.page.keyboard.press("Enter")
        expect(menu).to_be_visible()
        tab.page.keyboard.press("ArrowDown")
        expect(menu.get_by_role("button").first).to_be_focused()
        tab.page.keyboard.press("ArrowDown")
        expect(menu.get_by_role("button", name="Asthma")).to_be_focused()
        tab.page.keyboard.press("Escape")
        expect(menu).to_be_hidden()
        expect(button).to_be_focused()
        button.click()
        tab.page.locator("#title").click()
        expect(menu).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_while_it_is_open(browser, with_cases, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visit(browser, with_cases, color_scheme=scheme) as tab:
        tab.page.locator("#cases-button").click()
        found = axe.Axe().run(tab.page, context={"include": [["#cases"]]})
        serious = [
            v for v in found.response["violations"] if v["impact"] in ("serious", "critical")
        ]
        assert not serious


def test_a_model_without_cases_offers_none(tab):
    expect(tab.page.locator("#cases-button")).to_have_count(0)
