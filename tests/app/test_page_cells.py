"""Cells picked on the heatmaps, undo and redo, and a person's own presets, in a real browser."""

import json
import re
import time

import pytest
from browser import (
    KEPT,
    QUESTION,
    Tab,
    bar,
    cell,
    drag,
    expected,
    flat,
    keep,
    listed,
    middle,
    new,
    picked,
    visit,
)
from conftest import ROOT

from app.controls import Controls
from app.view import sampling_of
from atmoe import Override, State, Steering

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect


def test_a_dragged_rectangle_is_switched_off_and_the_answer_follows(tab):
    tab.ask()
    first, second = tab.layout.group_names[:2]
    drag(tab, (0, 1), (1, 3))
    expect(picked(tab)).to_have_text(f"Picked: layers 1–3 of {first}, {second}")
    assert tab.page.locator(".cell-grid [aria-selected=true]").count() == 6
    bar(tab, "Off").click()
    steering = Steering(tuple(Override(group, State.OFF, None, "1-3") for group in (first, second)))
    assert flat(tab.steered()) == flat(expected(tab, steering))
    expect(listed(tab)).to_have_text([f"{group} off · layers 1–3" for group in (first, second)])
    expect(tab.badge).to_have_text("2 changes")
    expect(tab.page.locator("#reading")).to_contain_text(f"{first} and {second} off in layers 1–3")
    shapes = tab.page.evaluate(
        "document.querySelector('#groups-map .js-plotly-plot')"
        ".layout.shapes.map(({ x0, x1 }) => [x0, x1])"
    )
    assert shapes == [[0.5, 3.5]] * 2
    expect(cell(tab, 0, 2)).to_have_attribute(
        "aria-label", re.compile(f"{first} receives 0.0% .* at layer 2; the router gave")
    )
    facts = new(tab.second_facts)
    tab.page.get_by_role("button", name=f"Take back: {first} off · layers 1–3", exact=True).click()
    expect(listed(tab)).to_have_text([f"{second} off · layers 1–3"])
    expect(facts).to_contain_text("per second")
    assert flat(tab.second.inner_text()) == flat(expected(tab, Steering(steering.overrides[1:])))
    tab.page.get_by_role("button", name="Reset all").click()
    expect(listed(tab)).to_have_count(0)
    expect(tab.badge).to_have_text("Router's own weights")


def test_escape_closes_what_a_mouse_picked_and_cells_that_differ_have_no_one_share(tab):
    tab.ask()
    share = tab.page.locator("#cells [data-part=share]")
    plan = tab.model.route(QUESTION)
    shares = [round(100 * float(x)) for x in plan.group_shares[1:4, :2].flatten()]
    assert min(shares) != max(shares)
    drag(tab, (0, 1), (1, 3))
    expect(share).to_have_value("")
    expect(share).to_have_attribute("placeholder", f"{min(shares)}–{max(shares)}")
    bar(tab, "Fix at this share").click()
    expect(tab.page.locator("#cells [data-part=refusal]")).to_contain_text("enter one")
    drag(tab, (0, 2), (0, 2))
    expect(share).to_have_value(str(round(100 * float(plan.group_shares[2, 0]))))
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#cells .picker")).to_be_hidden()
    assert tab.page.locator(".cell-grid [aria-selected=true]").count() == 0
    expect(listed(tab)).to_have_count(0)


