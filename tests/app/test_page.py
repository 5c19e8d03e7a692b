"""The page in a real browser: what a person sees when asking, steering, stopping and downloading.

The model is a tiny one, or ATMOE_MODEL; `test_page_medical.py` runs some of them over the one that
is shipped.
"""

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from threading import Event, Semaphore

import pytest
from browser import (
    ENDED,
    QUESTION,
    TOKENS,
    WAIT,
    Tab,
    cell,
    choose,
    expected,
    flat,
    new,
    third,
    visit,
)
from conftest import PAGE, ROOT

import app.ask.desk
from app.answering import answer
from app.ask.desk import AskDesk
from app.controls import Controls
from app.job import LATER
from app.launch import launching
from app.page import build
from app.steer import words
from app.steer.desk import SteerDesk
from app.steer.figure import UNREAD
from app.view import REPETITION_PENALTY, View, sampling_of
from app.worker import Worker
from atmoe import Override, Record, Sampling, State, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.prefill import _Reading
from atmoe.errors import SteeringError
from atmoe.explanation.doses import dosing
from atmoe.presentation import Page
from atmoe.steering.reference import Beside
from atmoe.study.strength import study

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect


def test_a_question_is_answered_word_by_word(tab):
    tab.page.evaluate("""() => { window.seen = [];
        const place = document.querySelector("#first");
        new MutationObserver(() => window.seen.push(place.innerText)).observe(place,
            {subtree: true, childList: true, characterData: true}); }""")
    tab.ask()
    grown = [part for part in dict.fromkeys(tab.page.evaluate("window.seen")) if part != "…"]
    assert len(grown) > 3
    assert all(longer.startswith(part) for part, longer in pairwise(grown))
    assert flat(tab.first.inner_text()) == flat(expected(tab, Steering()))
    expect(tab.second).to_contain_text("Untouched")
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.page.locator("#reading")).to_contain_text("Of the routing weight")
    expect(tab.page.locator("#groups-map .js-plotly-plot")).to_have_count(1)
    expect(tab.page.locator("#experts-map .js-plotly-plot")).to_have_count(1)
    assert (
        f"stopped at the {TOKENS}-token limit" in tab.first_facts.inner_text()
        or "ended by itself" in tab.first_facts.inner_text()
    )


def test_moving_a_slider_gives_a_second_answer_beside_the_first(tab):
    group = tab.layout.group_names[0]
    tab.ask()
    before = tab.first.inner_text()
    tab.press(group, "End")
    steering = Steering((Override(group, State.FIXED, 1.0),))
    assert flat(tab.steered()) == flat(expected(tab, steering)) != flat(before)
    assert tab.first.inner_text() == before
    expect(tab.badge).to_have_text("1 change")
    expect(tab.state(group, "Fixed")).to_be_checked()
    expect(tab.page.locator("#reading")).to_contain_text(f"{group} fixed at 100% in all layers")
    expect(tab.page.locator("#weights")).to_contain_text(f"✎ {group}")
    for other in tab.layout.group_names[1:]:
        expect(tab.page.locator("#steer")).to_contain_text("0% in force (shares what is left)")
        expect(tab.share(other)).to_have_value("0")


def test_no_share_is_made_up_before_the_router_has_spoken(tab):
    expert = tab.layout.expert_names[0]
    segment, group = tab.segment(expert), tab.layout.group_names[0]
    expect(segment).to_have_attribute("aria-label", f"{expert}: the router decides")
    expect(segment).to_have_attribute("title", re.compile("the router decides. Click"))
    expect(tab.share(group)).to_have_attribute("aria-valuetext", "the router decides")
    segment.click()
    expect(segment).to_have_attribute("aria-label", f"{expert}: 80%, set by you")
    tab.page.get_by_role("button", name="Reset all").click()
    tab.ask()
    expect(segment).to_have_attribute("aria-label", re.compile(rf"{expert}: \d+%$"))
    expect(tab.share(group)).not_to_have_attribute("aria-valuetext", re.compile(""))


def test_experts_of_a_group_that_is_off_are_drawn_as_those_of_one_that_takes_no_part(tab):
    group, experts = tab.layout.groups[0]
    tab.ask()
    tab.segment(f"{group}/{experts[0]}").click()
    tab.state(group, "Off").check()
    tab.steered()
    for expert in experts:
        segment = tab.segment(f"{group}/{expert}")
        expect(segment).to_have_class(re.compile("absent"))
        expect(segment).to_have_attribute("aria-label", re.compile("takes no part"))
        note = tab.page.locator(f'.target[data-target="{group}/{expert}"] .note')
        expect(note).to_have_text(re.compile("· its group has no share in force$"))
    tab.state(group, "Router").check()
    expect(tab.segment(f"{group}/{experts[0]}")).not_to_have_class(re.compile("absent"))


