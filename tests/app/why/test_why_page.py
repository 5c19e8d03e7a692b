"""The tab "Why this answer" in a real browser: measured by itself, and told in one sentence."""

import json
import math
import re
import time
from threading import Event

import pytest
from browser import WAIT, Tab, choose, flat, visit

from app.markup import marked
from app.why.sentence import sentence
from atmoe.explanation.measure import completing, opening
from atmoe.explanation.value import Explanation
from atmoe.wording import NO_PRAISE

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect


def why(tab: Tab, part: str):
    return tab.page.locator(f"#why-{part}")


def explained(tab: Tab, which: str = "router") -> dict:
    """Wait for the whole explanation, and download the record. → that answer's"""
    tab.open("Why")
    expect(why(tab, "progress")).to_have_text("Measured.")
    until = time.monotonic() + WAIT / 1000
    while time.monotonic() < until:  # its button may follow by a moment
        record = json.loads(tab.downloaded())[which]
        if record["explanation"] and record["explanation"]["smallest_change"] is not None:
            tab.open("Why")
            return record
    raise AssertionError(f"the record of {which} never held the whole explanation")


def unfold(tab: Tab, title: str) -> None:
    """Open what stands behind a title."""
    tab.page.get_by_role("button", name=title).click()


def test_an_answer_is_explained_by_itself_in_a_sentence_of_what_the_record_holds(tab):
    tab.open("Why")
    expect(why(tab, "sentence")).to_contain_text("Once there is an answer")
    for name in ("Explain this answer", "Cancel"):
        expect(tab.page.get_by_role("button", name=name)).to_be_disabled()
    tab.ask()
    record = explained(tab)
    explanation = Explanation.from_dict(record["explanation"])
    said = marked(sentence(explanation))
    assert why(tab, "sentence").locator(".why").evaluate("(p) => p.outerHTML") == said
    expect(why(tab, "sentence")).to_contain_text("Router's answer, as a whole")
    expect(why(tab, "verdict").locator("summary")).to_be_visible()
    expect(why(tab, "verdict").get_by_text(NO_PRAISE)).to_be_visible()
    behind = why(tab, "verdict").locator("p").first
    expect(behind).to_have_text(record["verdict"]["sentence"])
    expect(behind).to_be_hidden()
    why(tab, "verdict").locator("summary").click()
    expect(behind).to_be_visible()
    for unit in (*explanation.of("group"), *explanation.of("expert")):
        row = why(tab, "chart").locator(f'tr[data-unit="{unit.name}"]')
        if unit.kind == "expert" and unit.weight > 0:
            times = round(unit.ratio if unit.effect > 0 else 1 / unit.ratio, 2)
            expect(row).to_contain_text(f"{times:.2f} times" if times > 1 else "as likely")
    expect(why(tab, "chart")).to_contain_text(f"{math.exp(explanation.floor):.3f} times")
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_disabled()


def test_the_numbers_are_there_on_demand(tab):
    tab.ask()
    record = explained(tab)
    expect(why(tab, "grid")).to_be_hidden()
    unfold(tab, "The numbers")
    units = {u["name"]: u for u in record["explanation"]["units"]}
    strongest = max((u for u in units.values() if u["kind"] == "expert"), key=lambda u: u["effect"])
    said = why(tab, "paragraph").inner_text()
    numbers = [float(n) for n in re.findall(r"(\d+\.\d\d) times", said)]
    assert numbers[0] == pytest.approx(max(strongest["ratio"], 1 / strongest["ratio"]), abs=0.006)
    assert strongest["name"].partition("/")[2] in said.partition(".")[0]
    gained = abs(record["explanation"]["logp"] - record["explanation"]["base_logp"])
    assert numbers[-1] == pytest.approx(math.exp(gained), abs=0.006)
    rows = why(tab, "grid").locator("tbody tr")
    expect(rows).to_have_count(len(tab.layout.group_names) + len(tab.layout.expert_names))
    for name in (strongest["name"], tab.layout.group_names[0]):
        expect(why(tab, "grid").locator(f'tr[data-unit="{name}"]')).to_contain_text(
            f"{100 * units[name]['weight']:.1f}%"
        )
    unfold(tab, "The smallest change")
    changes = record["explanation"]["smallest_change"]
    assert len(changes) == len(tab.layout.group_names)
    sentences = {change["to"] is not None and change["after"] for change in changes}
    expect(why(tab, "changes").locator("li")).to_have_count(len(sentences))
    unfold(tab, "From the base model")
    expect(tab.page.locator("#why .js-plotly-plot")).to_be_visible()
    total = sum(record["explanation"]["shapley"].values())
    assert total == pytest.approx(
        record["explanation"]["logp"] - record["explanation"]["base_logp"], abs=1e-4
    )