def test_the_keyboard_alone_picks_and_sets_cells(tab):
    tab.ask()
    page, layers = tab.page, tab.layout.layers
    target = tab.layout.expert_names[1]
    cell(tab, 0, 0, "groups-map").focus()
    page.keyboard.press("Tab")  # one stop a picture
    expect(cell(tab, 0, 0, "experts-map")).to_be_focused()
    for key in ("ArrowDown", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(cell(tab, 1, 3, "experts-map")).to_be_focused()
    expect(picked(tab)).to_have_text(f"Picked: layers 1–3 of {target}")
    page.keyboard.press("Enter")
    expect(page.get_by_label("share, %", exact=True)).to_be_focused()
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    assert flat(tab.steered()) == flat(
        expected(tab, Steering((Override(target, State.FIXED, 0.05, "1-3"),)))
    )
    expect(listed(tab)).to_have_text([f"{target.replace('/', ' → ')} 5% · layers 1–3"])
    page.keyboard.press("Escape")
    expect(cell(tab, 1, 3, "experts-map")).to_be_focused()
    page.keyboard.press("End")
    expect(cell(tab, 1, layers - 1, "experts-map")).to_be_focused()
    page.keyboard.press("Space")
    expect(picked(tab)).to_have_text(f"Picked: layer {layers - 1} of {target}")
    page.keyboard.press("ArrowRight")
    expect(cell(tab, 1, layers - 1, "experts-map")).to_be_focused()
    page.keyboard.press("Escape")
    expect(tab.page.locator("#cells .picker")).to_be_hidden()


def test_layers_can_be_typed_and_the_router_takes_cells_back(tab):
    group = tab.layout.group_names[0]
    tab.press(group, "End")
    drag(tab, (0, 2), (0, 2))
    first, last = (tab.page.get_by_label(name, exact=True) for name in ("from layer", "to layer"))
    last.fill("4")
    last.press("Tab")
    expect(picked(tab)).to_have_text(f"Picked: layers 2–4 of {group}")
    first.fill("99")
    first.press("Tab")
    expect(first).to_have_value(str(tab.layout.layers - 1))
    first.fill("3")
    last.fill("4")
    last.press("Tab")
    bar(tab, "Back to Router").click()
    expect(listed(tab)).to_have_text([f"{group} 100%", f"{group} the router's · layers 3–4"])
    tab.ask()
    steering = Steering(
        (Override(group, State.FIXED, 1.0), Override(group, State.ROUTER, None, "3-4"))
    )
    assert flat(tab.steered()) == flat(expected(tab, steering))
    tab.state(group, "Router").check()  # nothing is left to leave out of
    expect(listed(tab)).to_have_count(0)
    expect(tab.badge).to_have_text("Router's own weights")


def test_what_is_set_later_takes_its_layers_from_what_was_set_before_and_undo_gives_them_back(tab):
    group = tab.layout.group_names[0]
    undo, redo = (
        tab.page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo")
    )
    drag(tab, (0, 0), (0, 4))
    bar(tab, "Off").click()
    drag(tab, (0, 2), (0, 2))
    tab.page.get_by_label("share, %", exact=True).fill("70")
    bar(tab, "Fix at this share").click()
    parts = [
        f"{group} off · layers 0–1",
        f"{group} off · layers 3–4",
        f"{group} 70% · layer 2",
    ]
    expect(listed(tab)).to_have_text(parts)
    expect(tab.second).to_contain_text(
        f"{group} off in layers 0–1; {group} fixed at 70% in layer 2; {group} off in layers 3–4."
    )
    undo.click()
    expect(listed(tab)).to_have_text([f"{group} off · layers 0–4"])
    undo.click()
    expect(listed(tab)).to_have_count(0)
    expect(tab.second).to_contain_text("Untouched")
    redo.click()
    redo.click()
    expect(listed(tab)).to_have_text(parts)
    expect(tab.second).to_contain_text(f"{group} fixed at 70% in layer 2")
    tab.experts(group)
    tab.page.get_by_role("button", name=f"Reset {group}", exact=True).click()
    expect(listed(tab)).to_have_count(0)


@pytest.mark.parametrize("seconds", [0, 2])  # the undo is then sent together with the cells
def test_impossible_cells_are_refused_beside_them_and_nothing_is_lost(tab, monkeypatch, seconds):
    read = Controls.from_dict

    def slowly(*args):
        time.sleep(seconds)
        return read(*args)

    monkeypatch.setattr(Controls, "from_dict", slowly)
    first, second = tab.layout.group_names[:2]
    tab.press(first, "End")
    tab.page.get_by_role("button", name="Undo", exact=True).click()
    redo = tab.page.get_by_role("button", name="Redo", exact=True)
    drag(tab, (0, 1), (1, 2))
    share = tab.page.get_by_label("share, %", exact=True)
    refusal = tab.page.locator("#cells [data-part=refusal]")
    share.fill("60")
    bar(tab, "Fix at this share").click()
    expect(refusal).to_have_text(
        "The fixed shares sum to 120% (layer 1); lower them to 100% or less."
    )
    expect(tab.message).to_have_text(refusal.inner_text())
    tab.page.wait_for_timeout(1000 * seconds + 500)  # nor does what is sent again take it away
    assert refusal.inner_text() == tab.message.inner_text().removesuffix("✕").strip() != ""
    expect(listed(tab)).to_have_count(0)
    expect(picked(tab)).to_have_text(f"Picked: layers 1–2 of {first}, {second}")
    expect(redo).to_be_enabled()
    share.fill("140")
    bar(tab, "Fix at this share").click()
    expect(refusal).to_have_text("A share is between 0% and 100%; enter one.")
    share.fill("40")
    bar(tab, "Fix at this share").click()
    expect(listed(tab)).to_have_count(2)
    expect(tab.second).to_contain_text(f"{first} and {second} fixed at 40% in layers 1–2")
    expect(refusal).to_have_text("")
    expect(tab.message).to_have_count(0)


def test_a_finger_picks_across_and_the_page_can_still_be_scrolled(browser, served):
    with visit(browser, served, width=800, height=400, has_touch=True) as tab:
        expect(tab.page.locator(".cell-grid")).to_have_count(2)
        cell(tab, 0, 2).scroll_into_view_if_needed()
        assert (
            cell(tab, 0, 2).evaluate(
                "() => getComputedStyle("
                "document.querySelector('#groups-map .nsewdrag')).touchAction"
            )
            == "pan-y"
        )
        tab.page.touchscreen.tap(*middle(tab, 1, 2))
        expect(picked(tab)).to_have_text(f"Picked: layer 2 of {tab.layout.group_names[1]}")
        # A scroll that begins on a picture is told by the browser as a pointer that was cancelled.
        tab.page.evaluate(
            """([x, y]) => {
            const at = document.elementFromPoint(x, y);
            const say = (kind) => at.dispatchEvent(new PointerEvent(
              kind, { bubbles: true, clientX: x, clientY: y, pointerType: "touch" }));
            say("pointerdown"); say("pointercancel"); }""",
            list(middle(tab, 0, 0)),
        )
        expect(picked(tab)).to_have_text(f"Picked: layer 2 of {tab.layout.group_names[1]}")


def test_a_pick_survives_the_pictures_being_drawn_again(tab):
    group = tab.layout.group_names[0]
    drag(tab, (0, 1), (0, 2))
    tab.ask()
    picker = tab.page.locator("#cells .picker")
    expect(picker).to_be_visible()
    tab.open("Table")
    expect(picker).to_be_hidden()  # or it lies over what is read there
    tab.open("Weights")
    expect(picker).to_be_visible()
    expect(picked(tab)).to_have_text(f"Picked: layers 1–2 of {group}")
    expect(cell(tab, 0, 2)).to_have_attribute("aria-selected", "true")
    tab.page.wait_for_function(
        """layers => {
        const last = (one) => [...document.querySelectorAll(`#groups-map ${one}`)].at(-1);
        const [cell, drawn] = [".cell-grid [data-row='0'][data-layer='4']", ".nsewdrag"].map(
            (one) => last(one).getBoundingClientRect());
        const middle = (cell.top + cell.bottom) / 2;
        return cell.width && Math.abs(cell.x - drawn.x - 4 * drawn.width / layers) < 1.5
            && drawn.top <= middle && middle <= drawn.bottom;
    }""",
        arg=tab.layout.layers,
    )  # put back a frame or two after the pictures are seen again
    x, y = middle(tab, 0, 4)
    tab.page.mouse.click(x, y)
    expect(picked(tab)).to_have_text(f"Picked: layer 4 of {group}")


def test_a_link_holds_cells_and_gives_them_back(browser, served):
    with visit(browser, served) as tab:
        expect(tab.page.locator(".cell-grid")).to_have_count(2)
        group = tab.layout.group_names[0]
        tab.press(group, "Home")
        drag(tab, (0, 2), (0, 3))
        bar(tab, "Off").click()
        expect(tab.second).to_contain_text("off in layers 2–3")
        tab.page.locator("#share-button").click()
        link = tab.page.get_by_label("Link", exact=True)
        expect(link).to_have_value(f"{tab.address}?v=2&set={group}:0&cells={group}:2-3:off")
        address = link.input_value()
    with visit(browser, (address, served[1])) as tab:
        expect(tab.message).to_contain_text(
            f"{group} fixed at 0% in all layers; {group} off in layers 2–3."
        )
        expect(listed(tab)).to_have_text([f"{group} 0%", f"{group} off · layers 2–3"])


def test_a_record_that_sets_several_ranges_of_layers_is_opened_again(browser, served, tmp_path):
    model = served[1]
    group = model.layout.group_names[0]
    steering = Steering(
        (
            Override(group, State.FIXED, 0.8, "late"),
            Override(group, State.OFF, None, "0-1"),
            Override(group, State.FIXED, 0.1, "3"),
        )
    )
    router, steered = (
        model.answer(QUESTION, s, sampling_of(12, 0, 0)) for s in (Steering(), steering)
    )
    path = tmp_path / "record.json"
    path.write_text(
        json.dumps(
            {
                "router": router.to_dict(),
                "steered": steered.to_dict(),
                "controls": Controls().to_dict(),
            }
        ),
        "utf-8",
    )
    with visit(browser, served) as tab:
        tab.page.get_by_role("tab", name="Keep").click()
        tab.page.locator("#keep [type=file]").set_input_files(path)
        expect(tab.page.locator("#replayed")).to_contain_text(
            "The steered answer came out identical"
        )
        assert flat(tab.second.inner_text()) == flat(steered.answer)
        expect(tab.page.get_by_role("radio", name="Late")).to_be_checked()
        assert tab.share(group).input_value() == "80"
        expect(listed(tab)).to_have_text(
            [
                f"{group} 80% · late layers",
                f"{group} off · layers 0–1",
                f"{group} 10% · layer 3",
            ]
        )


def test_presses_that_follow_each_other_at_once_are_steps_and_none_overtakes_another(
    tab, monkeypatch
):
    """The first request is held up: what comes last must count in the end, all over the page."""
    group, other = tab.layout.group_names[:2]
    tab.press(group, "End")
    expect(tab.second).to_contain_text(
        f"Set for your question: {group} fixed at 100% in all layers."
    )
    for name in ("Off", "Router", "Off"):
        tab.state(other, name).check()
        expect(tab.badge).to_have_text(f"{1 + (name == 'Off')} change{'s' * (name == 'Off')}")
    # What was set before has been heard: what is pressed while a request is out goes in one.
    expect(tab.second).to_contain_text(f"{other} off")
    read, seen = Controls.from_dict.__func__, []

    def slow(cls, data, layout):
        seen.append(data)
        if len(seen) == 1:
            time.sleep(1)
        return read(cls, data, layout)

    monkeypatch.setattr(Controls, "from_dict", classmethod(slow))
    tab.page.evaluate("""() => { const press = (what, times) => {
          for (let i = 0; i < times; i++) document.querySelector(`[data-do=${what}]`).click(); };
        press("undo", 4); press("redo", 1); }""")
    expect(tab.badge).to_have_text("1 change")
    expect(tab.second).to_contain_text(
        f"Set for your question: {group} fixed at 100% in all layers."
    )
    expect(tab.state(other, "Router")).to_be_checked()
    for _ in range(100):  # the second one may say what the first said already
        if len(seen) > 1:
            break
        tab.page.wait_for_timeout(100)
    assert [data["at"] for data in seen] == sorted(data["at"] for data in seen) and len(seen) == 2
    assert seen[-1]["set"] == {group: ["fixed", 100, False]}
    tab.page.evaluate(
        "() => { for (let i = 0; i < 2; i++) document.querySelector('[data-do=redo]').click(); }"
    )
    expect(tab.state(other, "Router")).to_be_checked()
    expect(tab.page.get_by_role("button", name="Redo", exact=True)).to_be_enabled()


def test_history_in_the_browser(tab):
    source = (ROOT / "assets/app/history.js").read_text("utf-8")
    said = tab.page.evaluate(
        """([source]) => {
      const make = eval(source), said = {};
      const start = { set: {}, strength: 1, scope: "all", on: true, cells: [] };
      const fixed = (percent, more) => (
        { ...start, set: { task: ["fixed", percent, false] }, ...more });
      const walk = (history, settings, gap) => settings.reduce(
        (before, after, i) => (i && history.record(before, after, 1e5 + i * gap), after));
      const back = (history, current) => {
        const found = [];
        while (history.can().undo) found.push((current = history.undo(current)));
        return found;
      };
      const forth = (history, current) => {
        const found = [];
        while (history.can().redo) found.push((current = history.redo(current)));
        return found;
      };
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

      let history = make(), settings = [start, fixed(50), fixed(60), { ...start, strength: 2 },
        fixed(60, { cells: [["task", 1, 2, "off", 0]] })];
      let current = walk(history, settings, 2000), undone = back(history, current);
      said["each in turn"] = same(undone, settings.slice(0, -1).reverse())
        && same(forth(history, start), settings.slice(1)) && history.redo(current) === current;

      // a drag is one setting; a state, a lock, a scope, a cell or the switch within it is another
      history = make();
      const drag = [start, ...Array.from({ length: 20 }, (_, i) => fixed(50 + i))];
      const last = drag.at(-1);
      const others = [{ ...start, set: { task: ["off", 69, false] } }, last,
        { ...start, set: { task: ["fixed", 69, true] } }, { ...last, on: false },
        { ...last, scope: "late" }, { ...last, cells: [["task", 1, 2, "off", 0]] }];
      said["a drag"] = same(back(history, walk(history, [...drag, ...others], 400)),
        [...others.slice(0, -1).reverse(), last, start]);

      history = make();
      current = history.undo(walk(history, [start, fixed(50), fixed(60)], 2000));
      history.record(current, fixed(70), 2e5);
      said["a change after undo"] = !history.can().redo && same(history.undo(fixed(70)), fixed(50));

      history = make();
      current = history.undo(walk(history, [start, fixed(50), fixed(60)], 2000));
      history.record(current, fixed(70), 2e5);
      history.refused(fixed(50));
      said["refused"] = same(back(history, fixed(50)), [start])
        && same(forth(history, start), [fixed(50), fixed(60)]);

      history = make();
      current = walk(history, Array.from({ length: 50 }, (_, i) => fixed(i)), 2000);
      history.record(current, { ...current }, 9e9);
      undone = back(history, current);
      said["the last twenty"] = undone.length === 20 && same(undone.at(-1), fixed(29));
      return said;
    }""",
        [source],
    )
    assert len(said) == 5 and all(said.values()), said


def own(tab: Tab):
    """A person's own presets, in their menu."""
    tab.presets()
    return tab.page.locator("#panel [data-part=own] li")


def reload(tab: Tab) -> None:
    """Come back. What the page was still waiting for is broken off, and the browser says so."""
    tab.page.reload()
    expect(tab.question).to_be_visible()
    tab.troubles.clear()


def test_own_presets_stay_in_the_browser(tab):
    group = tab.layout.group_names[0]
    said = tab.page.locator("#panel [data-part=kept]")
    keep(tab, "  ")
    expect(said).to_have_text("Give the preset a name first.")
    tab.press(group, "End")
    drag(tab, (1, 1), (1, 2))
    bar(tab, "Off").click()
    keep(tab, "Mine <b>&")
    expect(said).to_have_text("“Mine <b>&” is kept in this browser.")
    tab.page.get_by_role("button", name="Reset all").click()
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.second).to_contain_text("Untouched")  # the server has heard of it
    # a refresh restores what is there, or is to be
    tab.page.wait_for_function(f"""{KEPT}?.includes('"due":"/')""")
    reload(tab)
    expect(tab.badge).to_have_text("Router's own weights")
    expect(own(tab)).to_have_count(1)
    assert own(tab).locator("b").count() == 0
    own(tab).get_by_role("button", name="Mine <b>&", exact=True).click()
    expect(tab.badge).to_have_text("2 changes")
    expect(tab.second).to_contain_text(
        f"{group} fixed at 100% in all layers; {tab.layout.group_names[1]} off in layers 1–2."
    )
    tab.page.get_by_role("button", name="Undo", exact=True).click()
    expect(tab.badge).to_have_text("Router's own weights")
    keep(tab, "Mine <b>&")
    expect(said).to_have_text(
        "“Mine <b>&” is kept in this browser, in place of the one of that name."
    )
    own(tab).get_by_role("button", name="Delete Mine <b>&").click()
    expect(own(tab)).to_have_count(0)
    assert tab.page.evaluate("localStorage.getItem('atmoe-presets-1')") == "{}"


