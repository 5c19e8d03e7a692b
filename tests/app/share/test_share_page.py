"""Sharing and keeping in a real browser: the address, Back and Forward, links, the report."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import KEPT, QUESTION, TOKENS, Tab, cell, expect, expected, flat, share, visit

from app.controls import Controls, Setting
from app.share.fragment import to_fragment
from app.view import sampling_of
from atmoe import Override, State, Steering

LONGER = sampling_of(60, 0, 0)
KEEP = "Keep my question in the address?"


def search(tab: Tab) -> str:
    return tab.page.evaluate("location.search")


def address(tab: Tab, holds: str) -> None:
    """Wait until the address holds that."""
    tab.page.wait_for_function("(part) => location.search.includes(part)", arg=holds)


def keep_question(tab: Tab) -> None:
    share(tab)
    tab.page.get_by_label(KEEP).check()
    tab.page.keyboard.press("Escape")


def both_answers(tab: Tab, group: str) -> tuple[str, str]:
    """Ask and steer."""
    tab.ask()
    tab.press(group, "End")
    steered = tab.steered()
    return tab.first.inner_text(), steered


def found_again(tab: Tab, answers: tuple[str, str]) -> None:
    """Question, setting and both answers are there, and nothing was asked anew."""
    expect(tab.first_facts).to_contain_text("given before")
    expect(tab.second_facts).to_contain_text("given before")
    assert (tab.first.inner_text(), tab.second.inner_text()) == answers
    expect(tab.question).to_have_value(QUESTION)
    expect(tab.badge).to_have_text("1 change")


def steered_link(tab: Tab, group: str) -> tuple[str, str, str]:
    """Ask, steer, share. → the link, both answers"""
    first, steered = both_answers(tab, group)
    return share(tab), first, steered


def forged(model, /, **changed) -> str:
    """A link's fragment, of records that hold something else."""
    controls = Controls({model.layout.group_names[0]: Setting(State.FIXED, 100)})
    router, steered = (
        model.answer(QUESTION, steering, LONGER) for steering in (Steering(), controls.steering)
    )
    for name, value in changed.items():
        object.__setattr__(router, name, value)
    return to_fragment(router, steered, controls)


def test_what_is_set_is_in_the_address_and_back_forward_and_refresh_restore_it(tab):
    group = tab.layout.group_names[0]
    tab.press(group, "End")
    address(tab, f"set={group}:100")
    tab.page.go_back()
    expect(tab.badge).to_have_text("Router's own weights")
    tab.page.go_forward()
    expect(tab.share(group)).to_have_value("100")
    tab.press(group, "Home")
    address(tab, f"set={group}:0")
    tab.page.go_back()
    expect(tab.share(group)).to_have_value("100")
    expect(tab.badge).to_have_text("1 change")
    assert search(tab) == f"?v=2&set={group}:100"
    tab.page.go_back()
    expect(tab.badge).to_have_text("Router's own weights")
    assert search(tab) == ""
    tab.page.go_forward()
    expect(tab.share(group)).to_have_value("100")
    tab.page.go_forward()
    expect(tab.share(group)).to_have_value("0")
    tab.page.reload()
    expect(tab.share(group)).to_have_value("0")
    expect(tab.badge).to_have_text("1 change")
    tab.tokens(17)
    address(tab, "&tokens=17")


def test_what_is_not_ours_stays_in_the_address(browser, served):
    with visit(browser, (f"{served[0]}?__theme=light&utm=x", served[1])) as tab:
        group = tab.layout.group_names[0]
        tab.press(group, "End")
        address(tab, f"set={group}:100")
        assert search(tab) == f"?v=2&set={group}:100&__theme=light&utm=x"


def test_the_question_is_in_the_address_only_after_a_yes_that_is_remembered(tab):
    group = tab.layout.group_names[0]
    tab.ask()
    tab.press(group, "End")
    tab.steered()
    address(tab, f"set={group}:100")
    assert "q=" not in search(tab)
    keep_question(tab)
    address(tab, f"&q={quote(QUESTION)}")
    first = tab.first.inner_text()
    tab.page.reload()  # asks again, with the same settings
    expect(tab.first).to_have_text(first)
    expect(tab.question).to_have_value(QUESTION)
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(group, State.FIXED, 1.0),)))
    )
    tab.ask("What causes gout?")
    address(tab, "gout")
    tab.page.go_back()
    expect(tab.question).to_have_value(QUESTION)
    expect(tab.first).to_have_text(first)
    tab.page.go_forward()
    expect(tab.question).to_have_value("What causes gout?")
    share(tab)
    tab.page.get_by_label(KEEP).uncheck()
    assert "q=" not in search(tab)
    tab.page.reload()  # finds it in the tab, and writes it nowhere else
    expect(tab.badge).to_have_text("1 change")
    expect(tab.question).to_have_value("What causes gout?")
    assert "q=" not in search(tab)


