"""PEFT's own ways of mixing the same experts: where algebra says they equal our plan, they do."""

import shutil

import pytest
import torch
from conftest import LAYERS, LAYOUT, PROMPTS, one_hot
from peft import LoraConfig, get_peft_model

from atmoe.errors import AssetError
from atmoe.routing.layout import Layout
from atmoe.study import baselines

ANSWERS = ["With rest.", "Nobody knows what causes it.", "Pain in one toe.", "Many live long."]


def scores(model, plan):
    return model.score_rows(PROMPTS, ANSWERS, [plan] * len(PROMPTS))[0]


@pytest.mark.parametrize("name", LAYOUT.expert_names)
def test_xlora_with_all_scaling_on_one_expert_is_that_expert(llama, name):
    model = llama.unit
    xlora = baselines.xlora_model(model, llama.home, str(llama.directory), gain=1.0)
    last = xlora.base_model.internal_xlora_classifier.layers[-1]
    bias = torch.full((last.out_features // 6, 6), -1e4)
    bias[:, LAYOUT.expert_index(name)] = 1e4
    last.weight.data.zero_()
    last.bias.data.copy_(bias.flatten())
    for mine, theirs in zip(
        scores(model, one_hot(name)), baselines.score_rows(model, xlora, PROMPTS, ANSWERS)
    ):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_xlora_is_saved_and_loaded_with_its_gain(llama, tmp_path):
    model = llama.model

    def fresh(gain):
        return baselines.xlora_model(model, llama.home, str(llama.directory), gain)

    first = fresh(1.7)
    assert [n for n, p in first.named_parameters() if p.requires_grad] and all(
        "internal_xlora_classifier" in n for n, p in first.named_parameters() if p.requires_grad
    )
    baselines.save_classifier(first, tmp_path)
    again = baselines.load_classifier(fresh(1.0), tmp_path)
    expected = baselines.score_rows(model, first, PROMPTS, ANSWERS)
    assert all(map(torch.equal, expected, baselines.score_rows(model, again, PROMPTS, ANSWERS)))
    assert not all(
        map(torch.equal, expected, baselines.score_rows(model, fresh(1.0), PROMPTS, ANSWERS))
    )
    with pytest.raises(AssetError, match="train baseline xlora"):
        baselines.load_classifier(fresh(1.0), tmp_path / "none")


def test_arrow_over_copies_of_one_expert_is_that_expert(llama, tmp_path):
    peft = get_peft_model(
        llama.base(),
        LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=["q_proj", "up_proj"]),
    )
    for key, value in peft.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(value, std=0.2)
    names = Layout.of(LAYERS, {"g": ["a", "b", "c", "d"]}).expert_names
    peft.save_pretrained(tmp_path / "experts" / names[0])
    for name in names[1:]:
        shutil.copytree(tmp_path / "experts" / names[0], tmp_path / "experts" / name)

    class Four:  # what is asked of a model here, with other experts
        info, layout, bank, device, tokenizer = (
            llama.model.info,
            Layout.of(LAYERS, {"g": ["a", "b", "c", "d"]}),
            llama.model.bank,
            llama.model.device,
            llama.model.tokenizer,
        )
        encode, encode_answer = llama.model.encode, llama.model.encode_answer

    arrow = baselines.arrow_model(Four, tmp_path, str(llama.directory))
    for mine, theirs in zip(
        baselines.score_rows(Four, peft.eval(), PROMPTS, ANSWERS),
        baselines.score_rows(Four, arrow, PROMPTS, ANSWERS),
    ):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_arrow_needs_equal_ranks(llama):
    with pytest.raises(AssetError, match="equal ranks"):
        baselines.arrow_model(llama.model, llama.home, str(llama.directory))
