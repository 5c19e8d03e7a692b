"""Ready LoRAs beside experts that are trained: another in the same place, another training."""

import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_train import DESCRIBED, EXAMPLES, small_batches  # noqa: F401  # a fixture

from atmoe.errors import AssetError, TrainingError
from atmoe.mixture.peft_files import WEIGHTS
from atmoe.train import loop, planning
from atmoe.train.experts import ExpertSettings, new_model, train_experts
from atmoe.train.router import train_router
from atmoe.train.settings import RouterSettings
from atmoe.train.together import TogetherSettings, train_together

SETTINGS = ExpertSettings(rank=2, answer_tokens=300, learning_rate=0.02, dtype="float32")


def test_another_lora_in_the_place_of_a_ready_one_is_another_training(llama, tmp_path):
    described = replace(DESCRIBED, ready={"task/warn": tmp_path / "ready"})

    def trained(out):
        model = new_model(described, SETTINGS, str(llama.directory))
        train_experts(model, EXAMPLES, described, tmp_path / out, SETTINGS)
        return [p.detach().clone() for p in model.bank.parameters_to_train()]

    shutil.copytree(llama.adapter("task/warn"), tmp_path / "ready")
    first = trained("out")
    assert len(first) and all(map(torch.equal, first, trained("out")))  # a finished run is loaded
    tensors = load_file(tmp_path / "ready" / WEIGHTS[0])
    save_file({name: t * 3 for name, t in tensors.items()}, tmp_path / "ready" / WEIGHTS[0])
    with pytest.raises(TrainingError, match="a run with other settings; name an empty --out"):
        trained("out")


def replaced_meanwhile(monkeypatch, weights):
    """A training that others write over a LoRA meanwhile."""

    def run(**more):
        tensors = load_file(weights)
        save_file({name: t * 3 for name, t in tensors.items()}, weights)
        return {"steps": 1}

    monkeypatch.setattr(loop, "run", run)


def test_a_ready_lora_that_is_replaced_while_others_are_trained_is_refused(
    llama, tmp_path, monkeypatch
):
    described = replace(DESCRIBED, ready={"task/warn": tmp_path / "ready"})
    shutil.copytree(llama.adapter("task/warn"), tmp_path / "ready")
    model = new_model(described, SETTINGS, str(llama.directory))
    replaced_meanwhile(monkeypatch, tmp_path / "ready" / WEIGHTS[0])
    with pytest.raises(TrainingError, match="ready was replaced while .* and task/warn would be"):
        train_experts(model, EXAMPLES, described, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out" / "atmoe.json").exists()


def test_what_goes_with_experts_is_not_saved_beside_others(llama, tmp_path, monkeypatch):
    model, others = llama.planned(), llama.planned()
    model.save_pretrained(tmp_path)
    linear = next(iter(others.bank.linears.values()))
    linear.B.data.mul_(3)
    monkeypatch.setattr(
        loop, "run", lambda **more: others.save_pretrained(tmp_path) or {"steps": 1}
    )
    few = RouterSettings(
        instructions=20, fit_steps=5, fit_decays=(0.1,), effect_answers=2, dtype="float32"
    )
    described = replace(DESCRIBED, ready={"task/warn": tmp_path / "ready"})
    with pytest.raises(AssetError, match="were replaced while this ran"):
        train_together(
            model,
            EXAMPLES,
            described,
            tmp_path / "out",
            TogetherSettings(instructions=20, dtype="float32"),
            tmp_path,
        )
    assert not (tmp_path / "out" / "atmoe.json").exists()
    model.save_pretrained(tmp_path)
    with pytest.raises(AssetError, match="were replaced while this ran"):
        train_router(model, EXAMPLES, DESCRIBED, tmp_path, few)
    model.save_pretrained(tmp_path)
    plan = planning.plan_experts
    monkeypatch.setattr(
        planning, "plan_experts", lambda *of: others.save_pretrained(tmp_path) or plan(*of)
    )
    with pytest.raises(AssetError, match="were replaced while this ran"):
        planning.train_planner(model, EXAMPLES, DESCRIBED, tmp_path, few)
    assert not (tmp_path / "planner.log.json").exists()


def test_without_ready_ones_a_checkpoint_is_marked_as_ever(llama, tmp_path, monkeypatch):
    marks = []
    monkeypatch.setattr(loop, "run", lambda **more: marks.append(more["settings"]) or {})
    model = new_model(DESCRIBED, SETTINGS, str(llama.directory))
    train_experts(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    # "setup" is of a base in a directory, as this one
    assert set(marks[0]) == {*asdict(SETTINGS), "data", "base", "setup"}