def test_a_refresh_finds_question_and_answers_and_no_other_tab_does(tab):
    group = tab.layout.group_names[0]
    answers = both_answers(tab, group)
    address(tab, f"set={group}:100")
    for _ in range(2):
        tab.page.reload()
        found_again(tab, answers)
        expect(tab.message).to_have_count(0)
        assert "q=" not in search(tab)
    assert "asthma" not in tab.page.evaluate("JSON.stringify(localStorage)")
    tab.page.goto(tab.page.url)  # opened, and not loaded anew: the settings alone
    expect(tab.message).to_contain_text("Opened from a link")
    expect(tab.question).to_have_value("")
    beside = tab.context.new_page()
    beside.goto(tab.page.url)
    expect(beside.get_by_text("Opened from a link")).to_be_visible()
    expect(beside.get_by_label("Question", exact=True)).to_have_value("")


def test_who_comes_back_from_another_site_finds_question_and_answers(tab):
    group = tab.layout.group_names[0]
    answers = both_answers(tab, group)
    address(tab, f"set={group}:100")
    tab.page.goto("about:blank")
    tab.page.go_back()
    found_again(tab, answers)


def test_a_refresh_before_the_address_is_written_finds_what_was_set_last(tab):
    first, second, *_ = tab.layout.group_names
    tab.press(first, "End")
    address(tab, f"set={first}:100")
    tab.press(second, "Home")
    tab.page.wait_for_function(f"{KEPT}?.includes('{second}:0')")
    tab.page.reload()
    expect(tab.share(second)).to_have_value("0")
    address(tab, f"{second}:0")
    tab.page.go_back()
    expect(tab.badge).to_have_text("1 change")
    assert search(tab) == f"?v=2&set={first}:100"
    tab.page.go_forward()
    expect(tab.badge).to_have_text("2 changes")
    tab.page.get_by_role("button", name="Reset all").click()
    tab.page.wait_for_function(f"""{KEPT}?.includes('"due":"/')""")
    tab.page.reload()
    expect(tab.question).to_be_visible()
    expect(tab.badge).to_have_text("Router's own weights")
    assert search(tab) == ""


def test_a_name_that_is_not_known_any_more_has_the_question_asked_anew(tab):
    tab.ask()
    first = tab.first.inner_text()
    address(tab, f"tokens={TOKENS}")
    tab.page.wait_for_function(f"{KEPT}?.includes('asthma')")
    left = json.loads(tab.page.evaluate(KEPT))
    tab.page.evaluate(
        "(left) => sessionStorage.setItem('atmoe-left-1' + location.pathname, left)",
        json.dumps(left | {"name": "somebody else's"}),
    )
    tab.page.reload()
    expect(tab.first_facts).to_contain_text("per second")
    expect(tab.first).to_have_text(first)
    expect(tab.question).to_have_value(QUESTION)


def test_a_frame_without_storage_and_history_still_works(browser, served):
    with visit(browser, served) as tab:
        tab.page.add_init_script("""
            for (const name of ["pushState", "replaceState"])
              history[name] = () => { throw new DOMException("no"); };
            Object.defineProperty(window, "localStorage",
              { get() { throw new DOMException("no"); } });""")
        tab.page.goto(f"{tab.address}?v=2&tokens={TOKENS}")
        tab.ask()
        tab.press(tab.layout.group_names[0], "End")
        tab.steered()
        assert "#answers=" in share(tab)
        tab.page.get_by_label(KEEP).check()
        expect(tab.page.get_by_label(KEEP)).to_be_checked()


