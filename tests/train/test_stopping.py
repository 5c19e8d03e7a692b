"""A training without a budget of its own stops where unseen topics say, at the best weights."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_train import DESCRIBED, example, run_nothing, small_batches  # noqa: F401  # a fixture

from atmoe.data import split
from atmoe.errors import DataError, TrainingError
from atmoe.train import experts, loop, rows
from atmoe.train.budget import PASSES_UNWATCHED, Pace, budget_of
from atmoe.train.experts import PASSES, ExpertSettings, label_weights, new_model, train_experts
from atmoe.train.rows import encode_row, training_side
from atmoe.train.settings import RouterSettings, readings
from atmoe.train.stopping import Stopping
from atmoe.train.team import Team
from atmoe.train.validation import held_out_rows, labelled_loss

EXAMPLES = [
    example(i, ("define", "treat", "warn")[i % 3], ("lay", "expert")[i % 2]) for i in range(120)
]
TURN = 3.0


class Climb:
    """One number that training pushes up without end; unseen topics like it best at TURN."""

    def __init__(self, out):
        self.out, self.number = out, torch.nn.Parameter(torch.zeros(1))
        self.path: list[float] = []  # before the step that is tried first, then before each
        self.trained: list[int] = []  # the batches that it learned from

    def run(self, stop_after=None, stopping=None, steps=200, save_every=4):
        def loss(rows, whole):
            self.path.append(float(self.number.detach()))
            self.trained.append(rows[0].number)
            return (-self.number).sum(), {}

        batches = ([SimpleNamespace(answer=(0, 0), number=i)] for i in range(steps))
        if stop_after is not None:
            batches = itertools.chain(itertools.islice(batches, stop_after), _interrupted())
        return loop.run(
            parameters=[{"params": [self.number], "lr": 0.2}],
            batches=batches,
            budget=2 * steps,
            loss=loss,
            out=self.out,
            settings={"seed": 1},
            team=Team(),
            validate=lambda: {"off": abs(float(self.number.detach()) - TURN)},
            stopping=stopping or Stopping("off", every=6, patience=3),
            save_every=save_every,
        )


def _interrupted():
    raise KeyboardInterrupt
    yield


def test_it_stops_after_the_turn_and_keeps_the_weights_of_the_lowest(tmp_path):
    climb = Climb(tmp_path)
    report = climb.run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    measured = {e["step"]: e["validation"]["off"] for e in log if "validation" in e}
    # Every three steps of two answer tokens; and the last three are not the lowest.
    lowest = min(measured, key=measured.get)
    assert sorted(measured) == list(range(0, lowest + 10, 3)) and 0 < lowest < 100
    assert report["stopped_early"] and report["steps"] == lowest + 9 < 200
    assert report["kept_step"] == lowest and report["kept_tokens"] == 2 * lowest
    assert report["before"] == {"off": TURN}
    assert report["off"] == pytest.approx(measured[lowest], abs=1e-4) and report["off"] < 0.5
    assert float(climb.number.detach()) == climb.path[1 + lowest]  # as it was before the next step


@pytest.mark.parametrize("cuts", [(1,), (7,), (9, 13), (12, 14, 17)], ids=str)
def test_interrupted_it_stops_at_the_same_step_with_the_same_weights(tmp_path, cuts):
    whole = Climb(tmp_path / "whole")
    expected = whole.run()
    for cut in cuts:
        with pytest.raises(KeyboardInterrupt):
            Climb(tmp_path / "cut").run(stop_after=cut)
    again = Climb(tmp_path / "cut")
    report = again.run()
    assert torch.equal(again.number, whole.number)
    assert {k: v for k, v in report.items() if k != "seconds"} == {
        k: v for k, v in expected.items() if k != "seconds"
    }


def test_one_that_has_stopped_is_loaded_and_trains_no_more(tmp_path):
    first = Climb(tmp_path)
    expected = first.run()
    again = Climb(tmp_path)
    report = again.run()
    assert again.trained == [] and torch.equal(again.number, first.number)
    assert report["steps"] == expected["steps"] and report["off"] == expected["off"]


@pytest.mark.parametrize("steps, at", [(7, [4, 7]), (8, [4, 8]), (9, [4, 8, 9])])
def test_what_is_not_watched_is_logged_by_the_steps_taken(tmp_path, steps, at):
    """At step n is what n steps have made of the number; each is measured once."""
    number = torch.nn.Parameter(torch.zeros(1))
    path = []

    def measured():
        path.append(float(number.detach()))
        return {"off": path[-1]}

    report = loop.run(
        parameters=[{"params": [number], "lr": 0.2}],
        batches=([SimpleNamespace(answer=(0, 0))] for _ in range(steps)),
        budget=2 * steps,
        loss=lambda rows, whole: ((-number).sum(), {}),
        out=tmp_path,
        settings={},
        team=Team(),
        validate=measured,
        every=4,
    )
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = {e["step"]: e["validation"]["off"] for e in log if "validation" in e}
    assert list(told) == at
    # the loss of a step is of the number before it
    before = {e["step"]: -e["loss"] for e in log if "loss" in e}
    for step, value in told.items():
        assert step == steps or value == pytest.approx(before[step], abs=1e-3)
    assert len(path) == len(told) and report["off"] == float(number.detach())


def test_a_budget_spent_before_the_turn_ends_it(tmp_path):
    report = Climb(tmp_path).run(steps=8)
    assert report["steps"] == report["kept_step"] == 8 and not report["stopped_early"]


def test_a_checkpoint_whose_measurements_do_not_fit_is_refused(tmp_path):
    Climb(tmp_path).run()
    path = tmp_path / loop.CHECKPOINT
    whole = torch.load(path, weights_only=True)
    for change in (
        {"watch": None},
        {"watch": {"seen": {}, "kept": whole["watch"]["kept"]}},
        {"watch": whole["watch"] | {"kept": [torch.zeros(2)]}},
        {"watch": whole["watch"] | {"kept": []}},
    ):
        torch.save(whole | change, path)
        with pytest.raises(TrainingError, match="no checkpoint of this run .*; delete"):
            Climb(tmp_path).run()


def test_a_loss_that_is_no_number_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="unseen topics is not a number.*--learning-rate"):
        run_nothing(tmp_path, {}, validate=lambda: {"off": math.nan}, stopping=Stopping("off", 1))


# -- what the data bears ----------------------------------------------------------------------


def budget(model, examples, asked_for=None, most=10**9):
    chosen = held_out_rows(model, examples, DESCRIBED)
    return budget_of(model, training_side(examples), chosen, asked_for, PASSES, most, "label")


def answer_tokens(model, examples):
    return sum(len(encode_row(model, e).answer) for e in examples)


def test_a_pass_is_the_answer_tokens_of_all_training_rows(model):
    training = [e for e in EXAMPLES if split(e) == "train"]
    found = budget(model, EXAMPLES)
    assert found.one_pass == answer_tokens(model, training) and found.rows == len(training)
    assert found.tokens == PASSES * found.one_pass
    assert found.stopping == Stopping("label", found.one_pass // 2)
    assert found.unseen == len(EXAMPLES) - len(training)
    assert "is 10 passes over them" in found.sentences()
    assert "every 0.5 passes" in found.sentences()
    many = [replace(e, id=f"{e.id}-{i}") for i in range(30) for e in EXAMPLES]
    assert budget(model, many).one_pass == pytest.approx(30 * found.one_pass, rel=0.02)


def test_large_data_is_given_no_more_than_before_and_measured_on_the_way(model):
    found = budget(model, EXAMPLES, most=200)
    assert found.tokens == 200 < found.one_pass and found.stopping.every == 20


def test_who_asks_for_tokens_gets_them_and_nothing_stops_before(model):
    found = budget(model, EXAMPLES, asked_for=12_345)
    assert (found.tokens, found.stopping, found.mark(DESCRIBED)) == (12_345, None, {})
    assert "12,345" in found.sentences() and "held back" not in found.sentences()


def test_where_all_rows_share_one_topic(model):
    sides = {split(e): e.disease for e in EXAMPLES}
    found = budget(model, [replace(e, disease=sides["train"]) for e in EXAMPLES])
    assert found.stopping is None and found.tokens == PASSES_UNWATCHED * found.one_pass
    assert "Nothing was held back (all rows share one topic)" in found.sentences()
    with pytest.raises(DataError, match="All 120 examples are about 1 topic.*held back; .*topic"):
        budget(model, [replace(e, disease=sides["validation"]) for e in EXAMPLES])


def test_where_no_topic_falls_to_the_part_held_back(model):
    found = budget(model, [e for e in EXAMPLES if split(e) == "train"])
    assert found.stopping is None
    assert "Nothing was held back (no labelled row that can be read fell to" in found.sentences()


def test_rows_held_back_are_watched_whatever_group_they_are_labelled_in(model):
    examples = [replace(e, labels={"reader": e.labels["reader"]}) for e in EXAMPLES]
    found = budget(model, examples)
    assert found.stopping == Stopping("label", found.one_pass // 2)
    chosen = held_out_rows(model, examples, DESCRIBED)
    readers = [{row.example.labels["reader"] for row in of_one} for of_one in chosen]
    assert readers == [{"lay"}, {"expert"}]
    measured = labelled_loss(model, chosen, DESCRIBED, label_weights, True)()
    assert set(measured) == {"label"}  # no expert of the main group would be the wrong one
    both = held_out_rows(model, [*examples, *EXAMPLES], DESCRIBED)
    assert both == held_out_rows(model, EXAMPLES, DESCRIBED)


def test_few_rows_held_back_are_too_few(model):
    kept = [e for e in EXAMPLES if split(e) == "train"]
    few = [e for e in EXAMPLES if split(e) == "validation"][:3]
    found = budget(model, kept + few)
    assert found.stopping is None and "3 rows are too few" in found.sentences()


def test_rows_that_cannot_be_read_are_told_and_not_counted(model):
    training = [e for e in EXAMPLES if split(e) == "train"]
    long = [replace(e, answer="word " * 600) for e in training[::3]]
    kept = [e for e in training if e not in training[::3]]
    found = budget(model, long + kept)
    assert (found.rows, found.left_out) == (len(kept), len(long))
    assert found.one_pass == answer_tokens(model, kept)
    told = f"{len(long)} of {len(training)} rows are longer than {rows.LENGTHS[-1]} tokens"
    assert told in found.sentences() and f"{len(kept)} training rows" in found.sentences()
    assert found.report()["training_rows"] == len(kept)
    assert "left out" not in budget(model, kept).sentences()


def too_long_to_warn(e):
    return replace(e, answer="word " * 600) if e.labels["task"] == "warn" else e


def warning_second(e):
    return replace(e, labels={**e.labels, "task": "define"}, also={"task": "warn"})


@pytest.mark.parametrize("change, lacks", [(too_long_to_warn, "warn"), (warning_second, "treat")])
def test_an_expert_that_no_row_would_teach_is_refused(llama, tmp_path, monkeypatch, change, lacks):
    monkeypatch.setattr(loop, "run", lambda **more: {})
    settings = ExpertSettings(rank=2, answer_tokens=700, dtype="float32")
    model = new_model(DESCRIBED, settings, str(llama.directory))
    examples = [change(e) for e in EXAMPLES]
    with pytest.raises(DataError, match=f"is labelled task/{lacks}; give it rows, or a ready"):
        train_experts(model, examples, DESCRIBED, tmp_path / "refused", settings)
    # A ready one needs no rows, and one trained on keeps what it had.
    ready = replace(DESCRIBED, ready={f"task/{lacks}": llama.adapter("task/warn")})
    report = train_experts(model, examples, ready, tmp_path / "ready", settings)
    training = [e for e in examples if split(e) == "train"]
    assert report["training_examples"] == sum(encode_row(model, e) is not None for e in training)
    start = tmp_path / "ready"
    train_experts(model, examples, DESCRIBED, tmp_path / "on", settings, start=start)


def test_small_data_is_read_a_few_times_and_large_data_as_ever():
    assert readings(50) == {"instructions": 400, "fit_steps": 200, "effect_answers": 25}
    assert readings(12_000) == {
        "instructions": RouterSettings.instructions,
        "fit_steps": RouterSettings.fit_steps,
        "effect_answers": RouterSettings.effect_answers,
    }


@pytest.mark.parametrize("every", [0, 100])
def test_how_long_it_takes_is_what_the_first_steps_took(every):
    pace = Pace(1000, every)
    pace.measuring = 4.0
    assert pace.step(10, 50.0) == "" == pace.step(10, 1.0)
    said = pace.step(10, 3.0)  # 4 s for 20 tokens: 200 s for 1000; and 10 measurements of 4 s
    assert f"about {4 if every else 3} min" in said and "a step took 3 s" in said
    assert ("a measurement 4 s" in said) == bool(every)
    assert pace.step(10, 3.0) == ""


@pytest.mark.parametrize("taken, again", [(3.0, False), (7.0, True), (0.5, True)])
def test_before_the_first_step_it_is_said_and_after_the_third_where_that_was_far_off(taken, again):
    pace = Pace(1000)
    assert "about 5 min on this machine" in pace.before(10, 3.0)
    told = [pace.step(10, seconds) for seconds in (50.0, taken, taken, taken)]
    assert [bool(said) for said in told] == [False, False, again, False]


def test_what_is_tried_before_the_first_step_changes_no_number(llama, tmp_path, monkeypatch):
    settings = ExpertSettings(rank=2, learning_rate=0.02, answer_tokens=2000, dtype="float32")
    weights = []
    for untried in (False, True):
        if untried:
            monkeypatch.setattr(loop, "_tried", lambda *of: 1.0)
        model = new_model(DESCRIBED, settings, str(llama.directory))
        train_experts(model, EXAMPLES, DESCRIBED, tmp_path / str(untried), settings)
        weights.append([p.detach().clone() for p in model.bank.parameters_to_train()])
    assert weights[0] and all(torch.equal(*pair) for pair in zip(*weights))


@pytest.mark.parametrize("given, used", [(None, 1e-3), (3e-3, 3e-3)])
def test_smaller_steps_take_a_lower_learning_rate_unless_it_is_given(
    llama, tmp_path, monkeypatch, given, used
):
    monkeypatch.setattr(experts, "STEP_TOKENS", rows.STEP_TOKENS)  # as the small batches have it
    rates = []
    run = loop.run

    def noted(**more):
        rates.extend(group["lr"] for group in more["parameters"])
        return run(**more | {"batches": iter(())})

    monkeypatch.setattr(loop, "run", noted)
    settings = ExpertSettings(rank=2, learning_rate=given, dtype="float32")
    few = EXAMPLES[:12] + [e for e in EXAMPLES[12:] if split(e) == "validation"]
    model = new_model(DESCRIBED, settings, str(llama.directory))
    for tokens, rate in ((None, used), (700, given or experts.LEARNING_RATE)):
        settings = replace(settings, answer_tokens=tokens)
        report = train_experts(model, few, DESCRIBED, tmp_path / str(tokens), settings)
        assert rates.pop() == report["settings"]["learning_rate"] == rate


@pytest.mark.parametrize("asked", [960, 3840])
def test_a_step_holds_as_many_tokens_as_were_asked_for(llama, tmp_path, monkeypatch, asked):
    given, run = [], loop.run

    def noted(**more):
        given.extend(more["batches"])
        return run(**more | {"batches": iter(())})

    monkeypatch.setattr(loop, "run", noted)
    settings = ExpertSettings(rank=2, answer_tokens=9000, step_tokens=asked, dtype="float32")
    model = new_model(DESCRIBED, settings, str(llama.directory))
    report = train_experts(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    first = given[0]  # the last ones hold what is left
    assert len(first) == asked // rows.padded(*first)
    rate = experts.LEARNING_RATE * (0.5 if asked < experts.STEP_TOKENS else 1)
    assert report["settings"]["learning_rate"] == rate


def test_a_step_that_cannot_hold_the_longest_row_is_refused():
    with pytest.raises(TrainingError, match="at least 480, the longest row, and not 479"):
        ExpertSettings(step_tokens=479)


def test_what_is_contrasted_with_the_labels_is_none_of_them(llama):
    model = new_model(DESCRIBED, ExpertSettings(rank=2, dtype="float32"), str(llama.directory))
    names = model.layout.expert_names[model.layout.members("task")]
    asked = []

    def weights(model, examples):
        given = label_weights(model, examples)
        for row in given[:, 0, model.layout.members("task")]:
            asked.append({name for name, weight in zip(names, row) if weight})
        return given

    define = EXAMPLES[0]
    two = replace(define, also={"task": "treat"})
    rows = [[encode_row(model, e) for e in (define, two)]]
    losses = labelled_loss(model, rows, DESCRIBED, weights, True)()
    assert asked == [
        {"task/define"},
        {"task/define", "task/treat"},
        {"task/treat"},
        {"task/warn"},
    ]
    assert losses.keys() == {"label", "wrong_task"}


def test_experts_are_saved_as_the_lowest_loss_had_them(llama, tmp_path, capsys):
    settings = ExpertSettings(rank=2, learning_rate=0.05, dtype="float32")
    model = new_model(DESCRIBED, settings, str(llama.directory))
    report = train_experts(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    told = capsys.readouterr().err
    assert "training rows with" in told and "The whole budget takes about" in told
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    measured = [e["validation"]["label"] for e in log if "validation" in e]
    assert report["label"] == pytest.approx(min(measured), abs=1e-4)
    assert report["budget"]["passes"] == PASSES
    assert report["label"] < report["before"]["label"]
    chosen = held_out_rows(model, EXAMPLES, DESCRIBED)
    validate = labelled_loss(model, chosen, DESCRIBED, label_weights, True)
    assert validate()["label"] == pytest.approx(report["label"], abs=1e-6)
