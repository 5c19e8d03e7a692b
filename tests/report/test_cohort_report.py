"""The report of many questions: what its rows hold, nothing that runs, and readable by anyone."""

import re
from html import escape

import pytest
from conftest import LAYOUT, PROMPTS

from atmoe import Override, Sampling, State, Steering
from atmoe.explanation.verdict import verdict
from atmoe.many.atlas import weights
from atmoe.many.brief import brief_of, columns, flat
from atmoe.many.rows import Row
from atmoe.many.run import explaining
from atmoe.report.cohort import LIKE_TRAINING, cohort_report

HOSTILE = '<script>alert(1)</script><img src="https://example.org/x">'
STEERING = Steering((Override("task/warn", State.FIXED, 0.9),))
UNDER = "under your steering: task/warn fixed at 90%; answers of at most 4 tokens"


@pytest.fixture(scope="module")
def told(worlds) -> str:
    asked = [Row(i, f"q{i}", each) for i, each in enumerate((*PROMPTS, HOSTILE, " "), 1)]
    done = list(explaining(worlds("llama").model, asked, STEERING, Sampling(max_new_tokens=4)))
    rows = [
        {"id": d.row.id, "question": d.row.question, "error": d.error}
        | (flat(brief_of(d.value, "en")) if d.value else {})
        for d in done
    ]
    shares = weights([d.value.plan for d in done if d.value])
    return cohort_report("tiny", LAYOUT, rows, columns("explain", LAYOUT), UNDER, shares)


def test_it_holds_every_question_and_how_they_were_asked(told):
    for text in (*PROMPTS[:1], f", {UNDER}.", "The question is empty", "Atlas"):
        assert text in told
    assert "<script" not in told and "<img" not in told and "&lt;script" in told


def test_whether_the_weights_explain_an_answer_is_said_with_what_limits_that(told, worlds):
    model = worlds("llama").model
    record = next(iter(explaining(model, [Row(1, "q1", PROMPTS[0])], STEERING, Sampling(4)))).value
    assert f"<td>{escape(verdict(record.explanation).sentence)}</td>" in told


def test_the_atlas_holds_the_mean_of_each_experts_weight(told, worlds):
    model = worlds("llama").model
    atlas = told[told.index("<h2>Atlas") :]
    for number, prompt in enumerate(PROMPTS, 1):
        mean = STEERING.apply(model.route(prompt)).weights.mean(0).tolist()
        row = atlas[atlas.index(f">q{number}</th>") :].split("</tr>")[0]
        assert [int(cell) for cell in re.findall(r">(\d+)</td>", row)] == pytest.approx(
            [100 * share for share in mean], abs=0.51
        )


def test_it_asks_for_nothing_and_axe_finds_nothing_serious(told, browser, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    (tmp_path / "cohort.html").write_text(told, encoding="utf-8")
    context = browser.new_context(offline=True)
    page, sent = context.new_page(), []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(f"file://{tmp_path}/cohort.html")
    assert page.locator(".questions tbody tr").count() == 6
    assert page.locator("table.map tbody tr").count() == 5  # what has no plan is not in the atlas
    found = axe.Axe().run(page).response["violations"]
    assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    assert len(sent) == 1 and len(page.pdf()) > 1000
    context.close()


def test_a_group_without_weight_is_said_to_take_no_part(worlds):
    steering = Steering((Override("task", State.FIXED, 1.0),))
    routed = worlds("llama").model.routed(PROMPTS[0], steering)
    row = {"id": "q1", "question": PROMPTS[0]} | flat(brief_of(routed, "en"))
    row |= {"familiarity": 0.01, LIKE_TRAINING: "like it"}
    shares = weights([routed.plan])
    told = cohort_report("tiny", LAYOUT, [row], columns("route", LAYOUT), UNDER, shares)
    others = len(LAYOUT.group_names) - 1
    assert told.count("<td>takes no part</td>") == others and "(100%)</td>" in told
    assert "<td>like it</td>" in told and "0.01" not in told
