"""What comes to the page from outside is what it says, or is refused in one sentence."""

import json
import time
from pathlib import Path

import pytest
from browser import QUESTION, Tab, expect, visit
from conftest import LAYOUT

from app import uploads
from app.controls import Controls
from app.view import sampling_of
from atmoe.errors import AtMoeError, SamplingError, SteeringError


def downloaded(tab: Tab, path: Path) -> dict:
    path.write_bytes(tab.downloaded())
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def record(browser, served, tmp_path_factory):
    """A record of the page, as it was downloaded."""
    path = tmp_path_factory.mktemp("record") / "record.json"
    with visit(browser, served) as tab:
        tab.ask()
        expect(tab.page.locator("#download")).to_be_enabled()
        downloaded(tab, path)
    return path


def opening(tab: Tab, path: Path) -> None:
    tab.page.get_by_role("tab", name="Keep").click()
    tab.page.locator("#keep [type=file]").set_input_files(path)


def test_a_refused_question_leaves_what_if_alone(tab):
    tab.ask()
    tab.page.get_by_role("tab", name="What if").click()
    tab.page.get_by_role("button", name="Answer at five shares").click()
    expect(tab.page.locator("#dose-progress")).to_contain_text("Measured.")
    table = tab.page.locator("#dose-table table").inner_text()
    tab.question.fill("?!")
    tab.page.keyboard.press("Enter")
    expect(tab.message).to_contain_text("no words")
    tab.page.wait_for_timeout(400)  # longer than an answer to the event takes
    assert tab.page.locator("#dose-table table").inner_text() == table
    tab.ask("How is gout treated?")
    expect(tab.page.locator("#dose-table table")).to_have_count(0)


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [("-3", "seed must be a whole number from 0 up"), ("2.5", "seed must be a whole number")],
)
def test_a_seed_out_of_range_is_a_sentence(tab, seed, sentence):
    tab.page.get_by_role("button", name="Settings").click()
    tab.page.get_by_label("Seed").fill(seed)
    tab.page.keyboard.press("Tab")
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(tab.message).to_contain_text(sentence)


def test_a_large_seed_is_one_like_any_other(tab):
    tab.page.get_by_role("button", name="Settings").click()
    tab.page.get_by_label("Seed").fill("5000000000")
    tab.page.keyboard.press("Tab")
    tab.page.get_by_role("button", name="Settings").click()
    tab.ask()
    expect(tab.message).to_have_count(0)


@pytest.mark.parametrize("value", [-1, 401, float("nan"), None, "7", 1e400, [3]])
def test_every_number_of_a_request_has_one_range(value):
    with pytest.raises(SamplingError, match="1 to 400 tokens"):
        sampling_of(value, 0, 0)
    if value != 1e400:
        with pytest.raises(SamplingError, match=r"0 to 1\.5"):
            sampling_of(10, value if value != 401 else 9, 0)


def test_a_space_behind_a_question_is_the_same_question(tab):
    tab.ask(f"  {QUESTION} ")
    group = tab.layout.group_names[0]
    tab.press(group, "End")
    tab.steered()
    tab.open("Compare")
    expect(tab.page.locator("#comparison table")).to_be_visible()


def test_two_people_open_the_same_file(browser, served, record):
    with visit(browser, served) as one, visit(browser, served) as other:
        for tab in (one, other):
            opening(tab, record)
        for tab in (one, other):
            expect(tab.page.locator("#replayed")).to_contain_text("came out identical")


def test_a_record_of_another_model_is_shown_and_not_answered_again(
    browser, served, record, tmp_path
):
    data = json.loads(record.read_text("utf-8"))
    router = data["router"]
    router["model"] = {"name": "another <b>one", "sha256": "f" * 64}
    layout = {"layers": 2, "groups": [{"name": "diet", "experts": ["vegan", "any"]}]}
    shares = {"group_shares": [[1.0]] * 2, "expert_shares": [[0.5, 0.5]] * 2}
    router["plan"] = router["router_plan"] = layout | shares | {"strength": [1.0, 1.0]}
    router["answer"] = "Beans <i>and rice."
    router["explanation"] = router["verdict"] = None  # measured by itself, of this model
    path = tmp_path / "foreign.json"
    path.write_text(json.dumps(data), "utf-8")
    with visit(browser, served) as tab:
        tab.ask("How is gout treated?")
        opening(tab, path)
        expect(tab.message).to_contain_text("made by the model “another <b>one” (sha256 ffffffffff")
        expect(tab.first).to_have_text("Beans <i>and rice.")
        assert tab.question.input_value() == QUESTION
        expect(tab.page.locator("#replayed")).to_contain_text("not answered again")
        expect(tab.page.locator("#download")).to_be_disabled()
        tab.ask()  # and the page goes on as always
        expect(tab.page.locator("#download")).to_be_enabled()


def test_a_file_is_read_by_everybody_who_sent_it_and_gone_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "KEPT_SECONDS", 0.3)
    file = tmp_path / "record.json"
    file.write_text("{}")
    assert uploads.read(file) == uploads.read(file) == "{}"
    deadline = time.monotonic() + 5
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not file.exists()
    with pytest.raises(AtMoeError, match="choose it once more"):
        uploads.read(file)


def test_twenty_thousand_settings_are_refused_before_any_work():
    names = [f"group{i}" for i in range(20_000)]
    settings = Controls().to_dict()
    for sent in (
        settings | {"set": {name: ["fixed", 1, False] for name in names}},
        settings | {"cells": [[name, 1, 2, "off", 0] for name in names]},
        settings | {"cells": [[LAYOUT.group_names[0], 1, 2, "off", 0]] * 20_000},
    ):
        began = time.process_time()
        with pytest.raises(SteeringError):
            Controls.from_dict(sent, LAYOUT)
        assert time.process_time() - began < 1