def test_a_preset_says_what_it_takes_the_place_of(tab):
    group = tab.layout.group_names[0]
    said = tab.page.locator("#panel [data-part=refusal]")
    tab.press(group, "End")
    keep(tab, "Mine")
    own(tab).get_by_role("button", name="Mine", exact=True).click()
    expect(said).to_have_text("")  # the same once more
    tab.page.keyboard.press("Escape")
    tab.press(group, "ArrowLeft")
    drag(tab, (1, 1), (1, 2))
    bar(tab, "Off").click()
    expect(listed(tab)).to_have_count(2)
    tab.presets()
    own(tab).get_by_role("button", name="Mine", exact=True).click()
    expect(said).to_have_text("In place of 2 changes of before; Undo brings them back.")
    expect(listed(tab)).to_have_text([f"{group} 100%"])
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Undo", exact=True).click()
    expect(listed(tab)).to_have_count(2)
    expect(said).to_have_text("")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "localStorage.setItem('atmoe-presets-1', '{broken')",
            "cannot be read. Saving a new one replaces them.",
        ),
        (
            "localStorage.setItem('atmoe-presets-1', '[1]')",
            "cannot be read. Saving a new one replaces them.",
        ),
        (
            "Object.defineProperty(window, 'localStorage', "
            "{ get() { throw new DOMException('no', 'SecurityError'); } })",
            "does not let the page keep presets",
        ),
    ],
)
def test_a_broken_or_forbidden_storage_gives_a_sentence(tab, spoil, said):
    tab.page.evaluate(spoil)
    place = tab.page.locator("#panel [data-part=kept]")
    if "defineProperty" in spoil:
        keep(tab, "Mine")
        expect(place).to_contain_text("kept nothing: its storage is full or forbidden")
    else:
        reload(tab)
        expect(place).to_contain_text(said)
        keep(tab, "Mine")
        expect(own(tab)).to_have_count(1)