def test_the_pictures_fill_layer_by_layer_as_the_question_is_read(tab, monkeypatch):
    enter, seen = _Reading.enter, Event()

    def held(reading, index, x):
        if index == 3:
            seen.wait(60)
        enter(reading, index, x)

    monkeypatch.setattr(_Reading, "enter", held)
    filled = """() => document.querySelector("#groups-map .js-plotly-plot")?.data?.[0].z[0]
        .filter((share) => share !== null).length === %d"""
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_function(filled % 3)
    expect(cell(tab, 0, 4)).to_have_attribute("aria-label", UNREAD)
    seen.set()
    tab.page.wait_for_function(filled % tab.layout.layers)
    expect(tab.first_facts).to_contain_text(ENDED)


def test_only_what_can_do_something_can_be_pressed(tab):
    def button(name):
        return tab.page.get_by_role("button", name=name, exact=True)

    stop, beside, stop_beside = (
        button(name) for name in ("Stop", "Answer with this too", "Stop third answer")
    )
    expect(stop).to_be_disabled()
    tab.open("Compare")
    for none in (beside, stop_beside):
        expect(none).to_be_disabled()
    tab.open("What if")
    dose, cancel = button("Answer at five shares"), tab.page.locator("#dose-ask button").last
    for none in (dose, cancel):
        expect(none).to_be_disabled()
    tab.tokens(400)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(stop).to_be_enabled()
    tab.stop()
    expect(dose).to_be_enabled()
    for none in (stop, cancel):
        expect(none).to_be_disabled()
    dose.click()
    expect(cancel).to_be_enabled()
    cancel.evaluate("(button) => button.click()")  # it may have ended by now
    expect(cancel).to_be_disabled()
    tab.open("Compare")
    expect(beside).to_be_enabled()
    beside.click()
    expect(stop_beside).to_be_enabled()
    stop_beside.evaluate("(button) => button.click()")
    for none in (stop, stop_beside):
        expect(none).to_be_disabled()


def test_what_is_said_late_of_the_buttons_is_not_their_last_word(tab, monkeypatch):
    possible, late, held, question = AskDesk.possible, Event(), [], "Is it serious?"

    def slowly(desk, session):
        said = possible(desk, session)
        ours = session.question is not None and session.question.prompt == question
        if ours and any(said.values()) and not held:
            held.append(True)
            late.wait(WAIT / 1000)
        return said

    monkeypatch.setattr(AskDesk, "possible", slowly)
    stop = tab.page.get_by_role("button", name="Stop", exact=True)
    tab.ask(question, 400)  # long enough for the buttons to be asked meanwhile
    assert held
    tab.page.wait_for_timeout(500)  # for all else that this answer's end calls
    with tab.page.expect_response("**/run/predict*"):  # with the page's own address behind it
        late.set()
    tab.page.wait_for_timeout(300)
    expect(stop).to_be_disabled()


def test_twenty_moves_end_in_one_answer_and_a_move_while_it_streams_begins_it_again(
    tab, monkeypatch
):
    tab.ask()
    group, made = tab.layout.group_names[0], []
    beginning = Batching.beginning
    monkeypatch.setattr(Batching, "beginning", lambda *args: made.append(1) or beginning(*args))
    tab.share(group).evaluate("""async (slider) => { for (let share = 1; share <= 20; share++) {
        slider.value = share; slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((done) => setTimeout(done, 100)); } }""")  # two seconds
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(group, State.FIXED, 0.2),)))
    )
    assert len(made) == 1
    tab.tokens(400)
    facts = new(tab.second_facts)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(facts).to_contain_text(re.compile(r"\d tokens"))
    tab.press(group, "End")
    expect(tab.page.locator("#reading")).to_contain_text(f"{group} fixed at 100% in all layers")
    expect(tab.page.locator("#second-asked")).to_contain_text(f"{group} 100%")
    tab.page.wait_for_url(re.compile(f"{group}:100"))  # the controls have come to rest
    longest = flat(
        tab.model.answer(
            QUESTION, Steering((Override(group, State.FIXED, 1.0),)), sampling_of(400, 0, 0)
        ).answer
    )

    def said() -> str:
        return flat(tab.second.inner_text()).rstrip("�")

    # words of the answer before may have been on their way still; then it is this one's
    until = time.monotonic() + WAIT / 1000
    while not said() or not longest.startswith(said()):
        assert time.monotonic() < until
        tab.page.wait_for_timeout(50)
    tab.stop()
    expect(tab.second_facts).to_contain_text(re.compile("stopped before its end|per second"))
    assert longest.startswith(said())


