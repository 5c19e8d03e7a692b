"""The page under axe-core, light and dark, wide and on a phone.

Every tab is visited and every control opened. The page follows a change of the colour scheme at
once, so one walk sees both.
"""

import pytest
from browser import Tab, bar, drag, keep, visit

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="the check needs axe-playwright-python"
)
expect = pytest.importorskip("playwright.sync_api").expect

GRADIOS: dict[tuple[str, str], str] = {}
"""(rule, part of the element's markup) → why it stays: Gradio's, which the page cannot reach."""

SETTLED = """(dark) => document.body.classList.contains("dark") === dark
  && !document.getAnimations().some((each) => each instanceof CSSTransition)"""
"""The page has the colours of its scheme; halfway between two of them no contrast is enough."""


def in_both(tab: Tab, where: str) -> list[str]:
    """What is serious or critical on the page as it stands, in either colour scheme."""
    troubles = []
    for scheme in ("dark", "light"):
        tab.page.emulate_media(color_scheme=scheme)
        tab.page.wait_for_function(SETTLED, arg=scheme == "dark")
        troubles += found(tab, f"{where}, {scheme}")
    return troubles


def found(tab: Tab, where: str) -> list[str]:
    """What is serious or critical on the page as it stands."""
    violations = (
        axe.Axe().run(tab.page, options={"resultTypes": ["violations"]}).response["violations"]
    )
    return [
        f"{where}: {v['id']} ({v['impact']}) at {node['target']}: {node['html'][:200]} "
        f"{node['failureSummary'][:300]}"
        for v in violations
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
        if not any(v["id"] == rule and part in node["html"] for rule, part in GRADIOS)
    ]


@pytest.mark.parametrize("width", [1400, 400])
def test_no_serious_violation_anywhere(browser, served, width):
    with visit(browser, served, width=width) as tab:
        page, group = tab.page, tab.layout.group_names[0]
        expect(page.locator(".cell-grid")).to_have_count(2)
        troubles = in_both(tab, "before")
        tab.ask()
        if width < 640:
            page.locator("[data-sheet]").click()
        tab.press(group, "End")
        tab.lock(group).click()
        troubles += in_both(tab, "a group's menu")
        page.keyboard.press("Escape")
        keep(tab, "Mine")
        page.keyboard.press("Escape")
        if width < 640:
            page.locator("[data-sheet]").click()
            page.locator("#thirds [data-cell]").nth(4).click()
        else:
            drag(tab, (1, 1), (1, 2))
        troubles += in_both(tab, "cells picked")
        bar(tab, "Off").click()
        page.keyboard.press("Escape")
        tab.steered()
        page.get_by_role("button", name="Settings").click()
        troubles += in_both(tab, "settings")
        page.keyboard.press("Escape")
        expect(page.locator("#why-progress")).to_have_text("Measured.")
        tab.open("Why")
        for title in page.locator(".on-demand > button").all():
            title.click()
        for title in page.locator("#why-said summary").all():
            title.evaluate("(title) => title.click()")  # on a phone one lies over the other
        troubles += in_both(tab, "steered and explained")
        for name in ("Compare", "Table", "What if", "Many questions", "Keep", "Help"):
            tab.open(name)
            if name == "What if":
                page.get_by_role("button", name="Answer at five shares").click()
                expect(page.locator("#dose-progress")).to_contain_text("Measured.")
                expect(page.locator("#what-if .js-plotly-plot")).to_be_visible()
            if name == "Many questions":
                page.get_by_label("Questions, one a line").fill("How is gout treated?\nGout?")
                page.get_by_role("button", name="Ask them all").click()
                expect(page.locator("#cohort-progress")).to_contain_text("ready:")
                page.get_by_label("Compare 1", exact=True).check()
                page.get_by_label("Compare 2", exact=True).check()
                expect(page.locator("#cohort-pair tbody")).to_be_attached()
            troubles += in_both(tab, name)
        page.get_by_role("button", name="Answer", exact=True).scroll_into_view_if_needed()
        tab.question.fill("")
        page.get_by_role("button", name="Answer", exact=True).click()
        expect(tab.message).to_contain_text("The question is empty")
        troubles += in_both(tab, "with a message")
        page.keyboard.press("Escape")
        tab.question.fill("What causes gout?")
        expect(page.locator("#answer.another")).to_be_attached()
        troubles += in_both(tab, "an old answer")
        page.get_by_role("button", name="Share", exact=True).click()
        expect(page.get_by_role("dialog", name="Share")).to_be_visible()
        troubles += in_both(tab, "the share overlay")
        link = page.get_by_label("Link", exact=True).input_value()
        page.goto(link)
        expect(page.locator("#link-said p").first).to_be_visible()
        troubles += in_both(tab, "a link's bar")
    assert not troubles, "\n".join(dict.fromkeys(troubles))


def test_the_check_sees_what_is_wrong(browser, served):
    with visit(browser, served) as tab:
        share = tab.page.get_by_role("button", name="Share", exact=True)
        share.evaluate("(button) => (button.textContent = '')")
        assert any("button-name" in trouble for trouble in found(tab, "spoilt"))


def test_the_check_sees_what_can_be_read_in_one_scheme_alone(browser, served):
    with visit(browser, served) as tab:
        tab.page.add_style_tag(content="body.dark #title * { color: #222 !important }")
        troubles = in_both(tab, "spoilt")
    assert any("color-contrast" in trouble for trouble in troubles)
    assert all(trouble.startswith("spoilt, dark") for trouble in troubles)