def test_a_full_storage_and_a_broken_entry_give_a_sentence(tab):
    place = tab.page.locator("#panel [data-part=kept]")
    tab.page.evaluate("""localStorage.setItem('atmoe-presets-1', JSON.stringify({
        Broken: 7, Strange:
          { set: { "no-such-group": ["off", 0, false] }, strength: 1, scope: "all", cells: [] },
        Wrong: { set: {}, strength: 9, scope: "all", cells: [] } }))""")
    reload(tab)
    expect(own(tab)).to_have_count(2)  # another model's is not offered
    own(tab).get_by_role("button", name="Broken", exact=True).click()
    expect(place).to_have_text("“Broken” is broken and cannot be applied; delete it.")
    own(tab).get_by_role("button", name="Wrong", exact=True).click()
    expect(tab.message).to_contain_text("Strength is 9")
    expect(tab.badge).to_have_text("Router's own weights")
    expect(tab.page.get_by_role("button", name="Undo", exact=True)).to_be_disabled()
    tab.page.evaluate(
        "() => { Storage.prototype.setItem = () => { "
        "throw new DOMException('full', 'QuotaExceededError'); }; }"
    )
    keep(tab, "One more")
    expect(place).to_contain_text(
        "kept nothing: its storage is full or forbidden. Delete a preset, or share a link"
    )
    expect(own(tab)).to_have_count(2)
