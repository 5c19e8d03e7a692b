"""The page over the model that is shipped: the tests of the page that say most of it, once more.

All others use a tiny model.
"""

import pytest
import test_page
from browser import visit

expect = pytest.importorskip("playwright.sync_api").expect

test_answer = test_page.test_a_question_is_answered_word_by_word
test_steering = test_page.test_moving_a_slider_gives_a_second_answer_beside_the_first
test_record = test_page.test_an_opened_record_restores_the_page_and_comes_out_identical


@pytest.fixture(scope="module")
def served(served_medical):
    """In place of the page over the tiny model."""
    return served_medical


def test_where_the_router_doubts_the_page_says_so_and_a_click_settles_it(browser, served):
    with visit(browser, served) as tab:
        line = tab.page.locator("#routing-line")
        tab.ask("How is asthma treated?")
        expect(line).to_contain_text("Need: treatment")
        expect(line).not_to_contain_text("in doubt")
        tab.ask("AECOPD, CO2 retainer, what now")
        expect(line).to_contain_text("Field: genetic-rare ⚠ or ")
        expect(line).to_contain_text("cardiopulmonary?")
        expect(line).to_contain_text("⚠ in doubt: click another in its row of shares")
        tab.page.get_by_role("button", name="cardiopulmonary").first.click()
        tab.steered()
        expect(tab.page.locator("#badge")).to_contain_text("1 change")
        expect(line).not_to_contain_text("⚠")


def test_a_line_that_wraps_takes_from_the_answers_and_no_axis_is_cut(browser, served):
    with visit(browser, served) as tab:
        line, weights = tab.page.locator("#routing-line"), tab.page.locator("#weights")
        tab.ask("¿Cómo se trata la EPOC en un paciente anciano?", 3)
        expect(line).to_contain_text("The router reads")
        line.locator("p").evaluate("(p) => p.append(' · and so on'.repeat(12))")
        assert line.evaluate("(line) => line.clientHeight") > 30
        assert weights.evaluate("(place) => place.scrollHeight - place.clientHeight") <= 0


def test_an_expert_of_a_group_that_takes_no_part_stands_at_0_until_a_share_calls_it_in(
    browser, served
):
    with visit(browser, served) as tab:
        tab.ask("How is asthma treated?")
        tab.experts("audience")
        patient, group = tab.share("audience/patient"), tab.share("audience")
        expect(patient).to_have_value("0")
        patient.press("ArrowRight")
        expect(patient).to_have_value("1")
        expect(group).to_have_value("33")
        note = tab.page.locator('.target[data-target="audience/patient"] .note')
        expect(note).to_have_text(
            "Its group takes no part by the router; a share calls it in · 1% in force"
        )
        tab.steered()
