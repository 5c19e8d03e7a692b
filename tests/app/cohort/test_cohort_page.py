"""Many questions at once, on the page: a table, an atlas, two of them, and files."""

import csv
import io
import re
from dataclasses import replace

import pytest
import torch
from browser import expect, visit
from conftest import PROMPTS

from app.cohort.area import ANSWER, EXPLAIN, MOST
from app.cohort.desk import CohortState, _like, _lines
from app.cohort.words import pair, table
from app.view import sampling_of
from atmoe import AtMoeError, Override, Sampling, State, Steering
from atmoe.many.atlas import order, weights
from atmoe.many.brief import brief_of, brief_of_plan, columns
from atmoe.many.rows import Row
from atmoe.many.run import Done
from atmoe.sources.value import VERY_NEAR, Found, Source


def asked(tab, text: str, depth: str | None = None):
    """Ask questions, and wait for them all. → the place"""
    tab.open("Many questions")
    place = tab.page.locator("#cohort")
    place.get_by_label("Questions, one a line").fill(text)
    if depth:
        place.get_by_label(depth).check()
    place.get_by_role("button", name="Ask them all").click()
    expect(place.locator("#cohort-progress")).to_contain_text("ready:")
    return place


def saved(tab, name: str) -> str:
    """What one of the downloads holds."""
    with tab.page.expect_download() as found:
        tab.page.locator("#cohort").get_by_role("button", name=name, exact=True).click()
    data = found.value.path().read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") == (name == "CSV")  # by which a spreadsheet knows it
    return data.decode("utf-8-sig")


def test_each_question_is_a_row_with_its_own_plan(browser, served):
    with visit(browser, served) as tab:
        place = asked(tab, "\n".join(["", *PROMPTS, "x" * 5000]))
        rows = place.locator("#cohort-table tbody tr")
        assert rows.count() == 5
        for prompt, row in zip(PROMPTS, rows.all(), strict=False):
            own = brief_of(tab.model.routed(prompt), tab.model.info.language)
            expect(row).to_contain_text(prompt)
            for group, leader in own["heaviest"].items():
                expect(row).to_contain_text(leader.partition("/")[2])
                expect(row).to_contain_text(f"{own['shares'][group]:.0%}")
        expect(rows.nth(4)).to_contain_text(re.compile("tokens|long"))
        expect(place.locator("#cohort-progress")).to_contain_text("1 with an error instead")
        expect(place.locator("#atlas .js-plotly-plot")).to_be_attached()
        # 2. both files
        read = list(csv.DictReader(io.StringIO(saved(tab, "CSV"))))
        assert list(read[0]) == list(columns("route", tab.layout))
        for prompt, row in zip(PROMPTS, read, strict=False):
            own = brief_of(tab.model.routed(prompt), tab.model.info.language)
            for name, share in own["shares"].items():
                assert float(row[f"shares {name}"]) == pytest.approx(share, abs=2e-4)
        assert read[4]["error"] and not read[4]["team"]
        page = saved(tab, "HTML")
        assert "Atlas" in page and PROMPTS[0] in page and "<script" not in page
        # 3. sorted by a heading, and back
        head = place.get_by_role("button", name="question")
        head.click()
        shown = place.locator("#cohort-table tbody tr td:nth-child(3)").all_inner_texts()
        assert shown == sorted(shown, key=str.lower)
        head.click()
        expect(place.locator("th[aria-sort=descending]")).to_have_count(1)
        # 4. of three that are ticked, the last two beside each other
        boxes = place.get_by_role("checkbox")
        for name in ("Compare 2", "Compare 3", "Compare 5"):  # by their lines; the first is empty
            place.get_by_label(name, exact=True).check()
        expect(place.locator("#cohort-pair thead")).to_contain_text("3")
        expect(place.locator("#cohort-pair thead")).to_contain_text("5")
        assert sum(box.is_checked() for box in boxes.all()) == 2
        expect(place.locator("#cohort-pair tbody")).to_contain_text(PROMPTS[3])
        expect(place.locator("#cohort-pair tbody")).to_be_in_viewport()
        assert not tab.troubles


def test_a_steering_holds_for_all_and_they_can_be_answered_and_explained(browser, served):
    with visit(browser, served) as tab:
        group, expert = tab.layout.group_names[0], tab.layout.groups[0][1][1]
        tab.segment(f"{group}/{expert}").click()
        place = asked(tab, f"{PROMPTS[0]}\n{PROMPTS[2]}", EXPLAIN)
        read = list(csv.DictReader(io.StringIO(saved(tab, "CSV"))))
        steering = Steering((Override(f"{group}/{expert}", State.FIXED, 0.8),))
        for row in read:
            own = brief_of(tab.model.routed(row["question"], steering), tab.model.info.language)
            assert float(row[f"shares {group}/{expert}"]) == pytest.approx(
                own["shares"][f"{group}/{expert}"], abs=2e-4
            )
            assert row["answer"] and row["verdict"] and row[f"effects {group}/{expert}"]
        expect(place.locator("#cohort-table thead")).to_contain_text("do weights explain?")
        assert f"{group}/{expert} fixed at 80%" in saved(tab, "HTML")


