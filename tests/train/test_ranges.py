"""Numbers that no training can have are refused by name, and what is no number is never saved."""

import json
import math
from dataclasses import fields, replace

import pytest
import torch
from commands import refused
from conftest import HIDDEN, LAYERS, LAYOUT
from test_train import DESCRIBED, EXAMPLES, fresh, small_batches  # noqa: F401  # fixtures

from atmoe.errors import DataError, TrainingError
from atmoe.train import loop
from atmoe.train.baseline import XloraSettings, lora_settings
from atmoe.train.by_hand import ByHand, set_by_hand
from atmoe.train.experts import ExpertSettings, new_model, train_experts
from atmoe.train.planning import train_planner
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter
from atmoe.train.stopping import Stopping
from atmoe.train.team import Team
from atmoe.train.together import TogetherSettings

ALL = (ExpertSettings, RouterSettings, TogetherSettings, XloraSettings)
NUMBERS = {
    (settings, field.name)
    for settings in ALL
    for field in fields(settings)
    if "int" in str(field.type) or "float" in str(field.type)
} - {
    (ExpertSettings, "step_tokens"),  # has a sentence of its own
    (RouterSettings, "fit_decays"),
    (RouterSettings, "floors"),
    (RouterSettings, "smoothing"),
}


@pytest.mark.parametrize(("settings", "name"), sorted(NUMBERS, key=str))
def test_no_setting_is_negative_or_no_number(settings, name):
    for value in (-1, math.nan, math.inf, -math.inf):
        with pytest.raises(TrainingError, match=f"^--{name.replace('_', '-')} (must be|is from) "):
            settings(**{name: value})


@pytest.mark.parametrize(
    "settings, wrong",
    [
        (ExpertSettings, {"rank": 0}),
        (ExpertSettings, {"alpha": 0.0}),
        *((settings, {"answer_tokens": 0}) for settings in ALL),
        *((settings, {"learning_rate": 0.0}) for settings in ALL),
        *((settings, {"learning_rate": 1e30}) for settings in ALL),
        *((settings, {"seed": 2**63}) for settings in ALL),
        (RouterSettings, {"instructions": 0}),
        (RouterSettings, {"instructions": 1}),
    ],
    ids=str,
)
def test_what_would_train_nothing_or_no_number_is_refused(settings, wrong):
    option = next(iter(wrong)).replace("_", "-")
    with pytest.raises(TrainingError, match=f"^--{option} must be .*, and not "):
        settings(**wrong)


def test_the_least_that_each_can_be_is_taken():
    ExpertSettings(rank=1, answer_tokens=1, learning_rate=1.0, seed=2**63 - 1)
    TogetherSettings(group_floor=0, instructions=0, answer_tokens=1)
    least = {"depth": 0, "width": 1, "pieces": 0, "effect_answers": 0, "effect_rounds": 0}
    RouterSettings(instructions=2, effect_power=0, label_weight=0, floor=0, **least)
    torch.manual_seed(2**63 - 1)


def test_a_command_says_so_before_it_reads_anything(capsys, tmp_path):
    nowhere = [str(tmp_path / "none.yaml"), "--model", str(tmp_path)]
    for command in ("router", "planner"):
        told = refused(capsys, "train", command, *nowhere, "--seed", str(2**64))
        assert "--seed must be at least 0 and below 2**63, and not 18446744073709551616." in told
    told = refused(capsys, "train", "planner", *nowhere, "--instructions", "-1")
    assert "--instructions must be at least 2, and not -1." in told


def test_a_group_that_is_named_twice_is_refused(capsys, tmp_path):
    command = ("train", "router", "--model", str(tmp_path), "--floors", "task=0.1")
    assert "'task' is named twice" in refused(capsys, *command, "task=0.9")
    assert "'task' is named twice" in refused(capsys, *command, "--floors", "task=0.9")
    # another group may be
    assert "'task' is not" not in refused(capsys, *command, "--floors", "diet=0.9")


@pytest.fixture
def started(llama, tmp_path):
    """A saved model whose LoRAs have a rank of 3 and an alpha of 6."""
    out = tmp_path / "started"
    sizes = ExpertSettings(rank=3, alpha=6.0, dtype="float32")
    new_model(DESCRIBED, sizes, str(llama.directory)).save_pretrained(out)
    return out


