"""Many prompts: each row is what its question is alone, and an error is its row's alone."""

import codecs
import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from random import Random

import pandas
import pyarrow.parquet
import pytest
import torch
from commands import refused, run, stopped_after
from conftest import PROMPTS, ROOT
from sources_examples import saved_with_index

from atmoe import Layout, Override, Record, RoutingPlan, Sampling, State, Steering
from atmoe.answer.generation import generate
from atmoe.cli.main import main
from atmoe.errors import DataError
from atmoe.explanation.measure import explain
from atmoe.many.brief import brief_of, columns, flat, how_asked
from atmoe.many.judging import judging_steps
from atmoe.many.out import Out, table_csv
from atmoe.many.rows import Row, read_rows
from atmoe.many.run import Done, answering, explaining, routing, scoring, without_pauses
from atmoe.model import Routed
from atmoe.study.deletion import deletion
from atmoe.study.faithfulness import RANDOM_ORDERS, SAMPLING, Judged, following, summary

OFF = {"overrides": [{"target": "field", "state": "off"}]}
ROWS = [
    Row(1, "a", PROMPTS[1]),
    Row(2, "b", " "),
    Row(3, "c", PROMPTS[0], steering=OFF),
    Row(4, "d", PROMPTS[2], steering={"overrides": [{"target": "nobody", "state": "off"}]}),
    Row(5, "e", error="The row is broken."),
    Row(6, "f", PROMPTS[3]),
]
STEERING = Steering((Override("task/warn", State.FIXED, 0.9),))


@pytest.fixture
def saved(llama, tmp_path, own_cache):
    """Flags that name a tiny model and its base."""
    llama.model.save_pretrained(tmp_path / "model")
    return ["--model", str(tmp_path / "model"), "--base", str(llama.directory)]


def test_each_plan_is_that_of_the_question_alone_in_the_order_of_the_rows(world):
    model = world.model
    done = list(routing(model, ROWS, STEERING, size=2))
    assert [d.row for d in done] == ROWS
    assert [bool(d.error) for d in done] == [False, True, False, True, True, False]
    assert "empty" in done[1].error and "nobody" in done[3].error
    assert done[4].error == "The row is broken."
    for d in done:
        if d.value:
            own = STEERING if d.row.steering is None else Steering.from_dict(OFF)
            alone = model.routed(d.row.question, own)
            assert d.value.plan.close_to(alone.plan, 1e-5) and d.value.steering == own


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_each_answer_is_that_of_the_question_alone(model, temperature):
    sampling = Sampling(max_new_tokens=9, temperature=temperature, seed=3)
    done = list(answering(model, ROWS, STEERING, sampling, size=4))
    assert [bool(d.error) for d in done] == [False, True, False, True, True, False]
    for d in done:
        if d.value:
            own = STEERING if d.row.steering is None else Steering.from_dict(OFF)
            alone = model.answer(d.row.question, own, sampling)
            assert d.value.answer_tokens == alone.answer_tokens
            assert d.value.finish == alone.finish and d.value.steering == own
            assert d.value.router_plan.close_to(alone.router_plan, 1e-5)
            assert d.value.timings == {}


def test_an_explanation_is_measured_of_each_answer(model):
    sampling = Sampling(max_new_tokens=6)
    done = list(explaining(model, ROWS[:3], sampling=sampling))
    assert done[1].value is None
    own = explain(model, model.answer(ROWS[0].question, sampling=sampling))
    for unit in own.of("expert"):
        found = done[0].value.explanation.unit(unit.name)
        assert found.effect == pytest.approx(unit.effect, abs=1e-5)
    row = flat(brief_of(done[0].value, "en"))
    assert set(row) <= set(columns("explain", model.layout))
    shares = done[0].value.plan.group_shares.mean(0).tolist()
    assert row["shares task"] == pytest.approx(shares[0], abs=1e-4)


