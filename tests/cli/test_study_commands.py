"""From a description to the comparison, by the commands the README names, on a tiny base."""

import json
import shutil
from typing import get_args, get_type_hints

import pytest
import torch
from commands import refused, run
from samples import LINES
from tools.reports import (
    band_table,
    baseline_table,
    control_figure,
    control_table,
    routing_figure,
    routing_sentences,
    strength_table,
)

from atmoe import AtMoe
from atmoe.cli.main import build_parser, main
from atmoe.cli.measuring import NO_WORDING
from atmoe.errors import AtMoeError
from atmoe.mixture import precision
from atmoe.mixture.experts import Adapter
from atmoe.study.reading import grade, whole_sentences
from atmoe.train.baseline import XloraSettings
from atmoe.train.experts import ExpertSettings
from atmoe.train.settings import RouterSettings
from atmoe.train.together import TogetherSettings

SHORT = ["--answer-tokens", "700", "--dtype", "float32"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("study")
    (home / "own.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    (home / "own.yaml").write_text(
        "groups: {task: [define, treat, warn], field: [heart], reader: [lay, expert]}\n"
        "sources: [{reader: jsonl, path: own.jsonl}]\nlanguage: en\n"
        "words: {task: Need}\npage: {presets: {For experts: {reader/expert: 100}}}\n"
    )
    return home


@pytest.fixture
def words(home, llama, own_cache):
    """The description and the base, as every command takes them."""
    return [str(home / "own.yaml"), "--base", str(llama.directory)]


@pytest.fixture
def trained(capsys, home, words):
    """A model with experts and a router, trained once."""
    model = home / "model"
    if not (model / "router.log.json").is_file():
        run(capsys, "train", "experts", *words, "--out", str(model), "--rank", "2", *SHORT)
        few = ["--instructions", "30", "--effect-answers", "4"]
        run(capsys, "train", "router", *words, "--model", str(model), *few, *SHORT)
    return model


def test_experts_learn_on_under_the_routers_plan(capsys, home, words, trained):
    out = home / "together"
    more = ["--model", str(trained), "--out", str(out), "--group-floor", "1.2"]
    told = run(capsys, "train", "together", *words, *more, "--instructions", "40", *SHORT)
    assert told["steps"] > 0 and set(told["left_out"]) == {"task", "field", "reader"}
    model = AtMoe.from_pretrained(out, words[-1])
    asked = [line["prompt"] for line in LINES[:20]]
    assert any(model.route(prompt).absent for prompt in asked)
    before = AtMoe.from_pretrained(trained, words[-1])
    assert not any(before.route(prompt).absent for prompt in asked)


def test_a_planner_is_taught_to_read_letters(capsys, home, words, trained):
    lettered = shutil.copytree(trained, home / "lettered")
    command = ["train", "planner", *words, "--model", str(lettered), "--instructions", "40"]
    command += ["--pieces", "64", "--dtype", "float32", "--floors"]
    told = run(capsys, *command, "reader=0.5", "task=0.1")
    assert set(told["letters"]) == {"task", "field", "reader"}
    planner = AtMoe.from_pretrained(lettered, words[-1]).router.planner
    assert planner.spelling.weight.shape == (64, 6)
    assert planner.floor.tolist() == pytest.approx([0.1, told["settings"]["floor"], 0.5])
    assert "--floors names the group 'diet'" in refused(capsys, *command, "diet=0.1")
    assert "'task' is not like task=0.1" in refused(capsys, *command, "task")
    # taught anew, it has what it had: what decides that is nobody's to remember
    plain = [*command[:9], "--dtype", "float32"]
    assert run(capsys, *plain)["settings"] == told["settings"]
    again = AtMoe.from_pretrained(lettered, words[-1]).router.planner
    assert torch.equal(again.floor, planner.floor)
    assert torch.equal(again.spelling.weight, planner.spelling.weight)
    # what it learned stays, and a group always takes part
    command = ["train", "planner", "--model", str(lettered), "--instructions", "0"]
    command += words[-2:]  # no data, but the base
    assert "name what to set" in refused(capsys, *command)
    told = run(capsys, *command, "--group-floors", "task=0", "--floors", "task=0.2")
    assert told["settings"]["group_floors"] == {"task": 0.0}
    again = AtMoe.from_pretrained(lettered, words[-1]).router.planner
    assert again.floor.tolist() == pytest.approx([0.2, *planner.floor.tolist()[1:]])
    assert torch.equal(again.spelling.weight, planner.spelling.weight)
    told = run(capsys, *command, "--letters", "task=0.5")
    assert told["settings"]["letters"] == {"task": 0.5}
    halved = AtMoe.from_pretrained(lettered, words[-1]).router.planner
    members = halved.layout.members("task")
    assert torch.equal(halved.spelling.weight[:, members] * 2, planner.spelling.weight[:, members])
    assert "with --instructions 0 nothing is learned" in refused(capsys, *command, "--width", "8")


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (("experts", "--out", "x"), ExpertSettings),
        (("router",), RouterSettings),
        (("planner",), RouterSettings),
        (("together", "--out", "x"), TogetherSettings),
        (("baseline", "lora"), ExpertSettings),
        (("baseline", "xlora"), XloraSettings),
    ],
)
def test_options_of_training_are_of_their_settings_kinds(command, settings):
    kinds = get_type_hints(settings)
    set_by_option = 0
    for name, kind in kinds.items():
        option, whole = "--" + name.replace("_", "-"), int in (kind, *get_args(kind))
        try:
            parsed = build_parser().parse_args(["train", *command, option, "3"])
        except SystemExit:  # no option, or one of a few words
            continue
        set_by_option += 1
        assert type(getattr(parsed, name)) is (int if whole else float), option
    assert set_by_option > 2


