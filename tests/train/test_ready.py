"""Ready LoRAs beside experts that are trained: another in the same place, another training."""

import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_train import DESCRIBED, EXAMPLES, small_batches  # noqa: F401  # a fixture

from atmoe.errors import TrainingError
from atmoe.mixture.peft_files import WEIGHTS
from atmoe.train import loop
from atmoe.train.experts import ExpertSettings, new_model, train_experts

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


def test_without_ready_ones_a_checkpoint_is_marked_as_ever(llama, tmp_path, monkeypatch):
    marks = []
    monkeypatch.setattr(loop, "run", lambda **more: marks.append(more["settings"]) or {})
    model = new_model(DESCRIBED, SETTINGS, str(llama.directory))
    train_experts(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    # "setup" is of a base in a directory, as this one
    assert set(marks[0]) == {*asdict(SETTINGS), "data", "base", "setup"}
