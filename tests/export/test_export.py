"""A plan as one plain LoRA, held against PEFT and against what the plan adds to each weight."""

import copy
import json

import gguf
import numpy as np
import pytest
import torch
from commands import refused, run
from conftest import LAYOUT, PROMPTS, random_plan
from peft import PeftModel
from safetensors.torch import load, load_file
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from atmoe import AtMoe, AtMoeError, Override, Sampling, State, Steering
from atmoe.cli import take
from atmoe.export.gguf_file import write_gguf
from atmoe.export.lora import as_adapter, write_peft


def test_a_plan_written_is_what_the_plan_adds_to_each_weight(llama, tmp_path):
    model, plan = llama.model, random_plan(0)
    write_gguf(model, plan, tmp_path / "plan.gguf")
    reader = gguf.GGUFReader(tmp_path / "plan.gguf")
    assert (
        reader.get_field("adapter.type").contents() == "lora"
        and reader.get_field("adapter.lora.alpha").contents() == 0.0
    )
    found = {t.name: torch.from_numpy(np.array(t.data)) for t in reader.tensors}
    assert len(found) == 2 * len(model.bank.linears)
    config, weights = model.base.config, model.weights_of([plan], 1)[0] * model.bank.scaling
    processor = LlamaTensorProcessor({})
    names = {
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "o_proj": "attn_output",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
    }
    for name, linear in model.bank.linears.items():
        named, kind = (
            f"blk.{linear.layer}.{names[name.rpartition('.')[2]]}.weight",
            name.rpartition(".")[2],
        )
        delta = found[f"{named}.lora_b"] @ found[f"{named}.lora_a"]
        if kind in ("q_proj", "k_proj"):
            heads = (
                config.num_attention_heads,
                config.num_key_value_heads if kind == "k_proj" else config.num_attention_heads,
            )
            delta = torch.from_numpy(processor._reverse_permute_weights(delta.numpy(), *heads))
        want = sum(
            weights[linear.layer, e] * (f[1] @ f[0])
            for e in range(len(LAYOUT.expert_names))
            if (f := linear.factors(e))
        )
        torch.testing.assert_close(delta, want, rtol=1e-5, atol=1e-6)


def test_only_of_the_llama_family(worlds, tmp_path):
    with pytest.raises(AtMoeError, match="Llama family"):
        write_gguf(worlds("qwen3").model, random_plan(0), tmp_path / "plan.gguf")


PLANS = {
    "all": random_plan(0),
    "a team": Steering((Override("task/warn", State.OFF), Override("field", State.OFF))).apply(
        random_plan(1)
    ),
    "by layer": Steering((Override("reader", State.OFF, None, "1-3"),)).apply(random_plan(2)),
    "stronger": Steering(strength=1.7).apply(random_plan(3)),
}


@pytest.mark.parametrize("named", PLANS)
def test_peft_computes_from_it_what_the_plan_does(world, named, tmp_path):
    model, plan = world.model, PLANS[named]
    write_peft(model, plan, tmp_path / "lora")
    peft = PeftModel.from_pretrained(world.base(), str(tmp_path / "lora")).eval()
    answer = "Rest, and drink enough."
    ours = model.score(PROMPTS[0], answer, [plan])[0]
    ids = [*model.encode(PROMPTS[0]).ids, *model.encode_answer(answer)]
    with torch.no_grad():
        logits = peft(torch.tensor([ids])).logits[0].float()
    count = len(model.encode_answer(answer))
    logp = logits.log_softmax(-1)[-count - 1 : -1].gather(1, torch.tensor(ids[-count:])[:, None])
    torch.testing.assert_close(logp[:, 0], ours, rtol=0, atol=1e-4)


def test_who_takes_no_part_has_no_rank(model):
    ranks = {len(a) for a, _ in as_adapter(model, PLANS["a team"]).factors.values()}
    every = {len(a) for a, _ in as_adapter(model, PLANS["all"]).factors.values()}
    assert len(ranks) == len(every) == 1 and max(ranks) < max(every)  # and one rank for all linears


def test_the_base_model_is_no_lora(model):
    off = Steering(tuple(Override(group, State.OFF) for group in LAYOUT.group_names))
    with pytest.raises(AtMoeError, match="it is the base model"):
        as_adapter(model, off.apply(random_plan(0)))