def test_an_empty_answer_is_kept_with_the_sentence_that_nothing_is_measured_of_it(
    capsys, saved, model, tmp_path
):
    # a seed under which one question of three has an empty answer
    sampling, seeds = Sampling(max_new_tokens=1, temperature=1.0), range(1000)
    questions, answers = (PROMPTS[0], PROMPTS[1], PROMPTS[3]), []
    for question in questions:
        plans = [model.route(question)] * len(seeds)
        step = generate(model, [question] * len(seeds), plans, sampling, seeds=seeds).run()
        answers.append([bool(tokens) for tokens in step.tokens])
    seed = list(zip(*answers)).index((False, True, True))
    flags = ("--seed", str(seed), "--temperature", "1", "--max-new-tokens", "1", *saved)
    assert "The answer is empty, and nothing" in refused(capsys, "explain", PROMPTS[0], *flags)
    asked, out = tmp_path / "asked.txt", tmp_path / "out.jsonl"
    asked.write_text("\n".join(questions[:2]))
    given = ("--prompts", str(asked), "--out", str(out), *flags)
    assert run(capsys, "explain", *given)["errors"] == 1
    first, second = map(json.loads, out.read_text().splitlines())
    assert "The answer is empty, and nothing" in first.pop("error")
    assert Record.from_dict(first).answer == "" and first["explanation"] is None
    assert Record.from_dict(second).explanation
    # and a study passes it over
    rows = [Row(i, str(i), question) for i, question in enumerate(questions, 1)]
    steps = judging_steps(model, rows, sampling=replace(sampling, seed=seed))
    empty, *others = without_pauses(steps)
    assert empty.error.startswith("The answer is empty")
    assert all(done.value.less_likely is not None for done in others)


def test_weights_are_tested_over_a_file_as_over_a_corpus(capsys, saved, model, tmp_path):
    asked, out = tmp_path / "asked.jsonl", tmp_path / "out.jsonl"
    rows = [{"question": question} for question in (PROMPTS[0], "", *PROMPTS[1:3])]
    asked.write_text("\n".join(map(json.dumps, rows)))
    given = ["faithfulness", "--prompts", str(asked), "--out", str(out), "--seed", "7", *saved]
    report = run(capsys, *given)
    assert (report["rows"], report["errors"], report["prompts"]) == (4, 1, 3)
    held = list(map(json.loads, out.read_text().splitlines()))
    assert "empty" in held[1]["error"]
    kept = [Judged.from_dict(row) for row in held if "error" not in row]
    for row, other in zip(kept, following([row.record for row in kept])):
        # made alone, and not as one of a batch
        record = model.answer(row.record.prompt, sampling=replace(SAMPLING, seed=7))
        found = explain(model, record)
        effects = [unit.effect for unit in found.units]
        assert [unit.effect for unit in row.explanation.units] == pytest.approx(effects, abs=1e-4)
        likely = [
            model.score(record.prompt, record.answer, [plan]).mean()
            for plan in (record.plan, other)
        ]
        assert row.less_likely == (likely[1] < likely[0])
        orders = Random(f"7 {record.prompt}")
        measured = deletion(model, row.record, row.explanation, RANDOM_ORDERS, orders)
        assert row.deletion == pytest.approx(measured, abs=1e-3)
    assert summary(kept, 7).items() <= report.items()


def test_a_grade_is_given_where_the_model_learned_from_english(model):
    record = model.answer(PROMPTS[0], sampling=Sampling(max_new_tokens=2))
    told = replace(record, answer="Diabetes ist eine chronische Krankheit des Stoffwechsels.")
    done = Done(ROWS[0], told)
    for language, grade in (("de", None), ("", None), ("en", 10.7)):
        brief = done.brief(language)
        assert brief == brief_of(told, language)
        assert done.written(False, language)[1] == how_asked(told) | brief
        assert (brief["grade"], brief["words"]) == (grade, 7)


def test_the_heaviest_of_a_group_is_who_has_most_weight():
    """And not who has most of the group where the group itself has hardly any."""
    shares, inside = torch.zeros(2, 2), torch.tensor([[0.6, 0.4, 1.0], [0.1, 0.9, 1.0]])
    shares[0], shares[1] = torch.tensor([0.8, 0.2]), torch.tensor([0.1, 0.9])
    layout = Layout.of(2, {"task": ["define", "treat"], "field": ["heart"]})
    plan = RoutingPlan(layout, shares, inside)
    brief = brief_of(Routed("?", Steering(), plan, plan, None, {}), "")
    assert brief["heaviest"] == {"task": "task/define", "field": "field/heart"}