@pytest.mark.parametrize("quicker", ["float32", "bfloat16"])
def test_a_model_is_trained_in_the_quicker_unless_another_is_named(
    capsys, home, words, trained, monkeypatch, quicker
):
    features = {"avx512_bf16"} if quicker == "bfloat16" else set()
    monkeypatch.setattr(precision, "_features", lambda: features)
    load, asked = AtMoe.from_pretrained, []

    def noted(path, base, dtype, **more):
        asked.append(dtype)
        raise AtMoeError("That is enough.")

    monkeypatch.setattr(AtMoe, "from_pretrained", noted)
    data = [*words, "--model", str(trained)]
    commands = (["router"], ["planner"], ["together", "--out", "x"], ["baseline", "xlora"])
    for command in commands:
        assert "That is enough." in refused(capsys, "train", *command, *data)
        refused(capsys, "train", *command, *data, "--dtype", "float32")
    assert asked == [quicker, "float32"] * len(commands)
    monkeypatch.setattr(AtMoe, "from_pretrained", load)
    # and its report says so
    anew = shutil.ignore_patterns("router-run")
    copy = shutil.copytree(trained, home / f"in-{quicker}", ignore=anew)
    few = ["--model", str(copy), "--instructions", "10", "--effect-answers", "0"]
    told = run(capsys, "train", "router", *words, *few, "--answer-tokens", "20")
    assert told["settings"]["dtype"] == quicker


