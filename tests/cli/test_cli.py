"""The command line: one JSON document on standard output; a sentence and code 2 for a mistake."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import refused, run
from conftest import LAYERS, LAYOUT, ROOT
from samples import explanation, unmixed

from atmoe import Record, Steering
from atmoe.cli.ask import _changes, _measured
from atmoe.cli.main import build_parser, main
from atmoe.explanation.value import Change
from atmoe.explanation.verdict import UNMIXED
from atmoe.mixture.store import read_config


@pytest.fixture
def saved(llama, tmp_path, own_cache):
    """Flags that name a tiny model and its base."""
    llama.model.save_pretrained(tmp_path / "model")
    return ["--model", str(tmp_path / "model"), "--base", str(llama.directory)]


def test_route(capsys, saved, llama):
    plan = run(capsys, "route", "How is gout treated?", *saved)
    assert plan["layers"] == LAYERS == len(plan["group_shares"]) == len(plan["expert_shares"])
    assert [(g["name"], tuple(g["experts"])) for g in plan["groups"]] == list(LAYOUT.groups)
    own = read_config(Path(saved[1]))[0]
    assert plan.pop("model") == own.named and own.sha256
    assert plan.pop("steering") == Steering().to_dict()
    assert plan == llama.model.route("How is gout treated?").to_dict()


def test_a_route_says_what_was_set(capsys, saved):
    main(["route", "Gout?", *saved])
    unsteered = capsys.readouterr().out
    main(["route", "Gout?", *saved, "--strength", "0"])
    said = "steered: strength 0 (the base model alone)\n"
    assert capsys.readouterr().out == said + unsteered
    main(["route", "Gout?", *saved, "--strength", "0.5", "--off", "task"])
    assert "steered: task off in all layers; strength 0.5\n" in capsys.readouterr().out


def test_the_table_of_an_explanation_agrees_with_its_verdict():
    noisy = replace(explanation(reader_expert=(0.15, 0.03)), floor=0.04)
    said = "\n".join(_measured(noisy))
    assert "hardly mattered" in said and "much weight, hardly any effect" in said
    assert "much weight" not in "\n".join(_measured(replace(noisy, floor=0.02)))


def test_at_strength_0_nothing_disagrees():
    said = "\n".join(_measured(unmixed()))
    assert said.startswith(UNMIXED) and "much weight" not in said


def test_the_smallest_changes_of_a_drawn_answer_are_of_the_one_at_temperature_0():
    changes = (Change("task", 0.4, "Rest."), Change("field", 0.3, "Rest.", 0.2, "Sleep."))
    assert list(_changes(changes, True)) == [
        "first sentence at temperature 0: Rest.",
        "task: no change of the first sentence at temperature 0 found between 0 and 100%",
        "field: at 20% instead of 30% on average, the first sentence at temperature 0 would be: "
        "Sleep.",
    ]
    assert "temperature" not in "".join(_changes(changes, False))


def test_steering_flags(capsys, saved):
    def route(*flags):
        return run(capsys, "route", "How is gout treated?", *saved, *flags)

    fixed = route(
        "--set", "task=60%", "--off", "field", "--set", "reader/lay=0.25", "--strength", "0.5"
    )
    assert all(row[0] == pytest.approx(0.6) and row[1] == 0 for row in fixed["group_shares"])
    assert all(row[4:] == pytest.approx([0.25, 0.75]) for row in fixed["expert_shares"])
    assert fixed["strength"] == [0.5] * LAYERS
    ranged = route(
        "--layers",
        "1-2",
        "--off",
        "task",
        "--layers",
        "4",
        "--off",
        "reader",
        "--layers",
        "all",
        "--set",
        "field=0.5",
    )
    assert [row[0] == 0 for row in ranged["group_shares"]] == [False, True, True, False, False]
    assert [row[2] == 0 for row in ranged["group_shares"]] == [False, False, False, False, True]
    assert all(row[1] == pytest.approx(0.5) for row in ranged["group_shares"])


def test_answer_is_a_record(capsys, saved, llama):
    data = run(
        capsys,
        "answer",
        "How is gout treated?",
        *saved,
        "--off",
        "task",
        "--max-new-tokens",
        "7",
        "--seed",
        "3",
    )
    record = Record.from_dict(data)
    assert (
        record.seed == 3 and len(record.answer_tokens) <= 7 and record.finish in ("stop", "length")
    )
    assert record.base["sha256"] == llama.found.sha256 and len(record.model["sha256"]) == 64
    assert record.plan.close_to(
        record.steering.apply(record.router_plan)
    ) and not record.plan.close_to(record.router_plan)
    assert set(data["timings"]) == {"prefill_s", "decode_tokens_per_s"}


def test_score(capsys, saved, llama):
    data = run(capsys, "score", "How is gout treated?", "With rest.", *saved, "--strength", "0")
    assert (
        len(data["tokens"]) == len(data["token_logprobs"])
        and "".join(data["tokens"]) == "With rest."
    )
    assert data["mean_logprob"] == pytest.approx(sum(data["token_logprobs"]) / len(data["tokens"]))
    assert data != run(capsys, "score", "How is gout treated?", "With rest.", *saved)


def test_fetch(capsys, llama, own_cache):
    found = run(capsys, "fetch", "--base", str(llama.directory))
    assert found["sha256"] == llama.found.sha256 and found["origin"] == "given path"


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["route", ""], "empty"),
        (["route", " \n\t "], "empty"),
        (["route", "a\x07b"], "U+0007"),
        (["route", "word " * 2000], "shorten"),
        (["route", "x", "--set", "task=140%"], "at most 100%"),
        (["route", "x", "--set", "task=0.7", "--set", "field=0.6"], "sum to 130%"),
        (["route", "x", "--set", "tusk=0.7"], "no group 'tusk'"),
        (["route", "x", "--off", "task/tusk"], "no expert 'tusk'"),
        (["route", "x", "--set", "task"], "write for example"),
        (["route", "x", "--layers", "3-9", "--off", "task"], "layers 0-4"),
        (["route", "x", "--strength", "nan"], "goes from 0"),
        (["answer", "x", "--max-new-tokens", "0"], "between 1 and"),
        (["answer", "x", "--temperature", "-1"], "temperature must be"),
        (["answer", "x", "--seed", "-4"], "from 0 up"),
        (["score", "x", " "], "answer is empty"),
        (["evaluate"], "--medquad DIR"),
        (["evaluate", "--medquad", "nowhere"], "nowhere does not exist"),
        (["evaluate", "--strengths", "1", "3"], "from 0 (base model) to 2"),
        (["evaluate-control", "--answers", "0"], "whole number from 1 up"),
        (["bench", "--repeats", "two"], "whole number from 1 up"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, saved, argv, sentence):
    assert sentence in refused(capsys, *argv, *saved)


def test_a_missing_model_or_base_is_one_sentence(capsys, saved, tmp_path):
    assert "holds no AT-MoE model" in refused(
        capsys, "route", "x", "--model", str(tmp_path / "none")
    )
    assert "no base model at" in refused(
        capsys, "route", "x", *saved[:2], "--base", str(tmp_path / "none")
    )
    (tmp_path / "model" / "router.safetensors").write_bytes(b"broken")
    assert "restore" in refused(capsys, "route", "x", *saved)


@pytest.mark.parametrize(
    "argv",
    [[c, "--help"] for c in ("fetch", "route", "answer", "score", "train", "evaluate")]
    + [["--help"], ["train", "experts", "--help"], ["train", "router", "--help"]],
)
def test_every_command_has_help(capsys, argv):
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args(argv)
    assert stopped.value.code == 0 and "usage: atmoe" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("named", "want"), [("", "medical"), ("other", "other"), (None, "medical")]
)
def test_an_empty_variable_names_no_model(named, want):
    env = {name: value for name, value in os.environ.items() if name != "ATMOE_MODEL"}
    env |= {} if named is None else {"ATMOE_MODEL": named}
    told = "from atmoe.cli.common import DEFAULT_MODEL; print(DEFAULT_MODEL.name)"
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, env=env
    )
    assert done.stdout.strip() == want


def test_the_shipped_model_from_a_shell(medical):
    """The real thing in a process of its own: nothing but the document on standard output."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "atmoe",
            "answer",
            "How is asthma treated?",
            "--max-new-tokens",
            "6",
            "--set",
            "audience=50%",
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    record = Record.from_dict(json.loads(done.stdout))
    assert (
        done.returncode == 0
        and record.answer
        and record.plan.group_shares[:, 2].tolist() == [0.5] * 30
    )
    assert record.router_plan.close_to(medical.route("How is asthma treated?"), 1e-4)


def test_what_is_asked_may_stand_behind_the_options(capsys, saved, llama):
    steered = (*saved, "--set", "task=50%")
    first = run(capsys, "score", *steered, "How is gout treated?", "Rest.")
    assert first == run(capsys, "score", "How is gout treated?", *steered, "Rest.")
    plan = run(capsys, "route", *saved, "How is gout treated?")
    del plan["model"], plan["steering"]
    assert plan == llama.model.route("How is gout treated?").to_dict()