def test_what_they_were_asked_under_stands_beside_the_table_to_its_end(browser, served):
    with visit(browser, served) as tab:
        group, other = tab.layout.group_names[:2]
        tab.tokens(3)
        tab.press(group, "End")
        expect(tab.second).to_contain_text(f"{group} fixed at 100%")
        place = asked(tab, f"{PROMPTS[0]}\n{PROMPTS[2]}", ANSWER)
        steering = Steering((Override(group, State.FIXED, 1.0),))
        for row, prompt in zip(csv.DictReader(io.StringIO(saved(tab, "CSV"))), PROMPTS[::2]):
            answer = tab.model.answer(prompt, steering, sampling_of(3, 0, 0)).answer
            assert row["answer"] == answer
        for name in ("Compare 1", "Compare 2"):
            place.get_by_label(name, exact=True).check()
        absent = place.locator("#cohort-pair tr", has_text=re.compile(f"^{other}"))
        expect(absent.locator("td")).to_have_text(["takes no part"] * 2)
        tab.page.get_by_role("button", name="Reset all").click()
        expect(tab.badge).to_have_text("Router's own weights")
        progress = place.locator("#cohort-progress")
        under = (
            f"under your steering: {group} fixed at 100% in all layers; answers of at most 3 tokens"
        )
        expect(progress).to_contain_text(under)
        assert f", {under}.</p>" in saved(tab, "HTML")


def test_what_goes_first_is_told_while_they_wait(browser, served, monkeypatch):
    monkeypatch.setattr("app.job.BEHIND_SECONDS", 0.0)
    with visit(browser, served) as tab:
        tab.tokens(400)
        tab.open("Many questions")
        place, progress = tab.page.locator("#cohort"), tab.page.locator("#cohort-progress")
        place.get_by_label("Questions, one a line").fill("\n".join(PROMPTS[:2]))
        tab.question.fill(PROMPTS[0])
        tab.page.keyboard.press("Enter")
        expect(tab.first_facts).to_contain_text("Still being written")
        place.get_by_role("button", name="Ask them all").click()
        expect(progress).to_contain_text("that goes first. · 2 questions, under the router's own")
        expect(progress).to_contain_text("2 of 2 questions · ready:")
        expect(progress).not_to_contain_text("goes first")


def test_a_placeholder_is_read_whole(browser, served):
    for width, height in ((1400, 900), (400, 800)):
        with visit(browser, served, width=width, height=height) as tab:
            tab.open("Many questions")
            box = tab.page.get_by_label("Questions, one a line")
            expect(box).to_be_visible()
            # a placeholder has no box of its own: the same words as a value have
            box.evaluate("(box) => { box.value = box.placeholder; }")
            assert box.evaluate("(box) => box.scrollHeight - box.clientHeight") <= 1


def test_a_file_is_read_with_its_ids_and_its_broken_rows(browser, served, tmp_path):
    file = tmp_path / "asked.csv"
    file.write_text(f"id,question\nq-7,{PROMPTS[2]}\nq-8,a,b\nq-7,{PROMPTS[0]}\nq-9,\n")
    with visit(browser, served) as tab:
        tab.open("Many questions")
        place = tab.page.locator("#cohort")
        place.locator("input[type=file]").set_input_files(file)
        progress = place.locator("#cohort-progress")
        said = "4 rows, 1 of them broken, 1 without a question, 1 id of more than one row"
        expect(progress).to_contain_text(said)
        place.get_by_role("button", name="Ask them all").click()
        expect(progress).to_contain_text("ready:")
        expect(progress).to_contain_text("1 id of more than one row")
        expect(place.locator("#cohort-table")).to_contain_text("q-7")
        expect(place.locator("#cohort-table")).to_contain_text("3 cells")


def test_they_are_stopped_and_what_is_done_stays(browser, served):
    with visit(browser, served) as tab:
        tab.open("Many questions")
        place = tab.page.locator("#cohort")
        many = "\n".join(f"How is illness number {i} treated?" for i in range(60))
        place.get_by_label("Questions, one a line").fill(many)
        place.get_by_label(ANSWER, exact=True).check()
        place.get_by_role("button", name="Ask them all").click()
        expect(place.locator("#cohort-table tbody tr").first).to_be_visible()
        place.get_by_role("button", name="Stop them").click()
        expect(place.locator("#cohort-progress")).to_contain_text("Stopped.")
        done = place.locator("#cohort-table tbody tr").count()
        assert 0 < done < 60 and saved(tab, "CSV").count("\n") > done