def test_every_baseline_on_the_same_tokens(capsys, home, words, trained):
    baselines = home / "baselines"

    def evaluate(*more):
        return run(capsys, "evaluate", *words, "--model", str(trained), "--limit", "6", *more)

    plain, before = evaluate(), evaluate("--baselines", str(baselines))
    assert (
        set(plain["nll"]) == {"base", "uniform", "router", "label"} and plain["not_measured"] == {}
    )
    assert (
        set(before["not_measured"]) == {"lora", "xlora"}
        and "train baseline lora" in before["not_measured"]["lora"]
    )
    lora = run(
        capsys,
        "train",
        "baseline",
        "lora",
        *words,
        "--model",
        str(trained),
        "--out",
        str(baselines / "lora"),
        *SHORT,
    )
    six = [Adapter.load(path.parent) for path in trained.glob("experts/*/*/adapter_config.json")]
    assert len(six) == 6 and lora["settings"]["rank"] == sum(one.rank for one in six) == 12
    assert lora["settings"]["alpha"] == 12
    xlora = run(
        capsys,
        "train",
        "baseline",
        "xlora",
        *words,
        "--model",
        str(trained),
        "--out",
        str(baselines / "xlora"),
        *SHORT[:3],
        "bfloat16",
    )
    experts, router = (
        json.loads((trained / f"{x}.log.json").read_text()) for x in ("experts", "router")
    )
    assert (lora["steps"], lora["answer_tokens"]) == (
        experts["steps"],
        experts["answer_tokens"],
    )  # the very same batches
    assert (xlora["steps"], xlora["answer_tokens"]) == (router["steps"], router["answer_tokens"])
    after = evaluate("--baselines", str(baselines))
    tuned = evaluate("--baselines", str(baselines), "--strengths", "1", "0.5")["nll"]
    assert set(tuned) == {*after["nll"]} | {
        f"{m} at {s}" for m in ("router", "lora") for s in (1, 0.5)
    }
    assert tuned["lora at 1"]["tasks"] == tuned["lora"]["tasks"] != tuned["lora at 0.5"]["tasks"]
    # The model knows its base, and so PEFT's baselines do.
    unnamed = [str(home / "own.yaml"), "--model", str(trained), "--limit", "6"]
    assert run(capsys, "evaluate", *unnamed, "--baselines", str(baselines))["nll"] == after["nll"]
    assert set(after["nll"]) == {
        "base",
        "uniform",
        "router",
        "label",
        "task_expert",
        "field_expert",
        "reader_expert",
        "lora",
        "xlora",
        "arrow",
    }
    assert after["not_measured"] == {} and after["tokens"] == plain["tokens"]
    for name in ("base", "router", "arrow"):
        assert after["nll"][name]["macro"] == pytest.approx(before["nll"][name]["macro"], abs=1e-5)
        low, high = after["nll"][name]["interval"]
        assert low < after["nll"][name]["macro"] < high
    assert after["nll"]["lora"]["macro"] < after["nll"]["base"]["macro"]  # it learned something
    assert baseline_table(after).count("\n") == 11 and "Arrow (PEFT)" in baseline_table(after)


def base_in(model) -> str:
    return json.loads((model / "atmoe.json").read_text())["base"]["sha256"]


def test_what_stands_beside_a_model_is_on_its_base(
    capsys, home, trained, llama, worlds, monkeypatch
):
    own, of_model, other = str(home / "own.yaml"), ["--model", str(trained)], worlds("qwen2")
    lora, few = ["train", "baseline", "lora", own, "--rank", "2", *SHORT], ["--limit", "2"]
    run(capsys, *lora, *of_model, "--out", str(home / "beside" / "lora"))
    assert base_in(home / "beside" / "lora") == llama.found.sha256
    start = ["--start", str(trained), "--out", str(home / "on")]
    run(capsys, "train", "experts", own, *start, *SHORT)
    assert base_in(home / "on") == llama.found.sha256

    of_other = ["--base", str(other.directory), "--out", str(home / "elsewhere" / "lora")]
    run(capsys, *lora, *of_other)
    assert base_in(home / "elsewhere" / "lora") == other.found.sha256
    elsewhere = ["--baselines", str(home / "elsewhere")]
    report = run(capsys, "evaluate", own, *of_model, *few, *elsewhere)
    assert "lora" not in report["nll"]
    assert "was trained on the base" in report["not_measured"]["lora"]
    assert f"train baseline lora --model {trained}" in report["not_measured"]["lora"]

    bases = []
    monkeypatch.setattr("atmoe.study.sources.study", lambda *of: {})
    monkeypatch.setattr(
        "atmoe.train.removal.study", lambda model, fresh, *of: bases.append(fresh.info.base_sha256)
    )
    monkeypatch.setattr("atmoe.cli.sources._sources", lambda report: [])
    run(capsys, "evaluate-sources", own, *of_model, "--retrain", "1")
    assert bases == [llama.found.sha256]


