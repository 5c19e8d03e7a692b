"""The bounds of the page: what is seen together, how tall it is, and that nothing moves."""

import re
from dataclasses import replace

import pytest
from browser import QUESTION, TOKENS, Tab, drag, expect, expected, flat, listed, visit

from app import sources
from atmoe import Override, State, Steering
from atmoe.prompt.words import check_question
from atmoe.sources.value import Found, Source

PASSAGE = """Asthma is a long-term disease of the airways in the lungs. The airways swell, tighten
and make more mucus than usual, so that it becomes hard to breathe. It cannot be
cured, but most people control it well with two kinds of medicine: one that is
breathed in every day to prevent swelling, and one for quick relief during an attack.
Your doctor will ask about triggers such as dust, smoke, pollen or exercise, and may
measure how much air you can blow out. Call for help at once if relief medicine does
not work."""
"""90 words, as answers have them."""
OLD = ("question", "setting")
"""Why an answer may be old."""
TABS = ("Weights", "Why", "What if", "Compare", "Table", "Keep", "Help")


def box_of(locator) -> dict:
    """Where something stands. Pictures may just be drawn anew: then where it stands after that."""
    while (box := locator.bounding_box()) is None:
        expect(locator).to_be_visible()
    return box


def inside(tab: Tab, locator, width: int, height: int) -> bool:
    box = box_of(locator)
    return (
        box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= width + 0.5
        and box["y"] + box["height"] <= height + 0.5
    )


def overlap(one: dict, other: dict) -> bool:
    return one["y"] + one["height"] > other["y"] and other["y"] + other["height"] > one["y"]


def screens(tab: Tab) -> float:
    """How many windows tall the page is."""
    return tab.page.evaluate("document.documentElement.scrollHeight / innerHeight")


def lead(tab: Tab, expert: str) -> None:
    tab.segment(expert).click()
    tab.steered()


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1920, 1080)])
def test_question_levers_answers_and_weights_are_seen_together(browser, served, width, height):
    with visit(browser, served, width=width, height=height) as tab:
        tab.ask()
        lead(tab, "reader/lay")
        places = [tab.page.locator(f"#{name}") for name in ("question", "first", "second")]
        places += [
            tab.page.locator(f"#{name}-map .nsewdrag").last for name in ("groups", "experts")
        ]
        places += [tab.share(group) for group in tab.layout.group_names]
        places += [tab.segment(expert) for expert in tab.layout.expert_names]
        assert all(inside(tab, place, width, height) for place in places)
        for name, rows in (("groups", 3), ("experts", 6)):
            drawn = tab.page.locator(f"#{name}-map .nsewdrag").all()
            assert sum(box_of(d)["height"] for d in drawn) >= 16 * rows
        assert len(PASSAGE.split()) >= 90
        for answer in (tab.first, tab.second):
            room = answer.evaluate(
                "(place, words) => { place.textContent = words.split(/\\s+/).join(' ');"
                " return place.clientHeight - place.scrollHeight; }",
                PASSAGE,
            )
            assert room >= 0
        for name in TABS:
            tab.open(name)
            assert screens(tab) <= 1.15


def test_nothing_moves(browser, served):
    """Neither when something opens or arrives, nor when it ends, once the page is there."""
    with visit(browser, served) as tab:
        expect(tab.page.locator(".cell-grid")).to_have_count(2)
        tab.page.evaluate(
            """() => { window.moved = 0; new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.moved += entry.value; })
            .observe({ type: "layout-shift" }); }"""
        )
        tab.ask()
        lead(tab, "reader/lay")
        for name in TABS[1:]:
            tab.open(name)
        expect(tab.page.locator("#why-progress")).to_have_text("Measured.")
        tab.open("Weights")
        drag(tab, (0, 1), (0, 2))
        tab.page.keyboard.press("Escape")
        tab.page.get_by_role("button", name="Settings").click()
        tab.question.fill("?!")
        tab.page.keyboard.press("Enter")
        expect(tab.message).to_be_visible()
        assert tab.page.evaluate("window.moved") <= 0.05


