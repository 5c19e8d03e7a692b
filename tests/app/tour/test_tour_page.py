"""The guided minute in a real browser."""

import pytest
from browser import Tab, visit

from app.tour.area import STEPS
from atmoe.presentation import Page

expect = pytest.importorskip("playwright.sync_api").expect

SAID = [words.format(ask=Page().ask) for _, _, words in STEPS]
"""The steps' words on the page of a model that says nothing of its page."""
SIZES = [(1400, 900), (1920, 1080), (400, 800)]


def card(tab: Tab):
    return tab.page.get_by_role("dialog", name="Tour, step")


def press(tab: Tab, name: str) -> None:
    card(tab).get_by_role("button", name=name, exact=True).click()


def seen(tab: Tab, selector: str) -> dict:
    """The part of a box that is in sight."""
    return tab.page.evaluate(
        """(selector) => { const r = document.querySelector(selector).getBoundingClientRect();
        return { left: Math.max(r.left, 0), right: Math.min(r.right, innerWidth),
                 top: Math.max(r.top, 0), bottom: Math.min(r.bottom, innerHeight) }; }""",
        selector,
    )


def settled(tab: Tab) -> int:
    """How tall the page is, once that is the same for half a second."""
    return tab.page.evaluate(
        """async () => { const tall = () => document.documentElement.scrollHeight;
        for (let before = -1, now = tall(); now !== before; now = tall()) {
            before = now; await new Promise((done) => setTimeout(done, 500)); }
        return tall(); }"""
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_four_steps_stand_beside_what_they_speak_of_and_move_nothing(
    browser, served, width, height
):
    with visit(browser, served, width=width, height=height, tour=True) as tab:
        expect(card(tab)).to_be_visible()
        # Whatever comes as the page opens is there once nothing has moved for a while.
        tall = settled(tab)
        for number, ((anchor, title, _), words) in enumerate(zip(STEPS, SAID, strict=True), 1):
            expect(card(tab)).to_have_accessible_name(f"Tour, step {number} of 4: {title}")
            expect(card(tab)).to_contain_text(words)
            # The ring is around what it speaks of, soon after that has its size.
            tab.page.wait_for_function(
                """(anchor) => { const [about, ring] = [anchor, ".tour-ring"].map(
                    (which) => document.querySelector(which).getBoundingClientRect());
                const sheet = document.querySelector("#steer"), over = anchor !== "#steer"
                    && getComputedStyle(sheet).position === "fixed";
                const floor = over ? sheet.getBoundingClientRect().top : innerHeight;
                return Math.abs(Math.max(about.top, 0) - ring.top) <= 1
                    && Math.abs(Math.max(about.left, 0) - ring.left) <= 1
                    && Math.abs(Math.min(about.bottom, floor) - ring.bottom) <= 1
                    && Math.abs(Math.min(about.right, innerWidth) - ring.right) <= 1; }""",
                arg=f"#{anchor}",
            )
            about, over = seen(tab, f"#{anchor}"), seen(tab, ".tour-card")
            assert about["right"] - about["left"] > 100 and about["bottom"] - about["top"] > 30, (
                anchor
            )
            apart = (
                over["right"] <= about["left"]
                or about["right"] <= over["left"]
                or over["bottom"] <= about["top"]
                or about["bottom"] <= over["top"]
            )
            assert apart, (anchor, about, over)
            # The whole card is in sight.
            box = card(tab).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            assert box["y"] >= 0 and box["y"] + box["height"] <= height
            assert tab.page.evaluate("document.documentElement.scrollHeight") == tall
            press(tab, "Done" if number == len(STEPS) else "Next")
        expect(card(tab)).to_have_count(0)
        expect(tab.page.locator(".tour-ring")).to_have_count(0)


def test_on_a_phone_the_last_step_lies_above_the_sheet_of_levers(browser, served):
    with visit(browser, served, width=400, height=800, tour=True) as tab:
        for _ in STEPS[1:]:
            press(tab, "Next")
        expect(card(tab)).to_contain_text(SAID[-1])
        tab.page.wait_for_function(
            """() => { const [tabs, sheet] = ["#tabs", "#steer"].map(
                (which) => document.querySelector(which).getBoundingClientRect());
            return sheet.top - tabs.top >= Math.min(tabs.height, 100) - 1; }"""
        )


def test_once_closed_it_does_not_come_again_but_for_the_button(browser, served):
    with visit(browser, served, tour=True) as tab:
        expect(card(tab)).to_be_visible()
        press(tab, "Skip")
        expect(card(tab)).to_have_count(0)
        tab.page.reload()
        expect(tab.question).to_be_visible()
        # Whatever comes as the page opens has come once the button is heard.
        expect(tab.page.locator("#tour-button")).to_have_attribute("aria-haspopup", "dialog")
        expect(card(tab)).to_have_count(0)
        tab.page.locator("#tour-button").click()
        expect(card(tab)).to_contain_text(SAID[0])


def test_escape_closes_it_wherever_one_is_and_the_focus_goes_back(browser, served):
    with visit(browser, served, tour=True) as tab:
        expect(card(tab).get_by_role("button", name="Next")).to_be_focused()
        tab.page.keyboard.press("Escape")
        expect(card(tab)).to_have_count(0)
        expect(tab.question).to_be_focused()
        button = tab.page.locator("#tour-button")
        button.focus()
        tab.page.keyboard.press("Enter")
        expect(card(tab).get_by_role("button", name="Next")).to_be_focused()
        tab.page.keyboard.press("Escape")
        expect(button).to_be_focused()


def test_by_keyboard_back_and_forth_and_the_page_stays_in_use(browser, served):
    with visit(browser, served, tour=True) as tab:
        back = card(tab).get_by_role("button", name="Back")
        expect(back).to_be_disabled()
        tab.page.keyboard.press("Enter")
        expect(card(tab)).to_contain_text(SAID[1])
        tab.page.keyboard.press("Shift+Tab")
        expect(back).to_be_focused()
        tab.page.keyboard.press("Enter")
        expect(card(tab)).to_contain_text(SAID[0])
        tab.ask()  # with the card open
        expect(card(tab)).to_contain_text(SAID[0])
        tab.question.press("Escape")
        expect(card(tab)).to_have_count(0)
        expect(tab.question).to_be_focused()


def test_without_storage_it_is_shown_once_a_visit(browser, served):
    with visit(browser, served, tour=True) as tab:
        tab.context.add_init_script(
            """Object.defineProperty(window, "localStorage",
                { get() { throw new DOMException("forbidden", "SecurityError"); } })"""
        )
        tab.page.reload()
        expect(card(tab)).to_be_visible()
        press(tab, "Skip")
        expect(card(tab)).to_have_count(0)


def test_all_other_tests_never_see_it(tab):
    expect(tab.page.locator("#settings-button")).to_have_attribute("aria-expanded", "false")
    expect(card(tab)).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_while_it_is_open(browser, served, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visit(browser, served, tour=True, color_scheme=scheme) as tab:
        expect(card(tab)).to_be_visible()
        found = axe.Axe().run(tab.page, context={"include": [[".tour-card"], ["#header"]]})
        serious = [
            v for v in found.response["violations"] if v["impact"] in ("serious", "critical")
        ]
        assert not serious