@pytest.mark.parametrize("late", ["heard", "told"])
def test_a_movement_while_the_question_is_on_its_way_is_what_is_answered(tab, monkeypatch, late):
    """The question may be heard after the movement, or what is said of it may come after."""
    tab.ask()
    group, other = tab.layout.group_names[0], "Is it serious?"
    tab.press(group, "Home")
    tab.steered()
    moved, begin, sampling = Event(), AskDesk.begin, app.ask.desk.sampling_of

    def heard_late(*args):
        if late == "heard":
            moved.wait(WAIT / 1000)
        return sampling(*args)

    def told_late(*args):
        said = begin(*args)
        if late == "told":
            moved.wait(WAIT / 1000)
        return said

    monkeypatch.setattr("app.ask.desk.sampling_of", heard_late)
    monkeypatch.setattr(AskDesk, "begin", told_late)
    tab.question.fill(other)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_timeout(300)  # long enough to be sent
    tab.press(group, "End")
    expect(tab.page.locator("#second-asked")).to_contain_text(f"{group} 100%")
    moved.set()
    expect(tab.page.locator("#first-asked")).to_contain_text(other)
    expect(tab.page.locator("#reading")).to_contain_text(f"{group} fixed at 100% in all layers")
    steering = Steering((Override(group, State.FIXED, 1.0),))
    asked = tab.model.answer(other, steering, sampling_of(TOKENS, 0, 0)).answer
    assert flat(tab.steered()) == flat(asked)
    expect(tab.page.locator("#second-asked")).to_contain_text(f"{group} 100%")
    expect(tab.page.locator("#second-asked")).to_contain_text(other)


def test_plans_that_come_late_do_not_stay_over_newer_ones(tab, monkeypatch):
    """A busy browser may show what was said before a movement after what was said of it."""
    group, late, weights = tab.layout.group_names[0], Event(), SteerDesk.weights

    def held(*args):
        said = weights(*args)
        late.wait(WAIT / 1000)
        return said

    monkeypatch.setattr(SteerDesk, "weights", held)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(tab.first_facts).to_contain_text(ENDED)
    tab.press(group, "End")
    now = f"{group} fixed at 100% in all layers"
    expect(tab.page.locator("#reading")).to_contain_text(now)
    tab.page.evaluate("""() => { window.texts = [];
        const reading = document.querySelector("#reading");
        const note = () => window.texts.push(reading.textContent);
        new MutationObserver(note).observe(reading, { childList: true, subtree: true }); }""")
    monkeypatch.setattr(SteerDesk, "weights", weights)
    late.set()
    tab.page.wait_for_function("window.texts.length > 0")  # what was late has come
    expect(tab.page.locator("#reading")).to_contain_text(now)
    expect(tab.page.locator("#panel .target.group").first.locator(".note").first).to_contain_text(
        "100% in force"
    )


def test_fixed_shares_keep_their_sum(tab):
    """Each arrow key counts, and where all are fixed the shares are 100% at every step."""
    names = tab.layout.group_names
    for group in names:
        tab.state(group, "Fixed").check()

    def shares():
        return [int(tab.share(group).input_value()) for group in names]

    assert sum(shares()) == 100
    start = shares()[0]
    for step in range(1, 8):
        tab.press(names[0], "ArrowRight")
        assert shares()[0] == start + step and sum(shares()) == 100
    tab.press(names[-1], "End")
    assert shares()[-1] == 100 and sum(shares()) == 100
    expect(tab.badge).to_have_text(f"{len(names)} changes")
    expect(tab.message).to_have_count(0)