@pytest.mark.parametrize(("width", "height", "most"), [(1400, 900, 40), (400, 800, 90)])
def test_a_long_question_gives_way_to_its_answer_and_grows_under_whoever_comes_back(
    browser, served, width, height, most
):
    with visit(browser, served, width=width, height=height) as tab:
        tab.tokens(TOKENS)
        for send in (
            lambda: tab.page.keyboard.press("Enter"),
            lambda: tab.page.get_by_role("button", name="Answer", exact=True).click(),
        ):
            tab.question.fill(" ".join(["How is asthma treated in somebody who smokes?"] * 12))
            before = box_of(tab.question)["height"]
            send()
            expect(tab.page.locator("#ask[data-sent]")).to_have_count(1)
            assert box_of(tab.question)["height"] <= most + 1 < before
            tab.page.wait_for_function(
                "document.querySelector('#question textarea').scrollTop === 0"
            )
            assert not overlap(box_of(tab.question), box_of(tab.first))
            tab.question.click()
            assert box_of(tab.question)["height"] == before


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 800)])
def test_the_nearest_examples_are_seen_whole(browser, served, width, height):
    """Though on a desk their heading stands at the right edge, behind a long sentence."""
    near = Source(
        "Publisher of leaflets", "a disease with a rather long name", "treatment", "", 0.7
    )
    found = Found(0.05, (near, *[replace(near, similarity=0.1)] * 3))
    with visit(browser, served, width=width, height=height) as tab:
        tab.ask()
        place = tab.page.locator("#sources")
        place.locator(".sources").evaluate("(p, html) => (p.outerHTML = html)", sources.told(found))
        place.locator("summary").click()
        lines = place.locator(".popover li")
        expect(lines).to_have_count(4)
        for line in lines.all():
            box = box_of(line)
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            assert line.evaluate("(line) => line.scrollWidth <= line.clientWidth")


def test_a_share_of_100_is_read_whole(tab):
    group = tab.layout.group_names[0]
    tab.experts(group)
    for field in tab.page.locator("#panel input[type=number]:visible").all():
        field.evaluate("(field) => (field.value = 100)")
        assert field.evaluate("(field) => field.scrollWidth <= field.clientWidth")


def test_from_a_question_to_the_first_lever_are_few_stops(tab):
    tab.question.focus()
    for _ in range(6):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.classList.contains('segment')"):
            break
    assert tab.page.evaluate("document.activeElement.dataset.lead") == tab.layout.expert_names[0]


def test_a_click_on_an_expert_gives_the_second_answer_beside_the_first(tab):
    tab.ask()
    tab.segment("reader/lay").click()
    steering = Steering((Override("reader/lay", State.FIXED, 0.8),))
    assert flat(tab.steered()) == flat(expected(tab, steering))
    expect(listed(tab)).to_have_text(["reader → lay 80%"])
    expect(tab.badge).to_have_text("1 change")
    expect(tab.page.locator("#second-asked")).to_contain_text("lay 80%")
    tab.segment("reader/lay").click()  # and once more gives it back
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.second).to_contain_text("Untouched")


def test_a_boundary_can_be_dragged_and_arrows_move_shares(tab):
    tab.ask()
    shares = tab.model.route(QUESTION).expert_shares.mean(0)
    before = [round(100 * float(share)) for share in shares[:3]]
    one = tab.segment(tab.layout.expert_names[0]).bounding_box()
    x, y = one["x"] + one["width"] - 2, one["y"] + one["height"] / 2
    whole = tab.page.locator(".segments").first.bounding_box()["width"]
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 0.1 * whole, y, steps=4)
    tab.page.mouse.up()
    expect(listed(tab)).to_have_count(2)
    moved = [int(re.search(r"(\d+)%", text)[1]) for text in listed(tab).all_inner_texts()]
    assert moved[0] == pytest.approx(before[0] + 10, abs=1)
    assert sum(moved) == pytest.approx(before[0] + before[1], abs=1)
    tab.segment("reader/lay").focus()
    now = int(tab.segment("reader/lay").locator("b").inner_text().rstrip("%"))
    tab.page.keyboard.press("ArrowRight")
    expect(listed(tab).last).to_have_text(f"reader → lay {now + 5}%")


def test_a_typed_share_that_cannot_be_is_refused_and_none_is_bent(tab):
    refusal = tab.page.locator("#panel .refusal")
    names = tab.layout.group_names
    for group in names[:2]:
        number = tab.page.get_by_label(f"number input for {group} share, %")
        number.fill("70")
        number.press("Enter")
    expect(refusal).to_have_text(
        f"{names[1]} cannot have 70%: {names[0]} 70% fixed leaves at most 30%. "
        "Take one of them back first."
    )
    expect(listed(tab)).to_have_text([f"{names[0]} 70%"])
    assert tab.share(names[0]).input_value() == "70"


