"""Two answers and a third in a real browser: the difference in words, by sentence, in numbers."""

import re
import time

import pytest
from browser import QUESTION, TOKENS, Tab, bar, choose, drag, expected, flat, third

from app.compare.difference import differences
from app.compare.sentences import aligned
from app.compare.summary import summary
from app.compare.words import BESIDE, SIGNS
from app.markup import passage
from app.view import sampling_of
from atmoe import Override, Record, State, Steering
from atmoe.answer.batching import Batching
from atmoe.explanation.compare import compare
from atmoe.steering.random_steer import size
from atmoe.steering.reference import Beside, plan_beside
from atmoe.study.reading import word_count

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect


def test_both_answers_are_compared_once_they_have_ended(tab):
    group = tab.layout.group_names[0]
    comparison, difference = tab.page.locator("#comparison"), tab.page.locator("#difference")
    expect(comparison).to_contain_text("Once both answers have ended")
    tab.ask()
    expect(tab.page.locator("#comparison table")).to_have_count(0)
    tab.press(group, "End")
    records = [
        tab.model.answer(QUESTION, steering, sampling_of(TOKENS, 0, 0))
        for steering in (Steering(), Steering((Override(group, State.FIXED, 1.0),)))
    ]
    measured = compare(tab.model, *records)
    rows = comparison.locator("tbody tr")
    expect(rows).to_have_count(2)
    for row, logp in zip(rows.all(), measured.logp):
        for mean in logp or ():
            expect(row).to_contain_text(f"{mean:.2f}".replace("-", "−"))
    expect(comparison).to_contain_text(f"They part at token {measured.parting.index + 1}")
    for place, record, spans in zip(
        (tab.first, tab.second), records, differences(*(r.answer for r in records))
    ):
        assert flat(place.inner_text()) == flat(record.answer)
        assert [flat(mark) for mark in place.locator("mark").all_inner_texts()] == [
            flat(part) for part, differs in spans if differs
        ]
    expect(difference).to_have_text(summary(*records, tab.model.info.language).replace("*", ""))
    columns = zip(*aligned(*(record.answer for record in records)))
    tab.open("Compare")
    expect(tab.page.locator("#sentences table")).to_be_visible()
    for nth, side in enumerate(columns, 1):
        cells = tab.page.locator(f"#sentences tbody td:nth-child({nth})").all_inner_texts()
        assert [flat(cell) for cell in cells] == [
            flat(f"{SIGNS[cell.kind]} {cell.text}") if cell else "" for cell in side
        ]
    tab.page.get_by_role("button", name="Reset all").click()
    expect(comparison).to_contain_text("Once both answers have ended")
    expect(difference).to_have_text("")
    expect(tab.page.locator("#sentences table")).to_have_count(0)
    expect(tab.page.locator("#first mark")).to_have_count(0)


def under(tab: Tab, plan) -> Record:
    """What the library answers under a plan, alone."""
    sampling = sampling_of(TOKENS, 0, 0)
    generation = tab.model.generate([QUESTION], [plan], sampling)
    *_, step = generation
    return Record.of(tab.model, QUESTION, Steering(), tab.model.route(QUESTION), generation, step)


def test_a_third_answer_stands_beside_and_goes_stale_with_what_it_was_made_of(tab):
    group, router_plan, page = tab.layout.group_names[0], tab.model.route(QUESTION), tab.page
    rows, place = page.locator("#comparison tbody tr"), page.locator("#third .passage")
    tab.open("Compare")
    expect(page.get_by_role("button", name="Answer with this too")).to_be_disabled()
    tab.ask()
    base = under(tab, plan_beside(Beside.BASE, router_plan, Steering(), 0))
    assert flat(third(tab, Beside.BASE)) == flat(base.answer)  # beside the router's answer alone
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("Base model, all experts off")
    choose(tab, "A third answer", BESIDE[Beside.RANDOM].name)
    page.get_by_role("button", name="Answer with this too").click()
    expect(tab.message).to_contain_text(
        "Nothing is steered, so a random steer of the same size would be the router's own plan."
    )
    assert flat(place.inner_text()) == flat(base.answer)
    tab.press(group, "End")
    tab.steered()
    expect(rows).to_have_count(3)  # the base model's answer is no other one for it
    steering = Steering((Override(group, State.FIXED, 1.0),))
    drawn = plan_beside(Beside.RANDOM, router_plan, steering, 0)
    random = under(tab, drawn)
    assert flat(third(tab, Beside.RANDOM)) == flat(random.answer)
    expect(page.locator("#third-facts")).to_contain_text(
        f"{100 * float(size(router_plan, drawn).mean()):.0f}% on average over the layers"
    )
    expect(rows.last).to_contain_text("Random steer of the same size")
    records = [
        tab.model.answer(QUESTION, s, sampling_of(TOKENS, 0, 0)) for s in (Steering(), steering)
    ] + [random]
    for row, record, logp in zip(rows.all(), records, compare(tab.model, *records).logp):
        expect(row.locator("td").first).to_have_text(str(word_count(record.answer)))
        for i, mean in enumerate(logp or ()):
            expect(row.locator("td").nth(3 + i)).to_have_text(f"{mean:.2f}".replace("-", "−"))
    tab.press(group, "ArrowLeft")
    expect(place).to_contain_text(
        "Your steering has changed, and so would a random steer of its size"
    )
    expect(rows).to_have_count(2)
    tab.ask("What causes gout?")
    expect(place).to_have_count(0)


