"""A page over a model of one's own: its words, and not one of the medical model's."""

import re

import httpx
import pytest
from browser import ENDED, visit
from conftest import PAGE

from app.launch import launching
from app.page import build
from atmoe.presentation import Page

expect = pytest.importorskip("playwright.sync_api").expect

MEDICAL = re.compile(
    r"medic(?!al-)|clinic|patient|disease|doctor|drug|symptom|diagnos|therap|asthma|MedQuAD|PubMed",
    re.IGNORECASE,
)
KITCHEN = Page(
    title="Kitchen “& Co”",
    about="Recipes, and which experts wrote them.",
    warning="Research demo. Nothing here was cooked.",
    ask="Ask for a recipe",
    examples=("How do I bake bread?",),
    presets={"Plain words": {"reader/lay": 100}, "No task": {"task": "off"}},
    notes="**How far to trust it.** Not at all.",
)


@pytest.fixture(scope="module", params=[Page(), KITCHEN], ids=["neutral", "kitchen"])
def own(request, worlds):
    model = worlds(PAGE).build(scripts=("LATIN",), page=request.param)
    demo = build(model)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    yield address, model
    demo.close()


def test_no_medical_word_stands_anywhere_on_it(own):
    address, _ = own
    html = httpx.get(address).text
    found = MEDICAL.search(html)
    assert not found, html[max(0, found.start() - 80) : found.end() + 80]


def test_its_words_stand_where_they_belong(own, browser):
    words = own[1].info.page
    with visit(browser, own, tour=True) as tab:
        assert tab.page.title() == words.title
        header = tab.page.locator("#title")
        expect(header.get_by_role("heading")).to_have_text(words.title)
        expect(header.locator("strong")).to_have_text(["Research demo.", "Often wrong."])
        expect(header.locator(".warning")).to_contain_text(words.warning)
        expect(tab.question).to_have_attribute("placeholder", f"{words.ask}. Enter sends.")
        expect(tab.page.get_by_role("dialog")).to_contain_text(f"{words.ask} and press Enter.")
        tab.page.keyboard.press("Escape")
        for name in words.presets:
            expect(tab.page.get_by_role("button", name=name, exact=True)).to_be_visible()
        expect(tab.page.get_by_role("group", name="Presets", exact=True)).to_have_count(
            int(bool(words.presets))
        )
        tab.open("Help")
        if words.notes:
            expect(tab.page.locator("#how-to-read")).to_contain_text("Not at all.")
        tab.open("Weights")
        assert not MEDICAL.search(tab.page.locator("body").inner_text())


def test_an_example_is_asked_and_nothing_is_claimed_of_it(own, browser):
    _, model = own
    with visit(browser, own) as tab:
        button = tab.page.get_by_role("button", name="▾ examples")
        if not model.info.page.examples:
            expect(button).to_have_count(0)
            return
        button.click()
        expect(tab.page.locator("#cases-menu")).not_to_contain_text("checked")
        tab.page.get_by_role("button", name="How do I bake bread?").click()
        expect(tab.question).to_have_value("How do I bake bread?")
        expect(tab.first_facts).to_contain_text(ENDED)


def test_a_link_to_it_shows_its_own_card(own):
    address, model = own
    reply = httpx.get(address, headers={"accept-encoding": "identity"})
    cards = re.findall(
        r'<meta\s+(?:property|name)="([a-z]+:[a-z]+)"\s+content="([^"]*)"', reply.text
    )
    first = {}
    for name, content in cards:
        first.setdefault(name, content)
    title = model.info.page.title.replace("&", "&amp;")
    assert first["og:title"] == first["twitter:title"] == title
    assert first["og:description"] == first["twitter:description"] == model.info.page.about
    assert "Click to try out" not in reply.text and "header-image" not in reply.text
    assert len(reply.content) == int(reply.headers["content-length"])
    assert httpx.get(f"{address}gradio_api/info").json()  # what is no page goes through as it is