def test_an_expert_is_set_inside_its_group(tab):
    tab.ask()
    group, experts = tab.layout.groups[0]
    target = f"{group}/{experts[1]}"
    expect(tab.share(target)).to_be_hidden()
    tab.experts(group)
    means = tab.model.route(QUESTION).expert_shares.mean(0)
    for name in experts:  # untouched sliders stand at the router's own value
        mean = float(means[tab.layout.expert_index(f"{group}/{name}")])
        expect(tab.share(f"{group}/{name}")).to_have_value(str(round(100 * mean)))
    tab.press(target, "Home", *["ArrowRight"] * 3)
    expect(tab.badge).to_have_text("1 change")
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(target, State.FIXED, 0.03),)))
    )
    expect(tab.page.locator("#weights")).to_contain_text(f"✎ {experts[1]}")
    tab.state(target, "Off").check()
    expect(tab.page.locator("#reading")).to_contain_text(f"{target} off in all layers")
    assert flat(tab.steered()) == flat(expected(tab, Steering((Override(target, State.OFF),))))
    tab.page.get_by_role("button", name=f"Reset {group}", exact=True).click()
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.state(target, "Router")).to_be_checked()


def test_a_locked_share_stays_and_what_it_makes_impossible_is_refused(tab):
    first, second, *_, last = tab.layout.group_names
    tab.press(first, "Home", *["ArrowRight"] * 4)
    tab.lock(first).click()
    expect(tab.share(first)).to_be_disabled()
    for group in tab.layout.group_names[1:]:
        tab.state(group, "Fixed").check()
    tab.press(last, "End")
    refusal = tab.page.locator("#panel .refusal")
    expect(refusal).to_have_text(
        f"{first} is locked at 4%, which leaves 96% for {last}. Unlock to give it another share."
    )
    assert [tab.share(group).input_value() for group in (first, second, last)] == ["4", "0", "96"]
    tab.press(last, "ArrowLeft")
    expect(refusal).to_have_text("")
    assert [tab.share(group).input_value() for group in (first, second, last)] == ["4", "1", "95"]
    tab.lock(second).click()
    tab.press(last, "ArrowLeft")
    expect(refusal).to_have_text(
        f"{first} and {second} are locked at 5%, which leaves 95% for {last}. "
        "Unlock to give it another share."
    )
    assert tab.share(last).input_value() == "95"
    expect(tab.message).to_have_count(0)


def test_what_the_server_refuses_is_said_and_the_control_goes_back(tab, monkeypatch):
    group, other = tab.layout.group_names[:2]
    tab.state(other, "Off").check()
    tab.press(group, "End")
    expect(tab.badge).to_have_text("2 changes")

    def refuse(*_):
        raise SteeringError("Not this time; set another share.")

    monkeypatch.setattr(Controls, "checked", refuse)
    tab.press(group, "Home")
    expect(tab.message).to_have_text("Not this time; set another share.")
    expect(tab.share(group)).to_have_value("100")
    expect(tab.state(other, "Off")).to_be_checked()


def test_any_moves_of_any_siblings_stay_possible(tab):
    """The shares as they are kept in the browser: 2,000 random moves, states and locks."""
    source = (ROOT / "assets/app/shares.js").read_text("utf-8")
    broken = tab.page.evaluate(
        """([source]) => {
      const balance = eval(source); let seed = 7; const broken = [];
      const random = (n) => (seed = (seed * 16807) % 2147483647) % n;
      for (let n = 1; n <= 7; n++) {
        let all = Array.from({ length: n }, (_, i) => (
          { name: `e${i}`, state: "router", share: random(101), locked: false }));
        for (let step = 0; step < 300; step++) {
          const moved = random(n), before = all, dragged = random(3) > 0;
          if (random(5) === 0 && all[moved].state === "fixed")
            all = all.map((s, i) => (i === moved ? { ...s, locked: !s.locked } : s));
          if (all[moved].locked && dragged) continue;
          const change = dragged
            ? { share: random(101) } : { state: ["router", "fixed", "off"][random(3)] };
          const locks = all.filter((s, i) => s.locked && i !== moved).map((s) => s.share);
          const changed = all.map((s, i) => (i === moved ? { ...s, ...change } : s));
          const { siblings, refusal } = balance(changed, moved, dragged);
          const fixed = siblings.filter((s) => s.state === "fixed");
          const total = fixed.reduce((sum, s) => sum + s.share, 0);
          const odd = siblings.some((s) => s.share < 0 || s.share % 1);
          if (total > 100 || (fixed.length === n && total !== 100) || odd)
            broken.push([step, siblings]);
          const locked = siblings.filter((s, i) => s.locked && i !== moved).map((s) => s.share);
          if (String(locked) !== String(locks)) broken.push([step, "lock"]);
          if (dragged && (siblings[moved].share !== change.share) !== (refusal !== ""))
            broken.push([step, refusal]);
          all = siblings;
        }
      }
      return broken;
    }""",
        [source],
    )
    assert not broken