def test_a_third_answer_can_be_stopped(tab, monkeypatch):
    tab.ask(tokens=400)
    step = Batching.step
    monkeypatch.setattr(
        Batching, "step", lambda self: time.sleep(0.2) or step(self)
    )  # a tiny model is done at once, with up to eight guessed tokens a step
    tab.open("Compare")
    choose(tab, "A third answer", BESIDE[Beside.UNIFORM].name)
    tab.page.get_by_role("button", name="Answer with this too").click()
    expect(tab.page.locator("#third-facts")).to_contain_text(re.compile(r"\d tokens"))
    tab.page.get_by_role("button", name="Stop third answer").click()
    expect(tab.page.locator("#third-facts")).to_contain_text("stopped before its end")
    expect(tab.page.locator("#comparison tbody tr")).to_have_count(2)


def test_answers_can_be_copied(tab):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = tab.page.locator("#copy-first")
    expect(button).to_be_disabled()  # nothing to copy yet
    tab.ask()
    expect(button).to_be_visible()
    button.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#copy-first")).to_have_text("Copied")
    assert tab.page.evaluate("navigator.clipboard.readText()") == expected(tab, Steering())
    expect(button).to_have_text("Copy")


def test_nothing_moves_when_the_difference_comes(tab):
    place = tab.page.locator("#difference")
    before = place.bounding_box()
    tab.ask()
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    expect(place).not_to_have_text("")
    after = place.bounding_box()
    assert before["height"] == after["height"] > 20
    # all four stand in one line at 1400 pixels, where an answer has 530
    fits = place.evaluate("""(place) => {
      const line = place.querySelector("p");
      line.textContent =
        "Shorter (157 → 88 words), easier (grade 12 → 8), speaks to you, as a list";
      place.style.width = "530px";
      return line.scrollWidth <= line.clientWidth; }""")
    assert fits


def test_a_switch_marks_the_words_that_differ_without_asking_the_server(tab):
    tab.ask()
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    marks = tab.page.locator("#first mark.differs, #second mark.differs")
    expect(marks.first).to_be_attached()

    def underlined():
        style = "(mark) => getComputedStyle(mark).textDecorationLine"
        return {mark.evaluate(style) for mark in marks.all()}

    tab.open("Compare")
    switch, asked = tab.page.get_by_label("Mark words that differ"), []
    expect(switch).not_to_be_checked()
    assert underlined() == {"none"}
    tab.open("Why")
    expect(tab.page.locator("#why-progress")).to_have_text("Measured.")
    tab.open("Compare")
    tab.page.wait_for_timeout(1500)  # nothing is left that asks by itself
    tab.page.on("request", lambda request: asked.append(request.url))
    switch.check()
    assert underlined() == {"underline"}
    switch.uncheck()
    assert underlined() == {"none"}
    assert not asked


def test_the_marks_stay_where_a_steering_is_refused(tab):
    tab.ask()
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    marks = tab.page.locator("#first mark.differs, #second mark.differs")
    expect(marks.first).to_be_attached()
    count = marks.count()
    tab.open("Weights")
    drag(tab, (1, 0), (1, 1))
    tab.page.get_by_label("share, %", exact=True).fill("50")
    bar(tab, "Fix at this share").click()
    expect(tab.message).to_contain_text("sum to 150%")
    tab.page.wait_for_timeout(1500)  # all that follows a movement has followed
    expect(marks).to_have_count(count)


def test_the_rest_of_the_small_print_lies_over_the_page(tab):
    tab.ask()
    facts = tab.page.locator("#first-facts")
    before = tab.page.evaluate("document.documentElement.scrollHeight")
    height = facts.bounding_box()["height"]
    expect(facts.get_by_text("per second")).to_be_hidden()
    facts.locator("summary").press("Enter")
    expect(facts.get_by_text("per second")).to_be_visible()
    assert facts.bounding_box()["height"] == height
    assert tab.page.evaluate("document.documentElement.scrollHeight") == before


def test_lists_are_shown_as_lists_and_copied_as_they_were_written(tab):
    written = "It includes:\n- <b>rest</b>\n- tea & toast\n\n1. One\n2. Two\n\nThat is all."
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.ask()
    tab.first.evaluate("(place, markup) => (place.outerHTML = markup)", passage(written))
    expect(tab.first.get_by_role("list")).to_have_count(2)
    expect(tab.first.get_by_role("listitem")).to_have_count(4)
    assert flat(tab.first.inner_text()) == flat(written)
    lefts = [item.bounding_box()["y"] for item in tab.first.get_by_role("listitem").all()]
    assert lefts == sorted(set(lefts))
    tab.page.locator("#copy-first").click()
    expect(tab.page.locator("#copy-first")).to_have_text("Copied")
    assert tab.page.evaluate("navigator.clipboard.readText()") == written


def test_three_answers_fit_a_box_that_scrolls_inside(tab):
    tab.ask()
    tab.press(tab.layout.group_names[0], "End")
    tab.steered()
    third(tab, Beside.UNIFORM)
    expect(tab.page.locator("#comparison tbody tr")).to_have_count(3)
    box = tab.page.locator("#compared")
    size = "{width: '1090px', height: '400px', overflow: 'auto'}"
    box.evaluate(f"(box) => Object.assign(box.style, {size})")
    wide = "(part) => part.scrollWidth <= part.clientWidth"
    assert box.evaluate(wide) and tab.page.locator("#comparison .scroll").evaluate(wide)
    top = box.bounding_box()["y"]
    for part in ("#third .passage", "#third-facts", "#sentences thead"):
        seen = tab.page.locator(part).bounding_box()
        assert top <= seen["y"] and seen["y"] + seen["height"] <= top + 400