def test_two_actions_to_a_link_that_shows_both_answers_at_once(browser, served):
    with visit(browser, served) as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        group = tab.layout.group_names[0]
        link, first, steered = steered_link(tab, group)
        places = [tab.page.locator(f"#{i}").bounding_box() for i in ("question", "first", "tabs")]
        tab.page.keyboard.press("Enter")  # the way goes to “Copy the link”
        expect(tab.page.locator("[data-part=copy]")).to_have_text("Copied")
        assert tab.page.evaluate("navigator.clipboard.readText()") == link
        assert link.startswith(f"{tab.address}?v=2&set={group}:100") and "#answers=1." in link
        assert "asthma" not in link and "q=" not in link
        tab.page.keyboard.press("Escape")
        expect(tab.page.locator("#share-dialog")).to_be_hidden()
        expect(tab.page.locator("#share-button")).to_be_focused()
        assert places == [
            tab.page.locator(f"#{i}").bounding_box() for i in ("question", "first", "tabs")
        ]
        share(tab)
        tab.page.get_by_label("With my question and both answers").uncheck()
        alone = tab.page.get_by_label("Link", exact=True).input_value()
        assert alone == link.partition("#")[0]
    with visit(browser, (link, served[1])) as tab:
        asked = []
        tab.page.on("request", lambda sent: asked.append(sent.url))
        expect(tab.first).to_have_text(first)
        expect(tab.second).to_have_text(steered)
        expect(tab.question).to_have_value(QUESTION)
        for facts in (tab.first_facts, tab.second_facts):
            expect(facts.locator("summary")).to_contain_text("From the link, not answered here")
        expect(tab.page.locator("#link-bar")).to_contain_text("Anybody can write into a link")
        expect(tab.page.locator("#tabs .js-plotly-plot").first).to_be_visible()
        expect(tab.badge).to_have_text("1 change")
        assert tab.page.url == link  # and a refresh shows it again
        tab.page.get_by_role("button", name="Answer again here").click()
        bar = tab.page.locator("#link-bar")
        expect(bar).to_contain_text("The router's answer came out identical, token by token")
        expect(bar).to_contain_text("The steered answer came out identical, token by token")
        expect(tab.first_facts).to_contain_text("per second")
        tab.page.locator("#link-close").click()
        expect(bar).to_be_hidden()
        assert not [url for url in asked if "answers=" in url]


def test_a_tampered_answer_is_the_links_and_answering_again_says_so(browser, served):
    address, model = served
    tokens = tuple(model.encode_answer("Drink a litre of bleach <b>daily</b>."))
    fragment = forged(model, answer_tokens=tokens)
    with visit(browser, (f"{address}?v=2{fragment}", model)) as tab:
        expect(tab.first).to_contain_text("Drink a litre of bleach <b>daily</b>.")
        for facts in (tab.first_facts, tab.second_facts):
            expect(facts).to_contain_text("From the link, not answered here")
        tab.page.get_by_role("button", name="Answer again here").click()
        bar = tab.page.locator("#link-bar")
        expect(bar).to_contain_text("The router's answer differs: after 0 equal words")
        expect(bar).to_contain_text("The steered answer came out identical")
        assert flat(tab.first.inner_text()) == flat(
            model.answer(QUESTION, Steering(), LONGER).answer
        )


def test_another_models_link_is_answered_anew_and_the_page_says_so(browser, served):
    address, model = served
    fragment = forged(model, model={"name": "other <b>one", "sha256": "f" * 64}, answer_tokens=(9,))
    with visit(browser, (f"{address}?v=2{fragment}", model)) as tab:
        expect(tab.message).to_contain_text("those of the model “other <b>one” (sha256 ffffffffff")
        expect(tab.message).to_contain_text("answered anew here")
        group = tab.layout.group_names[0]
        steering = Steering((Override(group, State.FIXED, 1.0),))
        assert flat(tab.steered()) == flat(model.answer(QUESTION, steering, LONGER).answer)
        assert flat(tab.first.inner_text()) == flat(
            model.answer(QUESTION, Steering(), LONGER).answer
        )
        expect(tab.first_facts).not_to_contain_text("From the link")
        expect(tab.page.locator("#link-bar")).to_be_hidden()


@pytest.mark.parametrize(
    "fragment", ["#answers=1.eJwDAAAAAAE", "#answers=9.eJx", "#answers=1." + "A" * 20_000]
)
def test_a_broken_fragment_is_a_sentence_and_the_settings_open(browser, served, fragment):
    group = served[1].layout.group_names[0]
    with visit(browser, (f"{served[0]}?v=2&set={group}:100{fragment}", served[1])) as tab:
        expect(tab.message).to_contain_text("The answers in this link cannot be shown")
        expect(tab.badge).to_have_text("1 change")
        expect(tab.share(group)).to_have_value("100")


def test_a_link_of_before_opens_and_answers_its_question(browser, served):
    group = served[1].layout.group_names[0]
    query = f"?v=1&set={group}:100&tokens={TOKENS}&q={quote(QUESTION)}"
    with visit(browser, (served[0] + query, served[1])) as tab:
        expect(tab.message).to_contain_text(f"Opened from a link: {group} fixed at 100%")
        expect(tab.question).to_have_value(QUESTION)
        steering = Steering((Override(group, State.FIXED, 1.0),))
        assert flat(tab.steered()) == flat(expected(tab, steering))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?v=7&set=x:1", "version 7"),
        ("?v=1&set=nonsense:off", "no group 'nonsense'"),
        ("?v=1&set=%%%", "broken"),
    ],
)
def test_a_link_that_cannot_be_read_says_so_and_starts_clean(browser, served, query, said):
    with visit(browser, (served[0] + query, served[1])) as tab:
        expect(tab.message).to_contain_text(said)
        expect(tab.message).to_contain_text("starts clean")
        expect(tab.badge).to_have_text("Router's own weights")
        expect(tab.second).to_contain_text("Untouched")


