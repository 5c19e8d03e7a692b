"""A plan as llama.cpp reads it: one LoRA of all experts, queries and keys in llama.cpp's order."""

import sys
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import torch
from conftest import LAYOUT, random_plan
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from atmoe import AtMoeError
from atmoe.bench.llama import LlamaCpp, write_lora


def test_a_plan_written_is_what_the_plan_adds_to_each_weight(llama, tmp_path):
    model, plan = llama.model, random_plan(0)
    write_lora(model, plan, tmp_path / "plan.gguf")
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
        write_lora(worlds("qwen3").model, random_plan(0), tmp_path / "plan.gguf")


def test_llama_cpp_missing_or_failing_is_told(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(AtMoeError, match="pip install llama-cpp-python"):
        LlamaCpp(model, tmp_path / "base.gguf", random_plan(0))

    def refuse(*args, **kwargs):
        raise ValueError("no such file")

    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(Llama=refuse))
    with pytest.raises(AtMoeError, match="cannot read .*base.gguf"):
        LlamaCpp(model, tmp_path / "base.gguf", random_plan(0))