def test_control_of_a_model_of_ones_own(capsys, words, trained, monkeypatch):
    # so small a model writes in letters of all kinds
    monkeypatch.setattr("atmoe.study.control.grade_of", lambda text: grade(whole_sentences(text)))
    report = run(
        capsys,
        "evaluate-control",
        *words,
        "--model",
        str(trained),
        "--split",
        "all",
        "--limit",
        "2",
        "--text-group",
        "reader",
        "--readers",
        "lay",
        "expert",
    )
    assert set(report["groups"]) == {"task", "field", "reader"}
    assert report["prompts"] == 2
    assert (
        "reading" not in control_table(report).splitlines()[0]
        and control_table(report).count("\n") == 1 + 2 + 1 + 8
    )
    for group, lines in (("task", 2), ("field", 1), ("reader", 8)):
        figure = control_figure(report, group)
        shown = [trace for trace in figure.data if trace.mode == "lines+markers"]
        assert len(shown) == lines and list(shown[0].x) == [0, 25, 50, 75, 100]
    assert (
        "no unseen wording"
        in refused(
            capsys, "evaluate-routing", *words, "--model", str(trained), "--split", "all"
        ).lower()
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--text-group", "raeder"], "no group 'raeder'"),
        (["--text-group", "raeder"], "its groups are task, field, reader."),
        (["--text-group", "reader"], "no expert 'patient'"),
        (["--text-group", "reader", "--readers", "lay", "expret"], "its experts are lay, expert"),
        (["--readers", "lay", "expert"], "no group 'audience'"),
    ],
)
def test_what_is_to_be_controlled_and_is_not_there_is_refused(
    capsys, words, trained, options, sentence
):
    asked = ["evaluate-control", *words, "--model", str(trained), "--split", "all", *options]
    assert sentence in refused(capsys, *asked)


def test_a_seed_is_that_of_the_intervals_too(capsys, words, trained):
    asked = ["evaluate", *words, "--model", str(trained), "--limit", "30"]
    one, other = (run(capsys, *asked, "--seed", seed)["nll"]["base"] for seed in "01")
    assert one["tasks"] == other["tasks"] and one["interval"] != other["interval"]


def test_strength_of_a_model_of_ones_own(capsys, words, trained):
    drawn = ["--split", "all", "--limit", "6", "--seed", "3", "--dtype", "float32"]
    report = run(capsys, "evaluate-strength", *words, "--model", str(trained), *drawn)
    assert report["prompts"] == 6 and report["strengths"][0] == 0 and report["strengths"][-1] == 2
    # the command that is written down is this one: it gives the same again
    name, *argv = report["command"].removeprefix("python -m atmoe ").split()
    assert argv == [words[0], "--model", str(trained), *words[1:], *drawn, "--json"]
    again = run(capsys, name, *argv[:-1])
    for told in (report, again):
        told.pop("seconds")
    assert again == report
    table = strength_table(report)
    # A model this small says nothing at some strengths.
    told = [i for i, at in enumerate(report["by_strength"]) if at["logp"]["median"] is not None]
    assert told
    for i in told:
        row, at = table.splitlines()[2 + i], report["by_strength"][i]
        assert row.startswith(f"| {at['strength']:g} | {at['repeated']['median']:.1%} (")
        assert f"| {at['logp']['median']:.2f} (" in row
    assert "6 questions, answers of at most 160 tokens, temperature 0, float32, 20" in table