def test_undo_and_redo_take_the_controls_back_and_forth(tab):
    group, other = tab.layout.group_names[:2]
    undo, redo = (
        tab.page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo")
    )
    expect(undo).to_be_disabled()
    tab.press(group, "End")
    expect(tab.badge).to_have_text("1 change")
    tab.state(other, "Off").check()
    expect(tab.badge).to_have_text("2 changes")
    undo.click()
    expect(tab.badge).to_have_text("1 change")
    assert tab.share(group).input_value() == "100"
    undo.click()
    expect(tab.badge).to_have_text("Router's own weights")
    expect(undo).to_be_disabled()
    redo.click()
    expect(tab.badge).to_have_text("1 change")
    redo.click()
    expect(tab.state(other, "Off")).to_be_checked()
    assert tab.share(group).input_value() == "100"
    expect(redo).to_be_disabled()


def test_a_preset_is_one_setting_of_which_the_names_must_exist(browser, worlds):
    half = {"Half <b>": {"task/treat": 50, "field": "off"}}
    other = Page(presets={**half, "Not for this one": {"task/dance": "off"}})
    with pytest.raises(SteeringError, match="no expert 'dance' in 'task'"):
        build(worlds(PAGE).build(page=other))
    model = worlds(PAGE).build(scripts=("LATIN",), page=Page(presets=half))
    demo = build(model)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with visit(browser, (address, model)) as tab:
        expect(tab.page.get_by_role("group", name="Presets").get_by_role("button")).to_have_text(
            ["Half <b>"]
        )
        tab.press("reader", "End")
        expect(tab.badge).to_have_text("1 change")
        tab.page.get_by_role("button", name="Half <b>").click()
        expect(tab.second).to_contain_text(
            "field off in all layers; task/treat fixed at 50% in all layers."
        )
        expect(tab.badge).to_have_text("2 changes")
        tab.experts("task")
        assert tab.share("task/treat").input_value() == "50"
        tab.page.get_by_role("button", name="Undo", exact=True).click()
        expect(tab.second).to_contain_text(
            "Set for your question: reader fixed at 100% in all layers."
        )
    demo.close()


def test_what_was_measured_of_strengths_stands_at_the_slider_and_under_an_answer_beyond_it(
    browser, worlds, tmp_path
):
    model = worlds(PAGE).build(scripts=("LATIN",))
    report = study(model, [QUESTION], sampling=Sampling(50, repetition_penalty=REPETITION_PENALTY))
    report["range"]["logp"] = [-0.001, 0.0]  # no answer is as likely as that
    (tmp_path / "strength.json").write_text(json.dumps(report), "utf-8")
    demo = build(model, tmp_path)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with visit(browser, (address, model)) as tab:
        expect(tab.page.get_by_label("range slider for Strength of all experts")).to_have_attribute(
            "title",
            re.compile("Measured on 1 question: at strength 1, nine in ten answers repeated"),
        )
        tab.ask(tokens=60)
        warning = tab.page.locator("#first-facts .warns")
        expect(warning).to_contain_text("Unlike 95% of the 1 answer measured at strength 1: ")
        expect(warning).to_contain_text(
            "its words in its first 50 tokens are less likely, mean log-probability −"
        )
        tab.ask(tokens=20)  # too short to be held against them
        expect(warning).to_have_count(0)
    demo.close()


def test_switching_off_keeps_the_settings(tab):
    group = tab.layout.group_names[0]
    tab.ask()
    tab.press(group, "End")
    tab.steered()
    switch = tab.page.get_by_role("switch", name="Steering on")
    switch.uncheck()
    expect(tab.second).to_contain_text(
        f"Switched off, and kept: {group} fixed at 100% in all layers."
    )
    expect(tab.badge).to_have_text("Switched off · 1 change kept")
    assert tab.share(group).input_value() == "100"
    switch.check()
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(group, State.FIXED, 1.0),)))
    )