def test_a_part_can_be_picked_and_its_words_are_marked(tab):
    tab.ask()
    record = explained(tab)
    group = tab.layout.group_names[-1]
    unfold(tab, "Which words")
    tab.page.get_by_label("Part", exact=True).click()
    tab.page.get_by_role("option", name=group, exact=True).click()
    expect(why(tab, "words")).to_contain_text(f" on {group}")
    assert flat(why(tab, "words").locator(".passage").inner_text()) == flat(
        "".join(record["explanation"]["tokens"])
    )


def test_the_part_that_was_picked_stays_picked_as_more_is_measured(tab, monkeypatch):
    more, group = Event(), tab.layout.group_names[-1]

    def held(*args):
        while not more.is_set():
            time.sleep(0.02)
            yield 0.0
        return (yield from completing(*args))

    monkeypatch.setattr("app.why.state.completing", held)
    tab.ask()
    tab.open("Why")
    expect(why(tab, "progress")).to_contain_text("2 of 3")
    unfold(tab, "Which words")
    choose(tab, "Part", group)
    expect(why(tab, "words")).to_contain_text(f" on {group}")
    more.set()
    expect(why(tab, "progress")).to_have_text("Measured.")
    expect(tab.page.get_by_label("Part", exact=True)).to_have_value(group)
    expect(why(tab, "words")).to_contain_text(f" on {group}")


def test_the_steered_answer_takes_the_routers_place_and_the_button_brings_it_back(tab):
    tab.ask(tokens=4)
    explained(tab)
    before = why(tab, "sentence").locator(".why").inner_text()
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    expect(why(tab, "sentence")).to_contain_text("Your answer, as a whole")
    assert explained(tab, "steered")["explanation"]["smallest_change"]
    expect(tab.page.locator("#why").get_by_label("Your answer")).to_be_checked()
    expect(tab.page.get_by_role("button", name="Explain this answer")).to_be_disabled()
    tab.page.locator("#why").get_by_label("Router's answer", exact=True).check()
    expect(why(tab, "sentence")).to_contain_text("Router's answer, as a whole")
    expect(why(tab, "sentence").locator(".why")).to_have_text(before)
    tab.ask(question="What causes gout?", tokens=4)
    assert explained(tab, "steered")["prompt"] == "What causes gout?"


def test_measuring_can_be_cancelled_and_goes_on_from_there(tab, monkeypatch):
    pressed = Event()

    def held(*about):
        steps = opening(*about)
        begun, until = next(steps), time.monotonic() + WAIT / 1000
        while not pressed.is_set() and time.monotonic() < until:
            yield begun  # as a long measuring does; a tiny one would be over before the press
            pressed.wait(0.1)
        return (yield from steps)

    monkeypatch.setattr("app.why.state.opening", held)
    tab.ask(tokens=12)
    tab.open("Why")
    cancel = tab.page.get_by_role("button", name="Cancel")
    expect(why(tab, "progress")).to_contain_text("of 3:")
    cancel.click()
    pressed.set()
    expect(why(tab, "progress")).to_contain_text("Cancelled")
    expect(cancel).to_be_disabled()
    monkeypatch.undo()
    tab.page.get_by_role("button", name="Explain this answer").click()
    assert explained(tab)["explanation"]["smallest_change"]


def test_a_new_question_takes_the_old_explanation_away(tab):
    tab.ask(tokens=4)
    explained(tab)
    tab.tokens(200)
    tab.question.fill("What causes gout?")
    tab.page.keyboard.press("Enter")
    expect(why(tab, "sentence")).to_contain_text("The answer has changed since")
    tab.stop()


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1920, 1080)])
def test_sentence_sign_and_chart_are_seen_without_scrolling(browser, served, width, height):
    with visit(browser, served, width=width, height=height) as tab:
        tab.ask()
        explained(tab)
        place = tab.page.locator("#why").bounding_box()
        parts = (
            why(tab, "sentence").locator(".why"),
            why(tab, "verdict").locator("summary"),
            why(tab, "chart").locator("table"),
        )
        for part in parts:
            box = part.bounding_box()
            assert place["y"] <= box["y"]
            assert box["y"] + box["height"] <= place["y"] + place["height"]
        before = why(tab, "chart").bounding_box()
        for details in ("sentence", "verdict"):
            why(tab, details).locator("summary").click()
            expect(why(tab, details).locator(".popover p").first).to_be_visible()
        assert why(tab, "chart").bounding_box() == before


def test_a_phone_reads_it_without_scrolling_sideways(browser, served):
    with visit(browser, served, width=400, height=800) as tab:
        tab.ask()
        explained(tab)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
        why(tab, "verdict").locator("summary").click()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