def test_a_number_half_typed_stands_while_the_server_answers(tab):
    held, free, names = [], [], tab.layout.group_names
    tab.page.route(
        "**/run/predict*", lambda route: route.continue_() if free else held.append(route)
    )
    shares = [tab.page.get_by_label(f"number input for {name} share, %") for name in names[:2]]
    shares[0].fill("20")
    with tab.page.expect_request("**/run/predict*"):
        shares[0].press("Enter")
    shares[1].press_sequentially("7")
    free.append(True)
    for route in held:
        route.continue_()
    expect(tab.badge).to_have_text("1 change")
    shares[1].press_sequentially("0")
    shares[1].press("Enter")
    expect(listed(tab)).to_have_text([f"{names[0]} 20%", f"{names[1]} 70%"])
    strength = tab.page.get_by_label("number input for Strength of all experts")
    strength.fill("")
    strength.press_sequentially("0.5", delay=400)
    expect(strength).to_have_value("0.5")
    expect(listed(tab).last).to_have_text("strength 0.5")


def test_one_number_a_control_is_the_share_in_force(tab):
    tab.ask()
    group, *others = tab.layout.group_names
    tab.press(group, "End")
    tab.steered()
    for other in others:
        expect(tab.share(other)).to_have_value("0")


def test_every_change_has_its_own_way_back(tab):
    tab.segment("task/treat").click()
    tab.state("field", "Off").check()
    drag(tab, (2, 0), (2, 1))
    tab.page.locator("#cells [data-state=off]").click()
    tab.page.get_by_label("number input for Strength of all experts").fill("0.5")
    tab.page.keyboard.press("Tab")
    expect(listed(tab)).to_have_text(
        ["task → treat 80%", "field off", "reader off · layers 0–1", "strength 0.5"]
    )
    expect(tab.badge).to_have_text("4 changes")
    for left in (3, 2, 1, 0):
        tab.page.locator("#panel [data-part=changes] button").first.click()
        expect(listed(tab)).to_have_count(left)
    expect(tab.badge).to_have_text("Router's own weights")


@pytest.mark.parametrize(
    "typed",
    [
        "My dad’s child‑like ﬁbrosis: what does CO₂ do? ",
        "WHAT CAN BE DONE FOR MY DAD’S GOUT?",
    ],
)
def test_an_answer_to_what_was_typed_on_a_phone_or_in_capitals_is_not_old(tab, typed):
    tab.ask(typed, tokens=3)
    expect(tab.page.locator("#first-asked .of")).to_have_attribute(
        "data-question", check_question(typed)
    )
    expect(tab.page.locator("#answer")).not_to_have_class(re.compile("another|stale"))
    tab.question.fill(typed + " And now?")
    expect(tab.page.locator("#answer")).to_have_class(re.compile("another"))
    tab.question.fill(check_question(typed))
    expect(tab.page.locator("#answer")).not_to_have_class(re.compile("another|stale"))


def test_an_answer_to_another_question_looks_old(tab):
    tab.ask()
    another, setting = (tab.page.locator(f"#first-asked .of-{why}") for why in OLD)
    expect(tab.page.locator("#first-asked")).to_contain_text(QUESTION)

    def looks(question: bool, settings: bool) -> None:
        for told, whether in ((another, question), (setting, settings)):
            (expect(told).to_be_visible if whether else expect(told).to_be_hidden)()
        style = "(part) => getComputedStyle(part).outlineStyle"
        drawn = "dashed" if question or settings else "none"
        for part in ("#first .passage", "#words", "#weights"):
            assert tab.page.locator(part).first.evaluate(style) == drawn

    looks(False, False)
    tab.question.fill("What causes gout?")
    looks(True, False)
    tab.question.fill("?!")  # refused: nothing stands as if it were its answer
    tab.page.keyboard.press("Enter")
    expect(tab.message).to_contain_text("no words")
    looks(True, False)
    # whose answers they are, and that they are old, is not covered by it
    below = box_of(tab.message)["y"]
    for title in ("#answer .titled", "#steered .titled"):
        box = box_of(tab.page.locator(title))
        assert box["y"] + box["height"] <= below
    tab.question.fill(QUESTION)
    looks(False, False)
    tab.question.fill("How is\u00a0asth\u00adma treated\u200b?")  # as copied out of a PDF
    looks(False, False)
    tab.tokens(TOKENS + 1)
    looks(False, True)


