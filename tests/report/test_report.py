"""A report holds what its records hold, asks nothing of the network, and runs no script."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from browser import expect
from commands import refused, run
from conftest import LAYOUT, PROMPTS, ROOT, random_plan
from samples import explanation

from atmoe import Layout, Override, Sampling, State, Steering
from atmoe.explanation.drafts import Drafts
from atmoe.explanation.response import Response
from atmoe.explanation.value import Change
from atmoe.explanation.verdict import verdict
from atmoe.flags.finding import NO_VERDICT, NOT_HELD, Finding
from atmoe.many.brief import brief_of_plan
from atmoe.report.document import report
from atmoe.report.words import NOBODY

MADE = datetime(2026, 11, 26, 12, 5, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script><img src="https://example.org/x"> & "quoted" \u202e'
STEERING = Steering(
    (Override("task", State.FIXED, 0.6, "late"), Override("reader/lay", State.OFF)), 0.5
)


@pytest.fixture(scope="module")
def records(worlds):
    model = worlds("llama").model
    router, steered = (
        model.answer(PROMPTS[1], steering, Sampling(12, repetition_penalty=1.1))
        for steering in (Steering(), STEERING)
    )
    changes = (Change("task", 0.4, "a", 0.55, HOSTILE, 3, "x", "y"), Change("field", 0.3, "a"))
    measured = replace(
        explanation(), changes=changes, shapley=dict(task=0.5, field=0.3, reader=0.2)
    )
    response = Response(
        "task/warn", ("a", "b c", HOSTILE, "d", "e"), (-1.0, -2.0, -3.0, -4.0, -5.0)
    )
    router = replace(router, answer=HOSTILE, explanation=measured, response=response)
    return router, replace(steered, prompt=HOSTILE), measured


class Tables(HTMLParser):
    """Every table: caption → rows of texts."""

    def __init__(self):
        super().__init__()
        self.tables, self.text, self.into = {}, "", None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th", "caption"):
            self.text = ""

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self.tables[self.text] = self.rows
        elif tag in ("td", "th"):
            self.rows[-1].append(self.text)


def tables(text: str) -> dict[str, list[list[str]]]:
    parser = Tables()
    parser.feed(text)
    return parser.tables


def table(text: str, begins: str) -> list[list[str]]:
    [found] = [rows for caption, rows in tables(text).items() if caption.startswith(begins)]
    return found


def test_every_share_of_every_layer_is_the_records(records):
    router, steered, _ = records
    text = report(router, steered, MADE)
    for whose, plan in (("router's", router.router_plan), ("steered", steered.plan)):
        groups = table(text, f"Groups, share of the routing weight: the {whose} plan")
        assert groups[0] == ["layer", *map(str, range(LAYOUT.layers))]
        for row, name, shares in zip(groups[1:], LAYOUT.group_names, plan.group_weights.T.tolist()):
            assert row == [name, *(str(round(100 * share)) for share in shares)]
        experts = table(text, f"Experts, share of their group: the {whose} plan")
        assert {row[0] for row in experts[1:]} == set(plan.team)
        own = dict(zip(LAYOUT.expert_names, plan.expert_shares.T.tolist()))
        for name, *cells in experts[1:]:
            assert cells == [str(round(100 * share)) for share in own[name]]
    means = table(text, "Groups: share of the routing weight")
    for row, before, now in zip(
        means[1:],
        router.plan.group_weights.mean(0).tolist(),
        steered.plan.group_weights.mean(0).tolist(),
    ):
        assert row[1:] == [f"{100 * before:.1f}%", f"{100 * now:.1f}%"]


def test_what_is_flagged_is_named_under_its_answer(records):
    router, steered, _ = records
    flag = Finding(0, 3, "word", router.answer[:3], None, "“<b>”: not a word the experts ever saw.")
    text = report(replace(router, flags=(flag,)), replace(steered, flags=()), MADE)
    assert text.count("“&lt;b&gt;”: not a word the experts ever saw.") == 1 and NO_VERDICT in text
    assert text.count("Nothing flagged in its words, which does not say that they are right.") == 1
    assert "Not looked through" in report(replace(router, flags=None), None, MADE)
    # both questions bring no dialogue and no abstract, which an answer could be held against
    assert text.count(NOT_HELD.capitalize().replace("'", "&#x27;")) == 2
    given = replace(router, flags=(), prompt=f"Doctor: Pain?\nPatient: No.\n{router.prompt}")
    assert "Nothing flagged" in (text := report(given, None, MADE)) and "Not held" not in text


def test_drafts_stand_there_where_they_were_asked_for(records):
    router, steered, _ = records
    made = Drafts("Rest & tea help.", ("Rest & tea help.", "<i>No.</i>"), (1, 2), {}, ended=True)
    text = report(router, steered, MADE, made)
    assert "Self-agreement 0.50" in text and "&lt;i&gt;No.&lt;/i&gt;" in text
    assert table(text, "Its statements")[1] == ["Rest & tea help.", "1 of 2"]
    assert "Self-agreement" not in report(router, steered, MADE)


def test_what_was_measured_is_the_explanations(records):
    router, steered, measured = records
    text = report(router, steered, MADE)
    rows = {row[0]: row[1:] for row in table(text, "Effect:")[1:]}
    units = [*measured.of("group"), *measured.of("expert")]
    assert list(rows) == [unit.name for unit in units]
    for unit in units:
        weight, contribution, effect, factor = rows[unit.name]
        assert weight == f"{unit.weight:.1%}" and contribution == f"{unit.contribution:.3f}"
        assert effect.replace("−", "-") == f"{unit.effect:+.3f}" and factor == f"{unit.ratio:.2f}"
    assert verdict(measured).sentence in text
    values = table(text, "Shapley")[1:]
    assert values == [["task", "+0.500"], ["field", "+0.300"], ["reader", "+0.200"]]
    assert [row[:3] for row in table(text, "The question with task/warn")[1:]] == [
        ["0%", "1", "−1.000"],
        ["25%", "2", "−2.000"],
        ["50%", str(len(HOSTILE.split())), "−3.000"],
        ["75%", "1", "−4.000"],
        ["100%", "1", "−5.000"],
    ]
    assert "Not measured." in text  # of the steered one


def test_the_smallest_changes_of_a_drawn_answer_are_of_the_one_at_temperature_0(records):
    router, steered, _ = records
    drawn = replace(router, sampling={**router.sampling, "temperature": 1.0})
    begins = "At temperature 0 the answer would begin “a”."
    assert begins in report(drawn, steered, MADE)
    assert begins not in report(router, steered, MADE)


def test_a_plan_is_given_in_words_and_all_that_made_it_is_named(records):
    router, steered, _ = records
    text = report(router, steered, MADE)
    assert "Given under the router&#x27;s own plan." in text
    assert (
        "task fixed at 60% in the late layers; reader/lay off in all layers; strength 0.5" in text
    )
    for value in (*router.model.values(), *router.base.values(), *router.versions.values()):
        assert value in text
    settings = dict(table(text, "How both answers were asked for")[1:])
    assert settings["Seed"] == "0" and settings["Longest answer, tokens"] == "12"
    assert settings["Repetition penalty"] == "1.1"
    assert "26 November 2026, 12:05 UTC" in text and "Research demo. A small language model" in text


def test_an_answer_alone_is_a_report_too(records):
    router, *_ = records
    text = report(replace(router, explanation=None, response=None), None, MADE)
    assert "The steered answer" not in text and "What if" not in text
    assert len(table(text, "Groups: share")[0]) == 2


def test_a_steered_answer_alone_is_told_as_one(records):
    _, steered, _ = records
    text = report(replace(steered, explanation=None), None, MADE)
    assert "The steered answer" in text and "The router&#x27;s answer" not in text
    settings = dict(table(text, "How the answer was asked for")[1:])
    assert settings["Steering"].startswith("task fixed at 60%")
    means = table(text, "Groups: share of the routing weight")
    assert means[0] == ["part", "router", "steered"]
    now = steered.plan.group_weights.mean(0).tolist()
    assert [row[2] for row in means[1:]] == [f"{100 * share:.1f}%" for share in now]
    assert "All experts at strength 0.5" in text


@pytest.mark.parametrize("off", [LAYOUT.group_names, LAYOUT.expert_names])
def test_an_answer_with_all_off_is_told_as_the_base_models(model, records, off):
    steering = Steering(tuple(Override(target, State.OFF) for target in off))
    alone = model.answer(PROMPTS[1], steering, Sampling(4))
    for told in (report(alone, None, MADE), report(records[0], alone, MADE)):
        assert f"off in all layers. {NOBODY}</p>" in told


def test_who_has_no_weight_has_no_share_in_it(model, records):
    """A group that is off, or out in some layers, leaves its experts their shares of nothing."""
    out = (Override("field", State.OFF), Override("reader", State.OFF, scope="3-4"))
    steered = model.answer(PROMPTS[1], Steering(out), Sampling(4))
    text = report(records[0], steered, MADE)
    means = {row[0]: row[1:] for row in table(text, "Experts: share of their group")}
    own = steered.plan.expert_shares.mean(0).tolist()
    for name, share in zip(LAYOUT.expert_names, own):
        assert means[name][1] == ("–" if name.startswith("field/") else f"{100 * share:.1f}%")
        assert means[name][0] != "–"
    layers = {row[0]: row[1:] for row in table(text, "Experts, share of their group: the steered")}
    assert not any(name.startswith("field/") for name in layers)
    assert layers["reader/lay"][3:] == ["–", "–"] and "–" not in layers["reader/lay"][:3]
    brief = brief_of_plan(steered.plan)["shares"]
    for name, share in zip(LAYOUT.expert_names, own):
        assert brief[name] == (0 if name.startswith("field/") else round(share, 4))


def test_an_answer_out_of_a_link_is_said_to_be_one(records):
    router, steered, _ = records
    held = replace(router, versions=router.versions | {"engine": "lean, from a link"})
    assert report(held, steered, MADE).count("Taken from a link") == 1
    assert "Taken from a link" not in report(router, steered, MADE)


def test_hostile_texts_are_text(records):
    router, steered, _ = records
    names = {"name": HOSTILE, "sha256": HOSTILE}
    text = report(
        replace(router, prompt=HOSTILE, model=names, versions={HOSTILE: HOSTILE}), steered, MADE
    )
    assert "<script" not in text and "<img" not in text
    assert not re.search(r"<[^>]*\b(src|href|on\w+)\s*=", text)
    assert text.count("&lt;script&gt;") >= 5


def test_the_module_needs_neither_gradio_nor_plotly():
    code = (
        "import sys; import atmoe.report.document; "
        "print([name for name in ('gradio', 'plotly', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("width", [1000, 400])
def test_it_opens_without_a_network_asks_nothing_and_axe_finds_nothing(
    browser, records, tmp_path, width
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    router, steered, _ = records
    path = tmp_path / "report.html"
    path.write_text(report(router, steered, MADE), "utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    context.set_offline(True)
    page, asked, said = context.new_page(), [], []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(path.as_uri())
    expect(page.locator("h1")).to_have_text("AT-MoE Explorer: report of one question")
    expect(page.locator(".answer").nth(1)).to_have_text(HOSTILE)
    assert page.locator("script, link, img, iframe, [src], [href]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    assert asked == [path.as_uri()] and said == []
    context.close()


BROKEN = """() => {
  const broken = [];
  for (const cell of document.querySelectorAll("table:not(.map) :is(th, td):not(:last-child)")) {
    const text = cell.firstChild, range = document.createRange();
    for (const word of text?.data?.matchAll(/[^\\s/-]+/g) ?? []) {
      range.setStart(text, word.index), range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(word[0]);
    }
  }
  return broken; }"""


@pytest.mark.parametrize(("width", "media"), [(400, "screen"), (688, "print")])
def test_no_word_of_a_head_and_no_number_is_broken(browser, records, tmp_path, width, media):
    router, steered, _ = records
    answers = ("word " * 60, "b c", HOSTILE, "pneumonoultramicroscopic " * 9, "e")
    response = replace(router.response, answers=answers)
    path = tmp_path / "report.html"
    path.write_text(report(replace(router, response=response), steered, MADE), "utf-8")
    context = browser.new_context(viewport={"width": width, "height": 1000})
    page = context.new_page()
    page.emulate_media(media=media)
    page.goto(path.as_uri())
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_on_paper_nothing_is_cut_off(browser, records, tmp_path):
    """On A4 the widest table, of 30 layers, is no wider than the sheet between its margins."""
    router, *_ = records

    plan = random_plan(1, Layout.of(30, dict(LAYOUT.groups)))
    wide = replace(router, router_plan=plan, plan=plan, explanation=None)
    path = tmp_path / "report.html"
    path.write_text(report(wide, None, MADE), "utf-8")
    sheet = round((210 - 28) / 25.4 * 96)  # CSS pixels
    context = browser.new_context(viewport={"width": sheet, "height": 1000})
    page = context.new_page()
    page.emulate_media(media="print")
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= sheet
    widths = page.eval_on_selector_all(
        "table.map td", "cells => cells.map((cell) => [cell.scrollWidth, cell.clientWidth])"
    )
    assert len(widths) == 30 * (3 + 6) and all(inner <= outer for inner, outer in widths)
    context.close()


def test_the_command_makes_it_of_a_record_and_of_the_pages_download(records, capsys, tmp_path):
    router = replace(records[0], explanation=None, response=None)  # as one run leaves it
    steered = replace(records[1], prompt=router.prompt)
    drafts = Drafts(router.answer, ("One. Two.",) * 5, (1, 2, 3, 4, 5), {"temperature": 0.7}, True)
    files = {
        "record": router.to_dict(),
        "download": {
            "router": router.to_dict(),
            "steered": steered.to_dict(),
            "controls": {},
            "drafts": {"of": "router", **drafts.to_dict()},
        },
        "alone": {"router": router.to_dict(), "steered": None, "drafts": None},
    }
    expected = {"record": 1, "download": 2, "alone": 1}
    for name, data in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
        out = tmp_path / f"{name}.html"
        said = run(capsys, "report", str(tmp_path / f"{name}.json"), "--out", str(out))
        assert said["answers"] == expected[name]
        both = (steered, MADE, drafts) if name == "download" else (None, MADE)
        made = report(router, *both)
        assert tables(out.read_text(encoding="utf-8")) == tables(made)
    assert "there already" in refused(
        capsys, "report", str(tmp_path / "record.json"), "--out", str(tmp_path / "record.html")
    )
    (tmp_path / "none.json").write_text("{}")
    assert "no record" in refused(
        capsys, "report", str(tmp_path / "none.json"), "--out", str(tmp_path / "none.html")
    )