def test_an_opened_record_restores_the_page_and_comes_out_identical(browser, served, tmp_path):
    record, changed, broken = (
        tmp_path / f"{name}.json" for name in ("record", "changed", "broken")
    )
    with visit(browser, served) as tab:
        group = tab.layout.group_names[0]
        tab.ask()
        tab.press(group, "End", "ArrowLeft")
        tab.lock(group).click()
        steered = tab.steered()
        expect(tab.page.locator("#comparison tbody tr")).to_have_count(2)
        data = {"comparison": None}
        deadline = time.monotonic() + WAIT / 1000
        while not data["comparison"] and time.monotonic() < deadline:  # or it is of "End" still
            record.write_bytes(tab.downloaded())
            data = json.loads(record.read_text("utf-8"))
    assert data["comparison"]["logp"] and data["controls"]["set"] == {group: ["fixed", 99, True]}
    data["steered"] |= {
        "answer": "Something <b>else",
        "answer_tokens": [5, 6],
        "versions": {"torch": "1.0"},
    }
    changed.write_text(json.dumps(data), "utf-8")
    with visit(browser, served) as tab:
        tab.page.get_by_role("tab", name="Keep").click()
        said, choose = tab.page.locator("#replayed"), tab.page.locator("#keep [type=file]")
        for path, sentence in (
            (record, "The steered answer came out identical, token by token. Model, base, seed 0,"),
            (changed, "The steered answer differs: after 0 equal words the record has “Something”"),
        ):
            choose.set_input_files(path)
            expect(said).to_contain_text(sentence)
            expect(said).to_contain_text("The router's answer came out identical")
            assert tab.question.input_value() == QUESTION
            expect(tab.second).to_have_text(flat(steered))
            assert tab.share(group).input_value() == "99"
            expect(tab.share(group)).to_be_disabled()
            expect(tab.badge).to_have_text("1 change")
        expect(said).to_contain_text("torch (1.0 then,")
        broken.write_text("{}", "utf-8")
        choose.set_input_files(broken)
        expect(tab.message).to_contain_text("This file is no record of this page")
        assert tab.question.input_value() == QUESTION
        tab.page.get_by_role("button", name="Reset all").click()
        expect(said).to_have_text("")


def test_an_opened_record_restores_doses_and_third_answer_without_measuring_again(
    browser, served, tmp_path, monkeypatch
):
    record, again = tmp_path / "record.json", tmp_path / "again.json"

    def download(tab: Tab, path: Path) -> dict:
        path.write_bytes(tab.downloaded())
        return json.loads(path.read_text("utf-8"))

    shown = ["#dose-answer .passage", "#dose-table table", "#third .passage"]
    with visit(browser, served) as tab:
        target = tab.layout.group_names[-1]
        tab.ask()
        third(tab, Beside.UNIFORM)
        expect(tab.page.locator("#comparison tbody tr")).to_have_count(2)
        tab.page.get_by_role("tab", name="What if").click()
        choose(tab, "Part to vary", target)
        tab.page.get_by_role("button", name="Answer at five shares").click()
        expect(tab.page.locator("#dose-progress")).to_contain_text("Measured.")
        held = download(tab, record)
        before = [tab.page.locator(place).text_content() for place in shown]
    assert (
        held["router"]["response"]["target"] == target
        and len(held["router"]["response"]["answers"]) == 5
    )
    assert held["beside"]["kind"] == "uniform"
    monkeypatch.setattr("app.what_if.desk.dosing", lambda *_: pytest.fail("measured again"))
    with visit(browser, served) as tab:
        tab.page.get_by_role("tab", name="Keep").click()
        tab.page.locator("#keep [type=file]").set_input_files(record)
        expect(tab.page.locator("#replayed")).to_contain_text(
            "The router's answer came out identical"
        )
        expect(tab.page.locator("#third-facts")).to_contain_text(
            "From the opened record; not answered again."
        )
        expect(tab.page.locator("#comparison tbody tr")).to_have_count(2)
        tab.page.get_by_role("tab", name="What if").click()
        expect(tab.page.locator("#dose-progress")).to_have_text(
            "From the opened record, not measured again. Move the slider to read each answer."
        )
        expect(tab.page.locator("#tabs .js-plotly-plot").last).to_be_visible()
        assert [tab.page.locator(place).text_content() for place in shown] == before
        assert download(tab, again)["router"]["response"] == held["router"]["response"]
        tab.ask("What causes gout?")
        expect(tab.page.locator("#dose-table table")).to_have_count(0)
        expect(tab.page.locator("#third .passage")).to_have_count(0)
        assert download(tab, again)["router"]["response"] is None


