"""What a person does while an address is still being opened waits for it, and is not lost."""

from contextlib import contextmanager

import pytest
from browser import ENDED, QUESTION, Tab, expect, flat, visit

from app.view import sampling_of
from atmoe import Override, State, Steering

LONGEST = 24
OTHER = "What causes gout?"


@contextmanager
def opening(browser, served, query: str, heard: bool = False):
    """A page at an address that is not opened before `read()` is called.

    Args:
        browser: opens it.
        served: the page.
        query: of the address.
        heard: the server has opened it, and only the page does not know yet.
    """
    with visit(browser, ("about:blank", served[1]), goto=False) as tab:
        held, read = [], []

        def hold(route):
            sent = route.request.post_data or ""
            if '"search"' in sent and '"back"' in sent and not read:
                answer = {"response": route.fetch()} if heard else None
                held.append((route, answer))
            else:
                route.continue_()

        def go():
            tab.page.wait_for_timeout(300)  # what did not wait would be sent by now
            for _ in range(100):
                if held:
                    break
                tab.page.wait_for_timeout(100)
            read.append(True)
            for route, answer in held:
                route.continue_() if answer is None else route.fulfill(**answer)

        tab.page.route("**/run/predict**", hold)
        tab.address = served[0]
        tab.page.goto(served[0] + query, wait_until="commit")
        expect(tab.question).to_be_visible()
        yield tab, go


def link(model, **more: str) -> tuple[str, Steering]:
    """All groups off, and a short answer."""
    groups = model.layout.group_names
    query = "?v=2&set=" + ",".join(f"{group}:off" for group in groups) + f"&tokens={LONGEST}"
    query += "".join(f"&{key}={value}" for key, value in more.items())
    return query, Steering(tuple(Override(group, State.OFF) for group in groups))


def answered(tab: Tab, question: str, steering: Steering) -> None:
    """Wait until both answers are what the library answers by itself."""
    for facts in (tab.first_facts, tab.second_facts):
        expect(facts).to_contain_text(ENDED)
    sampling = sampling_of(LONGEST, 0, 0)
    for place, by in ((tab.first, Steering()), (tab.second, steering)):
        expect(place).to_have_text(flat(tab.model.answer(question, by, sampling).answer))


@pytest.mark.parametrize("by, heard", [("Enter", True), ("button", False)])
def test_a_question_sent_before_its_link_is_opened_is_answered_as_the_link_says(
    browser, served, by, heard
):
    query, steering = link(served[1])
    with opening(browser, served, query, heard) as (tab, read):
        tab.question.fill(QUESTION)
        if by == "Enter":
            tab.page.keyboard.press("Enter")
        else:
            tab.page.get_by_role("button", name="Answer", exact=True).click()
        read()
        answered(tab, QUESTION, steering)
        expect(tab.badge).to_have_text(f"{len(tab.layout.group_names)} changes")


def test_a_question_of_ones_own_is_answered_and_not_the_links(browser, served):
    query, steering = link(served[1], q=QUESTION)
    with opening(browser, served, query) as (tab, read):
        tab.question.fill(OTHER)
        tab.page.keyboard.press("Enter")
        read()
        expect(tab.page.locator("#first-asked")).to_contain_text(OTHER)
        answered(tab, OTHER, steering)
        expect(tab.question).to_have_value(OTHER)


def test_what_is_typed_and_not_sent_stays_in_the_box(browser, served):
    query, steering = link(served[1], q=QUESTION)
    with opening(browser, served, query) as (tab, read):
        tab.question.fill("What cau")
        read()
        answered(tab, QUESTION, steering)
        expect(tab.question).to_have_value("What cau")


def test_what_is_moved_before_its_link_is_opened_gives_way_and_the_next_movement_counts(
    browser, served
):
    query, steering = link(served[1], q=QUESTION)
    group = served[1].layout.group_names[0]
    with opening(browser, served, query) as (tab, read):
        tab.share(group).wait_for(state="attached")
        tab.press(group, "End")
        read()
        expect(tab.badge).to_have_text(f"{len(tab.layout.group_names)} changes")
        expect(tab.share(group)).to_have_value("0")
        answered(tab, QUESTION, steering)
        tab.press(group, "End")
        expect(tab.page.locator("#second-asked")).to_contain_text(f"{group} 100%")
        off = (Override(name, State.OFF) for name in tab.layout.group_names[1:])
        answered(tab, QUESTION, Steering((Override(group, State.FIXED, 1.0), *off)))


def test_a_page_that_is_never_told_that_its_address_was_read_answers_all_the_same(browser, served):
    silenced = "window.addEventListener('atmoe:loaded', (e) => e.stopImmediatePropagation(), true);"
    with visit(browser, ("about:blank", served[1]), goto=False) as tab:
        tab.address = served[0]
        tab.page.add_init_script(silenced)
        tab.page.goto(served[0], wait_until="commit")
        expect(tab.question).to_be_visible()
        tab.question.fill(QUESTION)
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_timeout(2000)
        expect(tab.page.locator("#first-asked .of")).to_have_count(0)
        expect(tab.page.locator("#first-asked")).to_contain_text(QUESTION)