def test_a_bad_record_is_said_beside_the_button_and_takes_the_old_judgement_away(tab, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    router = tab.model.answer(QUESTION, Steering(), sampling_of(TOKENS, 0, 0)).to_dict()
    data = {"router": router, "steered": None, "controls": Controls().to_dict()}
    good.write_text(json.dumps(data), "utf-8")
    bad.write_text("{}", "utf-8")
    tab.page.get_by_role("tab", name="Keep").click()
    said, choose = tab.page.locator("#replayed"), tab.page.locator("#keep [type=file]")
    choose.set_input_files(good)
    expect(said).to_contain_text("came out identical")
    choose.set_input_files(bad)
    expect(said).to_contain_text("This file is no record of this page")
    expect(said).not_to_contain_text("identical")
    expect(said).to_be_in_viewport()


def test_a_record_of_another_model_stands_beside_nothing_of_the_question_before(tab, tmp_path):
    places = ["#routing-line", "#reading", "#sources", "#thirds", "#table", "#dose-table"]

    def shown():
        levers = tab.page.locator(".segment").evaluate_all("all => all.map((s) => s.ariaLabel)")
        texts = [tab.page.locator(place).text_content() for place in places]
        return [first_cell.get_attribute("aria-label"), levers, *map(flat, texts)]

    own, other = tmp_path / "own.json", tmp_path / "other.json"
    first_cell = cell(tab, 0, 0)
    before = shown()
    tab.ask()
    tab.open("What if")
    tab.page.get_by_role("button", name="Answer at five shares").click()
    expect(tab.page.locator("#dose-progress")).to_contain_text("Measured.")
    own.write_bytes(tab.downloaded())
    data = json.loads(own.read_text("utf-8"))
    data["router"] |= {"prompt": "What is gout?", "model": {"name": "other", "sha256": "f" * 64}}
    other.write_text(json.dumps(data), "utf-8")
    said, choose = tab.page.locator("#replayed"), tab.page.locator("#keep [type=file]")
    choose.set_input_files(own)
    expect(said).to_contain_text("came out identical")
    expect(tab.page.locator("#dose-progress")).to_contain_text("From the opened record")
    expect(first_cell).to_have_attribute("aria-label", re.compile("measured"))  # all has come
    assert all(now != then for now, then in zip(shown(), before, strict=True))
    choose.set_input_files(other)
    expect(said).to_contain_text("not by this one")
    expect(tab.page.locator("#first-asked")).to_contain_text("gout")
    expect(tab.page.locator("#dose-progress")).to_have_text("")
    expect(first_cell).to_have_attribute("aria-label", before[0])
    assert shown() == before


def test_a_refused_file_takes_nothing_away_that_was_measured(tab, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{}", "utf-8")
    tab.ask()
    tab.open("What if")
    tab.page.get_by_role("button", name="Answer at five shares").click()
    progress, table = tab.page.locator("#dose-progress"), tab.page.locator("#dose-table table")
    expect(progress).to_contain_text("Measured.")
    tab.open("Keep")
    tab.page.locator("#keep [type=file]").set_input_files(bad)
    expect(tab.page.locator("#replayed")).to_contain_text("This file is no record of this page")
    tab.page.wait_for_timeout(1000)  # what follows an opened record has followed
    expect(progress).to_contain_text("Measured.")
    expect(table).to_be_attached()


def test_the_report_is_one_file_saved_by_a_press(tab, tmp_path):
    report = tab.page.locator("#report-button")
    expect(report).to_be_disabled()
    group = tab.layout.group_names[0]
    tab.ask()
    tab.press(group, "End")
    steered = tab.steered()
    expect(report).to_be_enabled()
    with tab.page.expect_download() as download:
        report.click()
    assert re.fullmatch(r"atmoe-report-[\d-]+\.html", download.value.suggested_filename)
    text = Path(download.value.path()).read_text("utf-8")
    path = tmp_path / "report.html"
    path.write_text(text, "utf-8")
    page = tab.context.new_page()
    page.goto(path.as_uri())
    answers = [flat(text) for text in page.locator(".answer").all_inner_texts()]
    assert answers == [QUESTION, flat(tab.first.inner_text()), flat(steered)]
    page.close()