def test_flags_of_a_model_of_ones_own(capsys, home, words, trained):
    answers = home / "answers.json"
    few = ["--questions", "4", "--drafts", "2", "--split", "all", "--answers", str(answers)]
    first = run(capsys, "evaluate-flags", *words, "--model", str(trained), *few)
    again = run(capsys, "evaluate-flags", *words, "--model", str(trained), *few)
    assert first == again and len(json.loads(answers.read_text())["answers"]) == 4
    changed = ["evaluate-flags", *words, "--model", str(trained), *few, "--seed", "1"]
    assert "other seed" in refused(capsys, *changed)
    assert first["kept_to"] is None and first["untaught"]["answers"] == 4
    assert (first["questions"], first["reworded"]) == (4, 0)  # no wording of ours fits these data
    assert first["drafts"] is None or first["drafts"]["questions"] <= 2
    assert first["command"] == (
        f"python -m atmoe evaluate-flags {words[0]} --model {trained} {' '.join(words[1:])} "
        "--split all --limit 50 --questions 4 --drafts 2 --seed 0 --dtype float32 --json"
    )
    assert first["filter"]["missed"] == 0 and first["filter"]["bytes"] <= 64_000
    assert first["untaught"]["references"]["words"]["flagged"] == 0  # they were taught
    answers.write_text('[{"kind": 1}]')
    assert "no answers to flag" in refused(
        capsys, "evaluate-flags", *words, "--model", str(trained), *few
    )


def test_answers_of_a_model_of_ones_own(capsys, words, trained):
    asked = ["evaluate-answers", *words, "--model", str(trained), "--split", "all", "--limit", "3"]
    report = run(capsys, *asked)
    assert report["answers"] == 3 and report["both_needs"] is None
    assert report["reworded"] == 0  # no wording of ours fits these data
    assert all(0 <= report[what] <= 3 for what in ("echoed", "listing", "flattened", "patient"))
    main(asked)
    said = capsys.readouterr().out
    assert said.startswith("3 answers, 0 of them to questions put in other words: ")
    assert f"pairs of needs: none; {NO_WORDING}" in said


def test_pictures_of_routing_show_the_report():
    report = {
        "by_task": {
            "a": {
                "group_shares": [[0.5, 0.5], [0.25, 0.75]],
                "expert_shares": [[0.9, 0.1, 1], [0.8, 0.2, 1]],
            }
        },
        "load": {"task/a": 0.4, "task/b": 0.1, "field/c": 0.5},
        "group_shares": {"task": [0, 0, 0], "field": [0, 0, 0]},
        "loss": 2.0,
        "agreement": {"task": 0.9},
        "reading": {
            "task": {"labels": 40, "right_taking_part": 0.7, "right_absent": 0.2, "wrong": 0.1}
        },
        "bands": {
            "early": {
                "layers": "0-0",
                "agreement": {"task": 0.8},
                "group_entropy": 0.5,
                "expert_entropy": {"task": 0.4},
                "loss_with_average_plan": 2.25,
            },
            "all": {"loss_with_average_plan": 2.5},
        },
    }
    group, inside = routing_figure(report).data
    assert [list(row) for row in group.z] == [[50, 25]] and [list(row) for row in inside.z] == [
        [90, 80]
    ]
    assert "| early (0-0) | 80.0% | 0.50 | 0.40 | 2.250 (+0.250) |" in band_table(report)
    two = {"instructions": 20, "both_largest": 0.9, "both_above_twice_uniform": 0.55, "both": 0.5}
    said = routing_sentences(
        report
        | {
            "instructions": 40,
            "two_needs": two,
            "load_entropy": 0.875,
            "group_shares": {"task": [0.25, 0.5, 0.75]},
        }
    )
    assert (
        "task 90.0%." in said
        and "40 labels of task, 70.0% were read and the group took part, 20.0% were read but"
        in said
        and "two largest in 90.0%" in said
        and "task 25% to 75% (mean 50%)" in said
    )
    assert "from task/b 10.0% to field/c 50.0%; entropy 0.88" in said