def test_what_a_study_over_a_file_cannot_take_is_refused(capsys, saved, tmp_path):
    asked = tmp_path / "asked.txt"
    asked.write_text("Gout?\n")
    given = ["faithfulness", "--prompts", str(asked), *saved, "--out"]
    assert "let --out end in .jsonl" in refused(capsys, *given, str(tmp_path / "out.csv"))
    for more in (["--limit", "5"], ["--split", "train"], ["--medquad", str(tmp_path)]):
        assert "brings its own questions" in refused(
            capsys, *given, str(tmp_path / "out.jsonl"), *more
        )
    assert "go with --prompts FILE" in refused(capsys, "faithfulness", *saved, "--workers", "2")
    assert "at least two prompts" in refused(capsys, *given, str(tmp_path / "out.jsonl"))


def test_a_score_is_the_librarys(model):
    rows = [Row(1, "a", PROMPTS[0], "Rest."), Row(2, "b", PROMPTS[0])]
    first, second = scoring(model, rows, STEERING)
    plan = STEERING.apply(model.route(PROMPTS[0]))
    torch.testing.assert_close(
        torch.tensor(first.value.logp), model.score(PROMPTS[0], "Rest.", [plan])[0]
    )
    assert second.value is None and second.error


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.txt", "One?\n\n  Two?  \n", [("1", "One?"), ("3", "Two?")]),
        (
            "a.csv",
            '\ufeffid,Question\nx,One?\ny,"Two,\ntoo?"\n',
            [("x", "One?"), ("y", "Two,\ntoo?")],
        ),
        ("a.tsv", "prompt\tlabel\nOne?\t1\n", [("1", "One?")]),
        ("a.jsonl", '{"id": 7, "prompt": "One?"}\n"Two?"\n', [("7", "One?"), ("row 2", "Two?")]),
        ("a.jsonl", '{"id": null, "question": "One?"}\n', [("1", "One?")]),
        ("a.ndjson", '\n"One?"\n{"prompt": "Two?"}\n', [("2", "One?"), ("3", "Two?")]),
    ],
)
def test_rows_are_read_by_the_files_ending(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [(row.id, row.question) for row in read_rows(tmp_path / name)] == rows


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.csv", b"question\nOne?\n\xff\xfe\nThree?\n", "UTF-8"),
        ("a.csv", b"id,question\n1,One?\n2,Two?,more\n3,Three?\n", "3 cells"),
        ("a.csv", b'question\nOne?\n"Two"?\nThree?\n', "quotes"),
        ("a.jsonl", b'"One?"\n{broken\n"Three?"\n', "no JSON"),
        ("a.jsonl", b'"One?"\n[1]\n"Three?"\n', "neither"),
        ("a.jsonl", b'"One?"\n{"question": 3}\n"Three?"\n', "no text"),
        ("a.csv", b"question,steering\nOne?,\nTwo?,{off\nThree?,\n", "no JSON"),
        ("a.csv", b"question,Steering\nOne?,\nTwo?," + b"[" * 100_000 + b"\nThree?,\n", "no JSON"),
        ("a.jsonl", b'"One?"\n{"id": 2}\n"Three?"\n', "holds the questions"),
        ("a.jsonl", b'"One?"\n{}\n"Three?"\n', "holds the questions"),
        ("a.jsonl", b'"One?"\n{"id": 2, "answer": "Rest."}\n"Three?"\n', "holds the questions"),
        ("a.jsonl", b'"One?"\n{"Steering": "{}"}\n"Three?"\n', "holds the questions"),
        ("a.jsonl", b'"One?"\n{"prompt": "Two?", "answer": 0}\n"Three?"\n', "The answer is no"),
    ],
)
def test_a_broken_row_is_told_and_the_next_is_read(tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    first, second, third = read_rows(tmp_path / name)
    assert (first.question, third.question) == ("One?", "Three?")
    assert told in second.error and not first.error and not third.error


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("a,b\n1,2\n", None, "Which column .* a, b; pass --column"),
        ("a,b\n1,2\n", "c", "no 'c' in .*a.csv, which has a, b"),
        ("id,note\n1,Gout?\n", None, "Which column .* id, note; pass --column"),
        ("Gout\nAsthma\n", None, "Which column .* Gout; pass --column"),
        ("Question,question\nOne?,Two?\n", None, "Both 'Question' and 'question' are in"),
        ("question,ID,Id\nOne?,1,2\n", None, "Both 'ID' and 'Id' are in"),
        ("id,Answer\n1,Rest.\n", None, "Which column .* id, Answer; pass --column"),
        ("a,a\n1,2\n", "a", "one name"),
        ("", None, "empty"),
        ("How is gout treated?\nGout?\n", None, "Which column .* How is gout treated"),
        ('"que"stion\nGout?\n', None, "cannot be read as a table"),
        ("question\n" + "x" * 2**25, None, "cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_say_where_its_questions_are_is_refused(tmp_path, text, column, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        list(read_rows(tmp_path / "a.csv", column))


def test_a_json_document_is_not_read_as_lines(tmp_path):
    (tmp_path / "a.json").write_text('[\n"question": "Gout?"\n]')
    with pytest.raises(DataError, match="an object a line, as .jsonl"):
        list(read_rows(tmp_path / "a.json"))


@pytest.mark.parametrize(
    "text", ["- Rest.", "=1+1", "\tRest.", "\rRest.", "'s", "'", "'-5 is low", "''=1", " =1"]
)
def test_an_answer_of_our_own_table_is_read_as_it_was_written(tmp_path, text):
    written = {"id": text, "question": "Gout?", "answer": text}
    table = table_csv([written], tuple(written))
    (tmp_path / "a.csv").write_text(table, encoding="utf-8", newline="")
    (row,) = read_rows(tmp_path / "a.csv")
    assert (row.id, row.answer) == (text, text)


def test_a_table_a_parquet_file_and_json_lines_hold_the_same(capsys, saved, llama, tmp_path):
    asked = tmp_path / "asked.csv"
    asked.write_text("id,question\nx,How is gout treated?\ny,\nz,=1+1 what is it?\n")
    steered = ("--set", "task=50%", "--strength", "0.7")
    given = ("route", "--prompts", str(asked), *saved, *steered, "--out")
    for ending in ("csv", "jsonl", "parquet"):
        said = run(capsys, *given, str(tmp_path / f"out.{ending}"))
        assert (said["rows"], said["errors"]) == (3, 1)
    own = Steering((Override("task", State.FIXED, 0.5),), 0.7)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0].pop("id") == "x" and lines[0].pop("question") == "How is gout treated?"
    alone = llama.model.routed("How is gout treated?", own)
    assert RoutingPlan.from_dict(lines[0]).close_to(alone.plan, 1e-5)
    assert "empty" in lines[1]["error"]
    assert (tmp_path / "out.csv").read_bytes().count(codecs.BOM_UTF8) == 1  # for a spreadsheet
    assert list(pandas.read_csv(tmp_path / "out.csv")["id"]) == ["x", "y", "z"]
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8-sig", newline="")))
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[2]["question"] == "'=1+1 what is it?"  # no formula for a spreadsheet
    assert table[2]["question"] == "=1+1 what is it?"
    for row, other in zip(rows, table, strict=True):
        assert list(row) == list(other) == list(columns("route", llama.model.layout))
        if not row["error"]:
            assert float(row["shares task"]) == other["shares task"] == 0.5
            assert float(row["strength"]) == other["strength"] == 0.7
            assert row["team"] == other["team"]
    assert not list(tmp_path.glob("*.part"))


def test_what_does_not_go_together_is_refused(capsys, saved, tmp_path):
    asked = tmp_path / "asked.txt"
    asked.write_text("Gout?\n")
    many, out = ("--prompts", str(asked)), ("--out", str(tmp_path / "out.csv"))
    assert "leave one of them out" in refused(capsys, "route", "Gout?", *many, *out, *saved)
    assert "needs --out" in refused(capsys, "route", *many, *saved)
    assert "There is no prompt" in refused(capsys, "route", *saved)
    assert "There is no answer" in refused(capsys, "score", "Gout?", *saved)
    assert "go with --prompts" in refused(capsys, "route", "Gout?", *out, *saved)
    wrong = ("--out", str(tmp_path / "out.xlsx"))
    assert ".csv, .jsonl and .parquet" in refused(capsys, "route", *many, *wrong, *saved)
    nowhere = ("--out", str(tmp_path / "no" / "out.csv"))
    assert "There is no folder" in refused(capsys, "route", *many, *nowhere, *saved)
    assert "leave --batch out" in refused(capsys, "score", *many, *out, "--batch", "2", *saved)
    asked.write_text("\n")
    assert "holds no prompt" in refused(capsys, "route", *many, *out, *saved)
    (tmp_path / "out.csv").write_text("mine")
    asked.write_text("Gout?\n")
    assert "there already" in refused(capsys, "route", *many, *out, *saved)


def test_a_rows_own_steering_and_answer_are_found_in_whatever_case(tmp_path):
    router = {"overrides": [{"target": "task", "state": "router"}]}
    cell = json.dumps(router).replace('"', '""')
    table = f'Question,STEERING,Answer\nOne?,"{cell}",Yes.\nTwo?,,\nThree?,{{}},\n'
    (tmp_path / "a.csv").write_text(table)
    first, second, third = read_rows(tmp_path / "a.csv")
    assert (first.steering, first.answer) == (router, "Yes.")  # it says that nothing is to be set
    assert second.steering is third.steering is None
    values = [router, {}, {"overrides": []}, Steering().to_dict(), Steering(strength=0).to_dict()]
    lines = [json.dumps({"question": "One?", "steering": value}) for value in values]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    read = [row.steering for row in read_rows(tmp_path / "a.jsonl")]
    assert read == [router, None, None, None, values[-1]]


def test_a_commands_steering_holds_of_rows_that_we_wrote_and_whose_it_does_not_is_told(
    capsys, saved, tmp_path
):
    asked, out, again = (tmp_path / name for name in ("asked.txt", "out.jsonl", "again.jsonl"))
    asked.write_text("Gout?\nAsthma?\n")
    few = ("--max-new-tokens", "2", *saved)
    run(capsys, "answer", "--prompts", str(asked), "--out", str(out), *few)
    first, second = map(json.loads, out.read_text().splitlines())
    rows = [first, second | {"steering": {"overrides": [{"target": "field", "state": "off"}]}}]
    out.write_text("\n".join(map(json.dumps, rows)))
    given = ["route", "--prompts", str(out), "--off", "task", *saved, "--out"]
    assert run(capsys, *given, str(again))["own_steering"] == 1
    first, second = map(json.loads, again.read_text().splitlines())
    assert all(row[0] == 0 for row in first["group_shares"])
    assert all(row[0] > 0 == row[1] for row in second["group_shares"])
    main([*given, str(tmp_path / "once more.jsonl")])
    assert "their own, and not the command's: 1" in capsys.readouterr().out


def test_a_table_of_answers_is_scored_as_their_records_are(capsys, saved, llama, tmp_path):
    asked = tmp_path / "asked.jsonl"
    half = {"strength": 0.5, "overrides": [{"target": "task", "state": "fixed", "share": 0.9}]}
    rows = [{"question": PROMPTS[0], "steering": OFF}, {"question": PROMPTS[1], "steering": half}]
    rows += [{"question": PROMPTS[2]}, {"question": "", "steering": half}]
    rows += [{"question": "Gout?", "steering": {"overrides": 2 * "\ud800"}}]
    asked.write_text("\n".join(map(json.dumps, rows)))
    few = ("--max-new-tokens", "4", "--strength", "1.5", *saved)
    scored = []
    for ending in ("csv", "jsonl", "parquet"):
        out, lines = tmp_path / f"out.{ending}", tmp_path / f"of {ending}.jsonl"
        assert (
            run(capsys, "answer", "--prompts", str(asked), "--out", str(out), *few)["errors"] == 2
        )
        if ending == "csv":
            held = list(csv.DictReader(out.open(encoding="utf-8-sig", newline="")))
        elif ending == "jsonl":
            held = list(map(json.loads, out.read_text().splitlines()))
        else:
            held = pyarrow.parquet.read_table(out).to_pylist()
        # what a tiny model writes cannot always be scored
        lines.write_text("\n".join(json.dumps(row | {"answer": "Rest."}) for row in held))
        again = tmp_path / f"scored {ending}.jsonl"
        run(capsys, "score", "--prompts", str(lines), "--out", str(again), *saved)
        scored.append(list(map(json.loads, again.read_text().splitlines())))
    command = Steering(strength=1.5)
    for i, own in enumerate((Steering.from_dict(OFF), Steering.from_dict(half), command)):
        plan = own.apply(llama.model.route(PROMPTS[i]))
        logp = llama.model.score(PROMPTS[i], "Rest.", [plan]).mean().item()
        for rows in scored:
            assert rows[i]["mean_logprob"] == pytest.approx(logp, abs=1e-5)
            assert rows[i]["steering"] == own.to_dict()
    # and a row that could not be asked keeps what it is to be asked under
    for *_, fourth, fifth in scored:
        assert json.loads(fourth["steering"]) == half and "not a steering" in fifth["error"]


def test_the_plan_of_one_question_says_how_it_was_steered(capsys, saved):
    plan = run(capsys, "route", PROMPTS[0], "--off", "task", *saved)
    assert plan["steering"] == Steering((Override("task", State.OFF),)).to_dict()
    assert RoutingPlan.from_dict(plan).absent == ("task",)


def test_a_row_is_drawn_by_its_own_seed(capsys, caplog, saved, model, tmp_path):
    sampling = Sampling(max_new_tokens=9, temperature=1.0, seed=5)
    flags = ("--temperature", "1", "--max-new-tokens", "9", "--seed", "5", *saved)
    asked, out = tmp_path / "asked.csv", tmp_path / "out.jsonl"
    cells = ["1", "2", "3.0", "", "5", str(2**63 - 1), "-1", "x", "inf", f"{2**53 + 1}.0"]
    lines = [f"{PROMPTS[0]},{cell}\n" for cell in cells]
    asked.write_text("question,Seed\n" + "".join(lines))
    said = run(capsys, "answer", "--prompts", str(asked), "--out", str(out), *flags)
    assert (said["errors"], said["own_seed"]) == (4, 4)
    assert "a seed of their own, not --seed: 4" in caplog.text
    rows = list(map(json.loads, out.read_text().splitlines()))
    assert all("no whole number" in row["error"] for row in rows[-4:])
    records = [Record.from_dict(row) for row in rows[:-4]]
    assert [record.seed for record in records] == [1, 2, 3, 5, 5, 2**63 - 1]
    for record in records:
        alone = model.answer(PROMPTS[0], sampling=replace(sampling, seed=record.seed))
        assert record.answer_tokens == alone.answer_tokens
    assert len({record.answer for record in records}) > 3
    # both a record and a table bring it, so that they are answered again as they were
    table = tmp_path / "table.csv"
    run(capsys, "answer", "--prompts", str(out), "--out", str(table), *flags)
    once_more = tmp_path / "again.jsonl"
    run(capsys, "answer", "--prompts", str(table), "--out", str(once_more), *flags, "--seed", "8")
    again = list(map(json.loads, once_more.read_text().splitlines()))[:-4]
    assert [row["answer"] for row in again] == [record.answer for record in records]


def test_of_rows_that_were_sampled_otherwise_is_told(capsys, caplog, saved, tmp_path):
    asked, out = tmp_path / "asked.txt", tmp_path / "out.jsonl"
    asked.write_text("Gout?\nAsthma?\n")
    run(
        capsys,
        "answer",
        "--prompts",
        str(asked),
        "--out",
        str(out),
        "--max-new-tokens",
        "2",
        *saved,
    )
    assert not caplog.text
    given = ["answer", "--prompts", str(out), "--max-new-tokens", "2", *saved, "--out"]
    assert run(capsys, *given, str(tmp_path / "same.jsonl"))["other_sampling"] == 0
    other = ("--repetition-penalty", "1.5")
    assert run(capsys, *given, str(tmp_path / "other.jsonl"), *other)["other_sampling"] == 2
    assert caplog.text.count("than the command's, which hold: 2.") == 1
    for row in map(json.loads, (tmp_path / "other.jsonl").read_text().splitlines()):
        assert row["sampling"]["repetition_penalty"] == 1.5


def test_what_is_no_utf8_can_be_told(tmp_path):
    (tmp_path / "a.csv").write_bytes("Frage,Qualität\n1,2\n".encode("cp1252"))
    with pytest.raises(DataError, match="holds the questions") as refusal:
        list(read_rows(tmp_path / "a.csv"))
    str(refusal.value).encode()


def test_rows_of_one_number_keep_their_own_results(model):
    rows = [Row(1, "a", error="A"), Row(1, "b", PROMPTS[0]), Row(1, "c", error="C")]
    done = list(routing(model, rows))
    assert [d.row.id for d in done] == ["a", "b", "c"] and [d.error for d in done] == ["A", "", "C"]


def test_half_of_another_run_is_not_gone_on_with(tmp_path):
    out = Out(tmp_path / "out.csv", ("id",), {"command": "route"})
    with pytest.raises(DataError, match="Another run writes"):
        Out(tmp_path / "out.csv", ("id",), {"command": "route"})
    out.add({"id": "a"}, {})
    out.add({"id": "b", "error": "no"}, {})
    out.close()
    with (tmp_path / "out.csv.part").open("ab") as file:
        file.write(b'{"id": "cut o')
    again = Out(tmp_path / "out.csv", ("id",), {"command": "route"})
    assert (again.done, again.errors) == (2, 1)
    again.add({"id": "c"}, {})
    again.close()
    with pytest.raises(DataError, match="of another run"):
        Out(tmp_path / "out.csv", ("id",), {"command": "answer"})
    for foreign in (b"mine", b'{"command": "route"}\n{"id": 1}\ngarbled\n'):
        (tmp_path / "other.csv.part").write_bytes(foreign)
        with pytest.raises(DataError, match="of another run|damaged, in its line 3"):
            Out(tmp_path / "other.csv", ("id",), {"command": "route"})
        assert (tmp_path / "other.csv.part").read_bytes() == foreign
    Out(tmp_path / "out.csv", ("id",), {"command": "route"}).finish()
    assert (tmp_path / "out.csv").read_text("utf-8-sig").split() == ["id", "a", "b", "c"]


def test_a_run_of_200_that_was_stopped_goes_on_where_it_stopped(capsys, saved, tmp_path):
    asked = tmp_path / "asked.jsonl"
    questions = [f"How is illness {i} treated?" for i in range(200)]
    lines = [json.dumps({"id": f"q{i}", "question": q}) for i, q in enumerate(questions)]
    lines[40], lines[150] = "{broken", json.dumps({"id": "q150", "question": ""})
    asked.write_text("\n".join(lines))
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    given = ["answer", "--prompts", str(asked), *saved, "--max-new-tokens", "4", "--batch", "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-m", "atmoe", *given, "--out", str(out)],
        env=environment,
        stderr=subprocess.PIPE,
    )
    part, last = tmp_path / "out.jsonl.part", time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") > 20):
        assert time.monotonic() < last and started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130 and not out.exists(), said
    left = part.read_bytes().count(b"\n") - 1
    assert 20 <= left < 200
    assert run(capsys, *given, "--out", str(out))["errors"] == 2
    run(capsys, *given, "--out", str(whole))
    assert out.read_bytes() == whole.read_bytes()
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()][38:42] == [
        "q38",
        "q39",
        "row 41",
        "q41",
    ]