@pytest.fixture
def saved(llama, tmp_path, own_cache):
    """Flags that name a tiny model and its base."""
    llama.model.save_pretrained(tmp_path / "model")
    return ["--model", str(tmp_path / "model"), "--base", str(llama.directory)]


def test_a_command_writes_the_plan_of_a_prompt_a_plan_and_a_record(saved, capsys, tmp_path):
    model = AtMoe.from_pretrained(saved[1], saved[3])
    record = model.answer(PROMPTS[0], sampling=Sampling(max_new_tokens=3)).to_dict()
    other = model.answer(PROMPTS[1], sampling=Sampling(max_new_tokens=3)).to_dict()
    files = {
        "plan": model.route(PROMPTS[0]).to_dict(),
        "record": record,
        "download": {"router": record, "steered": None, "controls": {}},
        "steered": {"router": other, "steered": record, "controls": {}},
    }
    common = (*saved, "--out")
    run(capsys, "export", PROMPTS[0], *common, str(tmp_path / "prompt"))
    weights = (tmp_path / "prompt" / "adapter_model.safetensors").read_bytes()
    for name, data in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
        given = ("--plan", str(tmp_path / f"{name}.json"))
        run(capsys, "export", *given, *common, str(tmp_path / name))
        again = load_file(tmp_path / name / "adapter_model.safetensors")
        for key, tensor in load(weights).items():
            torch.testing.assert_close(again[key], tensor, rtol=0, atol=1e-6)
    said = run(capsys, "export", PROMPTS[0], "--to", "gguf", *common, str(tmp_path / "x.gguf"))
    assert said["experts"] == list(model.route(PROMPTS[0]).team)
    assert said["base_path"] == str(saved[3])
    off = ("--off", "field", *common, str(tmp_path / "off"))
    used = run(capsys, "export", PROMPTS[0], *off)["experts"]
    assert used == [name for name in said["experts"] if not name.startswith("field/")]
    half = model.routed(PROMPTS[0], Steering(strength=0.5)).to_dict()
    (tmp_path / "half.json").write_text(json.dumps(half))
    given = ("export", "--plan", str(tmp_path / "half.json"), *common)
    for flags, factor in (((), 0.5), (("--strength", "1"), 1.0), (("--strength", "0.25"), 0.25)):
        run(capsys, *given, str(tmp_path / f"at {factor}"), *flags)
        again = load_file(tmp_path / f"at {factor}" / "adapter_model.safetensors")
        for key, tensor in load(weights).items():
            want = tensor * factor if "lora_B" in key else tensor
            torch.testing.assert_close(again[key], want, rtol=0, atol=1e-6)
    # 2. what is refused
    half["model"]["sha256"] = "0" * 64
    (tmp_path / "half.json").write_text(json.dumps(half))
    assert "pass its --model" in refused(capsys, *given, str(tmp_path / "new"))
    assert "there already" in refused(capsys, "export", PROMPTS[0], *common, str(tmp_path / "plan"))
    assert "give one of them" in refused(capsys, "export", *common, str(tmp_path / "new"))
    other = copy.deepcopy(record)
    other["model"]["sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(other))
    given = ("--plan", str(tmp_path / "other.json"))
    assert "pass its --model" in refused(capsys, "export", *given, *common, str(tmp_path / "new"))
    (tmp_path / "none.json").write_text("[]")
    given = ("--plan", str(tmp_path / "none.json"))
    assert "not a routing plan" in refused(capsys, "export", *given, *common, str(tmp_path / "new"))


def test_what_is_wrong_with_a_name_is_said_before_a_model_is_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(take, "load_model", None)
    (tmp_path / "record.json").write_text("{}")
    nowhere = str(tmp_path / "none" / "x")
    assert refused(capsys, "export", "Why?", "--out", nowhere).endswith(
        f"There is no folder {tmp_path / 'none'}; make it, or name another --out."
    )
    given = ("export", "Why?", "--to", "gguf", "--out")
    assert "name it so, with .gguf" in refused(capsys, *given, str(tmp_path / "g.bin"))
    given = ("report", str(tmp_path / "record.json"), "--out")
    assert "name it so, with .html" in refused(capsys, *given, str(tmp_path / "x.pdf"))
    assert "There is no folder" in refused(capsys, *given, f"{nowhere}.html")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