def test_ready_loras_are_dropped_in_and_stay_as_they_are(capsys, home, llama, words):
    ready, model = llama.adapter("task/warn"), home / "with-ready"
    (home / "ready.yaml").write_text(
        f"groups: {{task: {{define: null, treat: null, warn: {{adapter: {ready}}}}}, "
        "field: [heart], reader: [lay, expert]}\n"
        "sources: [{reader: jsonl, path: own.jsonl}]\n"
    )
    report = run(
        capsys,
        "train",
        "experts",
        str(home / "ready.yaml"),
        *words[1:],
        "--out",
        str(model),
        "--rank",
        "3",
        *SHORT[:3],
        "bfloat16",
    )
    assert report["ready"] == ["task/warn"] and report["steps"] > 0
    before, after = Adapter.load(ready), Adapter.load(model / "experts/task/warn")
    assert before.scaling == after.scaling and before.factors.keys() == after.factors.keys()
    assert all(
        torch.equal(a, b)
        for n in before.factors
        for a, b in zip(before.factors[n], after.factors[n])
    )
    moved = Adapter.load(model / "experts/task/define")
    assert any(b.abs().sum() > 0 for _, b in moved.factors.values())
    AtMoe.from_pretrained(model, llama.directory).route("How is gout treated?")
    # and through the stages after it
    data = [str(home / "ready.yaml"), *words[1:], "--model", str(model), *SHORT[:3], "bfloat16"]
    run(capsys, "train", "router", *data, "--instructions", "30", "--effect-answers", "2")
    out = home / "with-ready-together"
    run(capsys, "train", "together", *data, "--out", str(out), "--instructions", "20")
    assert Adapter.load(out / "experts/task/warn").same(before)
    assert before.exact == torch.float32  # or there would be nothing to see
    assert not Adapter.load(out / "experts/task/define").same(moved)


def test_nothing_is_trained_where_all_loras_are_ready(capsys, home, llama, words):
    groups = {
        g: {e: {"adapter": str(llama.adapter(f"{g}/{e}"))} for e in experts}
        for g, experts in llama.model.layout.groups
    }
    (home / "all.json").write_text(json.dumps({"groups": groups}))
    report = run(
        capsys,
        "train",
        "experts",
        str(home / "all.json"),
        *words[1:],
        "--out",
        str(home / "all"),
        "--dtype",
        "float32",
    )
    assert report["steps"] == 0 and len(report["ready"]) == 6
    model = AtMoe.from_pretrained(home / "all", llama.directory)
    assert model.layout == llama.model.layout
    prompt, answer = "How is gout treated?", "With rest."
    plan = llama.unit.route(prompt)
    model.router.gain.fill_(1.0)
    assert torch.allclose(
        model.score(prompt, answer, [plan]), llama.unit.score(prompt, answer, [plan]), atol=1e-4
    )


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["train", "experts", "none.yaml", "--out", "x"], "no description"),
        (["train", "baseline", "lora"], "--medquad DIR"),
        (["evaluate-control", "--medquad", "nowhere"], "nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, argv, sentence):
    assert sentence in refused(capsys, *argv)


def test_an_index_beside_a_trained_model(capsys, home, words, trained):
    few = ["--instructions", "30", "--effect-answers", "4"]
    run(capsys, "train", "router", *words, "--model", str(trained), *few, *SHORT, "--index")
    flags = ["--model", str(trained), *words[1:]]
    said = run(capsys, "route", "How is soup made?", *flags)
    assert said["nearest"] and all(s["source"].endswith(".jsonl") for s in said["nearest"])
    made = (trained / "index" / "facts.json.gz").read_bytes()
    (trained / "index" / "words.bin").unlink()
    again = run(capsys, "index", *words, "--model", str(trained))
    assert again["examples"] > 0 and (trained / "index" / "facts.json.gz").read_bytes() == made
    model = AtMoe.from_pretrained(trained, words[-1])
    assert model.words.keys == again["words"]
    said = run(capsys, "answer", "How is soup made?", *flags, "--max-new-tokens", "8")
    assert isinstance(said["flags"], list)