def test_one_part_is_answered_at_five_shares_and_a_slider_plays_them(tab):
    target = tab.layout.group_names[-1]
    tab.page.get_by_role("tab", name="What if").click()
    start, progress = (
        tab.page.get_by_role("button", name="Answer at five shares"),
        tab.page.locator("#dose-progress"),
    )
    expect(start).to_be_disabled()
    tab.ask()
    tab.page.get_by_label("Part to vary", exact=True).click()
    tab.page.get_by_role("option", name=target, exact=True).click()
    start.click()
    expect(progress).to_have_text("Measured. Move the slider to read each answer.")
    record = tab.model.answer(QUESTION, Steering(), sampling_of(TOKENS, 0, 0))
    *_, response = dosing(tab.model, record, target)
    answer, slider = (
        tab.page.locator("#dose-answer .passage"),
        tab.page.get_by_label("range slider for Answer at this share, %"),
    )
    slider.focus()
    for step, said in enumerate(response.answers):
        if step:
            tab.page.keyboard.press("ArrowRight")
        expect(slider).to_have_value(str(25 * step))
        expect(answer).to_have_text(said)
    rows = tab.page.locator("#dose-table tbody tr")
    expect(rows).to_have_count(5)
    for row, said, logp in zip(rows.all(), response.answers, response.logp or [None] * 5):
        expect(row.locator("td").nth(1)).to_have_text(str(len(said.split())))
        expect(row.locator("td").nth(2)).to_have_text(
            "–" if logp is None else f"{logp:.2f}".replace("-", "−")
        )
    expect(tab.page.locator("#tabs .js-plotly-plot").last).to_be_visible()
    tab.press(target, "End")  # steering leaves it alone, a new question does not
    tab.steered()
    expect(rows).to_have_count(5)
    tab.ask("What causes gout?")
    expect(rows).to_have_count(0)
    expect(tab.page.locator("#dose-answer")).to_contain_text("is answered five times more")


def test_off_scope_strength_and_reset(tab):
    group = tab.layout.group_names[0]
    tab.state(group, "Off").check()
    expect(tab.second).to_contain_text(f"Set for your question: {group} off in all layers.")
    tab.page.get_by_label("Late", exact=False).check()
    tab.ask()
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(group, State.OFF, None, "late"),)))
    )
    expect(tab.page.locator("#steer")).to_contain_text("nobody takes it over")
    tab.page.get_by_label("range slider for Strength of all experts").focus()
    tab.page.keyboard.press("Home")
    expect(tab.badge).to_have_text("2 changes")
    expect(tab.page.locator("#reading")).to_contain_text("the base model alone")
    before = tab.first.inner_text()
    tab.page.get_by_role("button", name="Reset all").click()
    expect(tab.second).to_contain_text("Untouched")
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.state(group, "Router")).to_be_checked()
    assert tab.first.inner_text() == before