def test_a_rank_that_nothing_would_have_is_refused_and_the_adapters_own_is_told(
    llama, tmp_path, started
):
    base = str(llama.directory)
    names = LAYOUT.expert_names
    ready = replace(DESCRIBED, ready={name: started / "experts" / name for name in names})
    for wrong in ({"rank": 4}, {"alpha": 16.0}):
        settings = ExpertSettings(dtype="float32", **wrong)
        option = f"--{next(iter(wrong))}"
        with pytest.raises(TrainingError, match=f"^{option} is of LoRAs .*leave {option} out"):
            new_model(DESCRIBED, settings, base, started)
        with pytest.raises(TrainingError, match=f"^{option} is of LoRAs .*leave {option} out"):
            new_model(ready, settings, base)
    for sizes in ({}, {"rank": 3, "alpha": 6}):
        settings = ExpertSettings(answer_tokens=100, dtype="float32", **sizes)
        model = new_model(DESCRIBED, settings, base, started)
        out = tmp_path / str(len(sizes))
        report = train_experts(model, EXAMPLES, DESCRIBED, out, settings, start=started)
        config = json.loads((out / "experts" / names[0] / "adapter_config.json").read_text())
        own = {"rank": config["r"], "alpha": config["lora_alpha"]}
        assert own == {"rank": 3, "alpha": 6} == {key: report["settings"][key] for key in own}
    # a LoRA that is made beside a ready one has what was asked for
    one = replace(DESCRIBED, ready={names[0]: started / "experts" / names[0]})
    settings = ExpertSettings(rank=2, answer_tokens=100, dtype="float32")
    model = new_model(one, settings, base)
    report = train_experts(model, EXAMPLES, one, tmp_path / "one", settings)
    assert (report["settings"]["rank"], report["settings"]["alpha"]) == (2, 16.0)


def test_the_rank_of_one_lora_is_that_of_all_experts_there(started):
    def rank_and_alpha(*of):
        settings = lora_settings(*of)
        return settings.rank, settings.alpha

    experts = len(LAYOUT.expert_names)
    assert rank_and_alpha(DESCRIBED, started) == (3 * experts, 3 * experts)
    assert rank_and_alpha(DESCRIBED) == (4 * experts, 4 * experts)
    # of other groups it says nothing
    others = replace(DESCRIBED, groups={"task": ("define", "treat")})
    assert rank_and_alpha(others, started) == (8, 8)


def test_two_instructions_are_enough_and_one_has_no_spread(llama, tmp_path):
    model = llama.planned()
    model.save_pretrained(tmp_path)
    settings = RouterSettings(instructions=2, fit_steps=2, fit_decays=(0.1,), width=4)
    train_planner(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    assert all(tensor.isfinite().all() for tensor in model.router.state_dict().values())
    with pytest.raises(DataError, match="Only one of the instructions .*--instructions"):
        TrainingRouter(model.router).standardise(torch.zeros(1, LAYERS, HIDDEN))


def test_weights_that_are_no_numbers_leave_the_model_that_was_there(llama, tmp_path, fresh):  # noqa: F811
    fresh.save_pretrained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert before
    with torch.no_grad():
        next(iter(fresh.bank.linears.values())).B[0, 0] = math.nan
    with pytest.raises(TrainingError, match="stays as it is; lower --learning-rate"):
        loop.conclude(fresh, tmp_path, {"stage": "experts"}, Team(), lambda room: None)
    planned = llama.planned()
    with pytest.raises(TrainingError, match="stays as it is; .*what is set by hand"):
        set_by_hand(planned, tmp_path, ByHand(gain=1e300))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before


@pytest.mark.parametrize("watched", [False, True])
def test_a_training_that_ends_without_a_loss_is_an_error(tmp_path, watched):
    with pytest.raises(TrainingError, match="unseen topics is not a number"):
        loop.run(
            parameters=[{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1}],
            batches=iter(()),
            budget=1,
            loss=None,
            out=tmp_path,
            settings={},
            team=Team(),
            validate=lambda: {"off": math.nan},
            stopping=Stopping("off", 1) if watched else None,
        )