def test_too_many_are_refused_and_none_is_told(browser, served):
    with pytest.raises(AtMoeError, match=f"{MOST + 1} questions, and {MOST} at once"):
        _lines("\n".join(["Gout?"] * (MOST + 1)))
    with visit(browser, served) as tab:
        tab.open("Many questions")
        tab.page.get_by_role("button", name="Ask them all").click()
        expect(tab.message).to_contain_text("There is no question")


def test_a_table_escapes_what_people_type(model):
    brief = brief_of(model.routed(PROMPTS[0]), "en")
    hostile = '<img src=x onerror="alert(1)">'
    rows = [
        {"number": i, "id": hostile, "question": hostile, "error": e, "like": "", "brief": b}
        for i, (b, e) in enumerate(((brief, ""), ({}, hostile), (brief, "")))
    ]
    for html in (table(rows, model.layout.group_names, {}), pair(rows[0], rows[2], {})):
        assert "<img" not in html and "&lt;img" in html


def test_an_answer_that_could_not_be_explained_has_its_sentence_in_its_row(model):
    brief = brief_of(model.answer(PROMPTS[0], sampling=Sampling(max_new_tokens=2)), "en")
    row = {"number": 1, "id": "1", "question": "?", "error": "Empty.", "like": "", "brief": brief}
    explained = row | {
        "error": "",
        "brief": brief | {"verdict": "partly", "explanation": "But & how."},
    }
    html = table([row, explained], model.layout.group_names, {})
    assert html.count("Empty.") == 1 and 'title="But &amp; how.">partly<' in html
    assert "<td>But &amp; how.</td>" in pair(explained, explained, {})


def test_rows_are_sorted_by_the_word_for_how_like_training_they_are_and_then_by_the_rank():
    ranked = [("⚠ unlike", 0.0), ("⚠ unlike", 0.01), ("at its edge", 0.05), ("like it", 0.01)]
    ranked += [("like it", 1.0), ("", None)]
    plan = {"team": [], "heaviest": {}, "in_doubt": [], "shares": {}}
    rows = [
        {"number": i, "id": f"{i}", "question": "?", "error": "", "like": like}
        | {"brief": plan | {"familiarity": rank}}
        for i, (like, rank) in enumerate(ranked)
    ]
    cells = re.findall(r'<td[^>]* data-sort="([^"]*)"[^>]*>([^<]*)</td></tr>', table(rows, [], {}))
    assert [text for _, text in cells] == [like or "–" for like, _ in ranked]
    numbers = [float(number) for number, _ in cells]
    assert numbers[:-1] == sorted(set(numbers[:-1])) and numbers[-1] < numbers[0]


def test_the_report_says_in_a_word_how_like_training_a_question_is(model):
    lacking = replace(model.routed(PROMPTS[0]), found=None)
    near = Source("", "", "", "", VERY_NEAR)
    for found, word in ((Found(0.01, (near,)), "like it"), (Found(0.0, ()), "⚠ unlike")):
        assert _like(Done(Row(1, "1", "?"), replace(lacking, found=found))) == word
    assert _like(Done(Row(1, "1", "?"), lacking)) == _like(Done(Row(1, "1", "?"), None)) == ""


def test_a_row_says_where_the_router_doubts(model):
    layout = model.layout
    sure = replace(model.route(PROMPTS[0]), likely=torch.ones(len(layout.expert_names)))
    unsure = replace(sure, likely=sure.likely / 4)
    first, *_ = unsure.doubts
    assert first not in sure.doubts
    cells = []
    for plan in (sure, unsure):
        brief = {**brief_of_plan(plan), "familiarity": None}
        assert brief["in_doubt"] == list(plan.doubts)
        row = {"number": 0, "id": "1", "question": "?", "error": "", "like": "", "brief": brief}
        cells.append(table([row], [first], {}))
    assert "⚠" not in cells[0] and '<abbr title="in doubt">⚠</abbr>' in cells[1]


def test_like_plans_stand_together_in_the_atlas(model):
    plans = [model.route(prompt) for prompt in PROMPTS]
    rows = weights([*plans, plans[0]])
    placed = order(rows)
    assert sorted(placed) == list(range(5))
    assert abs(placed.index(0) - placed.index(4)) == 1  # the same question twice
    assert sum(rows[0]) == pytest.approx(1, abs=1e-5)
    assert CohortState().some is None and order(rows[:2]) == [0, 1]