def test_the_record_comes_down_as_json(tab):
    tab.ask()
    tab.press(tab.layout.group_names[0], "End")
    steered = tab.steered()
    data = json.loads(tab.downloaded())
    router, second = Record.from_dict(data["router"]), Record.from_dict(data["steered"])
    assert router.steering.untouched and router.prompt == QUESTION
    assert flat(second.answer) == flat(steered) and second.steering.overrides[0].share == 1
    assert second.router_plan.close_to(router.plan)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "The question is empty"),
        ("   ", "The question is empty"),
        ("什么是哮喘，它是怎么治疗的？", "in Latin letters"),
        ("asthma \x07 ?", "control character"),
        ("asthma " * 4000, "shorten it"),
        ("12 + 30 = ?", "no words"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_so(tab, question, said):
    tab.question.fill(question)
    tab.page.get_by_role("button", name="Answer", exact=True).click()
    expect(tab.message).to_contain_text(said)
    assert tab.question.input_value() == question


def test_stop_ends_an_answer_and_keeps_what_is_there(tab, monkeypatch):
    step = Batching.step

    def slow(batching):
        time.sleep(0.05)  # or a tiny model has ended before anybody can stop it
        step(batching)

    monkeypatch.setattr(Batching, "step", slow)
    tab.tokens(400)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Control+Enter")
    expect(tab.first_facts).to_contain_text(re.compile(r"\d tokens"))
    tab.stop()
    expect(tab.first_facts).to_contain_text("stopped before its end")
    assert 0 < int(re.search(r"(\d+) token", tab.first_facts.text_content())[1]) < 400


def test_a_question_stopped_before_it_is_routed_has_no_plan_until_the_steered_answer_brings_it(
    tab, monkeypatch
):
    other, group = "What is gout, and what should I eat?", tab.layout.group_names[0]
    line, reading = (tab.page.locator(place) for place in ("#routing-line", "#reading"))
    cell_of_it = cell(tab, 0, 2)
    unasked = line.inner_text(), cell_of_it.get_attribute("aria-label")

    def waiting(batching, question, steering, *rest):
        while question.prompt == other and steering.untouched:
            time.sleep(0.02)
            yield LATER
        yield from answer(batching, question, steering, *rest)

    monkeypatch.setattr("app.desk.answer", waiting)
    tab.ask()
    expect(line).to_contain_text("The router reads")
    tab.question.fill(other)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#first-asked")).to_contain_text(other)
    expect(tab.page.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    tab.stop()
    expect(tab.first).to_contain_text("Stopped before the first word.")
    expect(line).to_have_text(unasked[0])
    expect(reading).to_have_text(unasked[0])
    expect(cell_of_it).to_have_attribute("aria-label", unasked[1])
    expect(tab.page.locator("#table")).to_contain_text("Filled in once you ask.")
    # its steered answer is routed all the same
    tab.press(group, "End")
    tab.steered()
    view = View.of(tab.model.route(other), Steering((Override(group, State.FIXED, 1.0),)))
    expect(reading).to_have_text(words.reading(view).replace("**", ""))
    expect(line).to_contain_text("The router reads")
    note = tab.page.locator(f'#panel [data-target="{group}"] [data-part=note]').first
    expect(note).to_have_text(words.share_notes(view)[group])


def test_who_finds_no_place_is_told_and_a_closed_tab_gives_its_place_to_the_next(
    browser, worlds, monkeypatch
):
    model, rows, gate = worlds(PAGE).build(scripts=("LATIN",)), [], Semaphore(0)
    beginning, step = Batching.beginning, Batching.step

    def noted(*args):
        rows.append((yield from beginning(*args)))
        return rows[-1]

    monkeypatch.setattr(Batching, "beginning", noted)
    monkeypatch.setattr(
        Batching, "step", lambda self: (gate.acquire(timeout=0.2), step(self))
    )  # slow until released
    monkeypatch.setattr("app.serving.Worker", lambda: Worker(answers_at_once=1))
    demo = build(model)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    try:
        with (
            visit(browser, (address, model)) as first,
            visit(browser, (address, model)) as second,
            visit(browser, (address, model)) as third,
        ):
            for tab, said in (
                (first, "tokens"),
                (second, "yours is next"),
                (third, "1 answer is before yours"),
            ):
                tab.tokens(400)
                tab.question.fill(QUESTION)
                tab.page.keyboard.press("Enter")
                expect(tab.page.locator("#answer")).to_contain_text(said)
            first.page.close()
            expect(second.first_facts).to_contain_text("token")
            expect(third.first).to_contain_text("Waiting for a free place: yours is next")
            assert rows[0].finish is None and len(rows[0].tokens) < 400
            second.stop()
            gate.release(400)
            expect(third.first_facts).to_contain_text(ENDED)
    finally:
        gate.release(4000)
        demo.close()


def test_asked_again_the_answer_is_there_at_once_and_says_so(tab):
    tab.ask()
    once = tab.first.inner_text()
    tab.ask()
    assert tab.first.inner_text() == once
    expect(tab.first_facts).to_contain_text("given before, not decoded again")
    expect(tab.first_facts).not_to_contain_text("per second")


def test_two_visitors_with_opposite_sliders_do_not_touch_each_other(browser, served):
    with visit(browser, served) as left, visit(browser, served) as right:
        first, *_, last = left.layout.group_names
        left.press(first, "End")
        right.press(last, "End")
        for tab in (left, right):
            expect(tab.second).to_contain_text("fixed at 100%")
            tab.tokens(TOKENS)
            tab.question.fill(QUESTION)
        for tab in (left, right):
            tab.page.keyboard.press("Enter")
        for tab, group in ((left, first), (right, last)):
            assert flat(tab.steered()) == flat(
                expected(tab, Steering((Override(group, State.FIXED, 1.0),)))
            )
            expect(tab.first_facts).to_contain_text("per second")
            assert flat(tab.first.inner_text()) == flat(expected(tab, Steering()))


def test_two_browsers_in_opposite_directions_get_what_they_get_alone(browser, served):
    """A minute of it with the shipped model: tests/tools/two_browsers.py."""
    from tools.two_browsers import different, opposite  # which is made of this file's Tab

    with visit(browser, served) as left, visit(browser, served) as right:
        given = opposite([left, right], 3, TOKENS)
        assert len(given) >= 4 and len({answer for *_, answer in given}) > 1
        assert different(left.model, given, TOKENS) == []