def test_a_stopped_run_does_not_go_on_with_an_index_that_it_began_without(
    capsys, monkeypatch, worlds, own_cache, tmp_path
):
    folder, flags = saved_with_index(worlds, tmp_path)
    index, aside = folder / "index", tmp_path / "aside"
    index.rename(aside)
    asked = tmp_path / "asked.txt"
    asked.write_text("\n".join(f"How is illness {i} treated?" for i in range(6)))
    given = ["route", "--prompts", str(asked), "--out", str(tmp_path / "out.jsonl"), *flags]
    stopped_after(3, monkeypatch, *given)
    aside.rename(index)
    assert "is of another run" in refused(capsys, *given)
    index.rename(aside)
    assert run(capsys, *given)["errors"] == 0
    held = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert not any("familiarity" in row for row in held)


@pytest.mark.parametrize(("command", "goes_on"), [("faithfulness", False), ("answer", True)])
def test_a_stopped_run_goes_on_with_other_batches_where_these_change_no_row(
    capsys, monkeypatch, saved, tmp_path, command, goes_on
):
    asked, out, whole = (tmp_path / name for name in ("asked.txt", "out.jsonl", "whole.jsonl"))
    asked.write_text("\n".join(f"How is illness {i} treated?" for i in range(6)))
    given = [command, "--prompts", str(asked), *saved]
    stopped_after(4, monkeypatch, *given, "--out", str(out), "--batch", "1")
    if not goes_on:
        again = refused(capsys, *given, "--out", str(out), "--batch", "8")
        assert "is of another run" in again
        return
    run(capsys, *given, "--out", str(out), "--batch", "8")
    run(capsys, *given, "--out", str(whole), "--batch", "8")
    rows, others = (list(map(json.loads, f.read_text().splitlines())) for f in (out, whole))
    assert [row["answer"] for row in rows] == [row["answer"] for row in others]
