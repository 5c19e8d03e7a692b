"""The tab "Drafts" in a real browser."""

import json

import pytest
from browser import QUESTION, TOKENS, Tab, flat

from app.view import sampling_of
from atmoe.explanation.drafts import Drafts, drafted
from atmoe.report.words import NO_WORDS, alone

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect


def part(tab: Tab, name: str):
    return tab.page.locator(f"#drafts-{name}")


def seen(text: str) -> str:
    """As HTML holds it, which has no NUL."""
    return flat(text.replace("\0", ""))


def draft(tab: Tab) -> None:
    tab.open("Drafts")
    tab.page.get_by_role("button", name="Draft 5 times").click()
    expect(part(tab, "progress")).to_have_text("Drafted.")


def test_five_drafts_are_those_of_the_library_and_what_they_lack_is_greyed(tab):
    tab.open("Drafts")
    for name in ("Draft 5 times", "Stop drafting"):
        expect(tab.page.get_by_role("button", name=name)).to_be_disabled()
    tab.ask()
    draft(tab)
    answer = tab.model.answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0))
    [made] = drafted(tab.model, [answer])
    texts = part(tab, "texts").locator(".passage")
    assert list(map(seen, texts.all_inner_texts())) == list(map(seen, made.texts))
    mean = made.agreement  # a tiny model's words may be none
    said = NO_WORDS if mean is None else f"Self-agreement {mean:.2f}"
    expect(part(tab, "agreement")).to_contain_text(said)
    few = [s.text for s in made.statements if alone(s)]
    greyed = part(tab, "answer").locator(".greyed")
    assert seen(" ".join(greyed.all_inner_texts())) == seen(" ".join(few))
    record = json.loads(tab.downloaded())
    assert record["drafts"].pop("of") == "router"
    assert Drafts.from_dict(record["drafts"]).texts == made.texts


def test_drafts_of_a_steered_answer_go_with_it(tab):
    tab.ask(tokens=4)
    group = tab.layout.group_names[0]
    tab.press(group, "End")
    tab.steered()
    tab.open("Drafts")
    tab.page.locator("#drafts").get_by_label("Your answer").check()
    draft(tab)
    expect(part(tab, "texts").locator(".passage")).to_have_count(5)
    tab.press(group, "Home")
    tab.steered()
    expect(part(tab, "progress")).to_contain_text("has changed since")
    expect(part(tab, "texts").locator(".passage")).to_have_count(0)