def test_a_refusal_is_closed_and_comes_again(tab):
    for close in (lambda: tab.message.get_by_role("button", name="Close").click(), None):
        tab.question.fill("?!")
        tab.page.keyboard.press("Enter")
        expect(tab.message).to_be_visible()
        expect(tab.message).to_contain_text("no words")
        (close or (lambda: tab.page.keyboard.press("Escape")))()
        expect(tab.message).to_be_hidden()


def test_before_a_question_no_number_is_made_up_and_nothing_idle_can_be_pressed(tab):
    numbers = [
        tab.page.get_by_label(f"number input for {group} share, %", exact=True)
        for group in tab.layout.group_names
    ]
    for number in numbers:
        expect(number).to_have_value("")
    for name in ("Reset all", "Undo", "Redo", "Copy"):
        for button in tab.page.get_by_role("button", name=name, exact=True).all():
            expect(button).to_be_disabled()
    expect(tab.page.get_by_label("Steering on")).to_be_disabled()
    tab.ask()
    for number in numbers:
        expect(number).not_to_have_value("")
    expect(tab.page.get_by_label("Steering on")).to_be_disabled()
    lead(tab, "reader/lay")
    expect(tab.page.get_by_label("Steering on")).to_be_enabled()
    expect(tab.page.get_by_role("button", name="Reset all")).to_be_enabled()


def test_the_table_is_filled_with_the_first_question_and_picks_cells(tab):
    tab.ask()
    tab.open("Table")
    plan = tab.model.route(QUESTION)
    share = tab.page.locator('#table [data-cell="groups-map"][data-at="1,2"]')
    expect(share).to_have_text(f"{100 * float(plan.group_shares[2, 1]):.1f}")
    share.focus()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#cells [data-part=picked]")).to_have_text(
        f"Picked: layer 3 of {tab.layout.group_names[1]}"
    )
    tab.page.locator("#cells [data-state=off]").click()
    expect(listed(tab)).to_have_text([f"{tab.layout.group_names[1]} off · layer 3"])
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#cells .picker")).to_be_hidden()


def test_a_phone_shows_one_answer_a_sheet_and_thirds(browser, served):
    with visit(browser, served, width=400, height=800) as tab:
        tab.ask()
        expect(tab.first).to_be_visible()
        expect(tab.second).to_be_hidden()
        tab.page.locator("[data-sheet]").click()
        tab.segment("reader/lay").click()
        tab.steered()
        expect(tab.second).to_be_visible()
        expect(tab.first).to_be_hidden()
        answer, sheet = (
            tab.page.locator(f"#{name}").bounding_box() for name in ("second", "steer")
        )
        assert sheet["y"] - answer["y"] >= 90  # lines of the answer stay in sight
        assert screens(tab) <= 3
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
        tab.page.locator("[data-sheet]").click()
        cells = tab.page.locator("#thirds [data-cell]").all()
        assert len(cells) == 3 * (3 + 6)
        for cell in cells:
            box = cell.bounding_box()
            assert box["width"] >= 40 and box["height"] >= 40
        cells[2].click()
        expect(tab.page.locator("#cells [data-part=picked]")).to_contain_text("layers 3–4 of task")
        tab.page.keyboard.press("Escape")
        # the difference lies far below: it comes into sight, and its button is the one that is down
        tab.page.evaluate("scrollTo(0, 0)")
        tab.page.get_by_role("button", name="Difference", exact=True).click()
        expect(tab.page.locator("#which-answer [aria-pressed=true]")).to_have_text("±")
        expect(tab.page.locator("#sentences")).to_be_in_viewport()
        tab.page.get_by_role("button", name="Router", exact=True).click()
        expect(tab.first).to_be_visible()


def test_settings_lie_over_the_page_and_close(tab):
    tab.page.get_by_role("button", name="Settings").click()
    seed = tab.page.get_by_label("Seed")
    expect(seed).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(seed).to_be_hidden()
