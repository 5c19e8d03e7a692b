"""Adapters dropped in: equal to PEFT, to 1e-5, or refused in a sentence that names the cure."""

import json
import random
import warnings

import pytest
import torch
import transformers
from conftest import HIDDEN, LAYERS, PROMPTS, reference_logits
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from atmoe import AtMoe, Layout, RoutingPlan
from atmoe.errors import AssetError, BaseModelError
from atmoe.mixture import base_loading
from atmoe.mixture.adapter import Adapter
from atmoe.mixture.config import Info
from atmoe.mixture.experts import ExpertBank, Mixing, mixed_by
from atmoe.mixture.store import build
from atmoe.routing.router import GroupedRouter

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32
ONE = Layout.of(LAYERS, {"only": ("one",)})
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# What PEFT itself loads as a plain LoRA.
PLAIN = {
    "init_lora_weights": [True, False, "gaussian", "orthogonal"],
    "use_rslora": [False, True],
    "lora_dropout": [0.0, 0.3],
    "rank_pattern": [
        {},
        {"q_proj": 2},
        {r"layers\.[13]\..*up_proj": 6, "v_proj": 1},
        {"^nothing": 3},
    ],
    "alpha_pattern": [{}, {"down_proj": 3}, {"layers.2.self_attn.q_proj": 40, "o_proj": 1}],
    "target_modules": [
        ALL,
        ["q_proj"],
        ["up_proj", "down_proj"],
        r".*layers\.[024]\..*(k|gate)_proj",
        "all-linear",
    ],
    "exclude_modules": [None, ["model.layers.1.self_attn.q_proj"], r".*layers\.3\..*"],
    "layers_to_transform": [None, [0, 2], 4],
    "layers_pattern": [None, "layers"],
    "r": [1, 4, 8],
    "lora_alpha": [1, 16, 0, -3],
    "fan_in_fan_out": [False, True],
}
# What changes more than a plain LoRA does, or takes weights out of the base.
OTHER = {
    "use_dora": True,
    "bias": "lora_only",
    "lora_bias": True,
    "modules_to_save": ["lm_head"],
    "trainable_token_indices": [3, 5],
    "layer_replication": [[0, 4], [1, 5]],
    "init_lora_weights": "pissa",
    "alora_invocation_tokens": [5, 6],
    "target_parameters": ["model.layers.0.self_attn.q_proj.weight"],
}


def saved(base, path, settings: dict) -> None:
    """An adapter that PEFT itself made and saved, of random weights."""
    torch.manual_seed(len(str(settings)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings))
    for key, value in peft.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(value, std=0.3 / value.shape[-1] ** 0.5)
    peft.save_pretrained(path)


def by_peft(base, path):
    """The base under that adapter, as PEFT loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(base, str(path)).eval()


def alone(world, path) -> AtMoe:
    """A model of one expert, at a gain of 1."""
    router = GroupedRouter(ONE, HIDDEN).requires_grad_(False)
    info = Info("one", world.found.name, world.found.sha256, max_prompt_tokens=300)
    return AtMoe(*build(world.base(), world.tokenizer, [Adapter.load(path)], router, info))


def equals_peft(world, path) -> None:
    model = alone(world, path)
    peft = by_peft(world.base(), path)
    plan = RoutingPlan.uniform(ONE)
    for prompt in PROMPTS[:2]:
        want = reference_logits(peft, model, prompt)
        with torch.inference_mode():
            got = model.forward(model.collate([model.encode(prompt)]), [plan])[0][0]
        torch.testing.assert_close(got, want, **CLOSE)
    # The decode engine reads the same experts through fused products.
    routed = list(model.generate([PROMPTS[0]], [plan]))[-1].tokens[0]
    logp = model.score(PROMPTS[0], "Rest and call.", [plan])
    assert logp.isfinite().all() and len(routed) > 0


def drawn(seed: int) -> dict:
    """One config of PEFT's own options."""
    rng = random.Random(seed)
    settings = {name: rng.choice(values) for name, values in PLAIN.items()}
    if isinstance(settings["target_modules"], str):
        settings |= {"layers_to_transform": None, "layers_pattern": None}
    if settings["layers_to_transform"] is None:
        settings["layers_pattern"] = None
    if settings["init_lora_weights"] == "orthogonal":  # PEFT wants an even rank then
        settings |= {"r": 4, "rank_pattern": {}}
    if settings["target_modules"] == "all-linear":
        settings["exclude_modules"] = None
    return {k: v for k, v in settings.items() if v is not None}


@pytest.mark.parametrize("seed", range(20))
def test_what_peft_loads_as_a_plain_lora_equals_peft(llama, tmp_path, seed):
    settings = drawn(seed)
    saved(llama.base(), tmp_path, settings)
    equals_peft(llama, tmp_path)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_more_than_a_plain_lora_is_refused_by_name(llama, tmp_path, name):
    saved(llama.base(), tmp_path, {"r": 3, "target_modules": ["q_proj"]})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {name: OTHER[name]}))
    wanted = "path_initial_model_for_weight_conversion" if name == "init_lora_weights" else name
    with pytest.raises(AssetError, match=wanted):
        Adapter.load(tmp_path)


def test_pissa_is_refused_unconverted_and_equal_once_converted(llama, tmp_path):
    settings = LoraConfig(
        task_type="CAUSAL_LM", r=3, target_modules=["q_proj", "up_proj"], init_lora_weights="pissa"
    )
    peft = get_peft_model(llama.base(), settings)
    peft.peft_config["default"].init_lora_weights = True
    peft.save_pretrained(str(tmp_path / "start"))
    peft.peft_config["default"].init_lora_weights = "pissa"
    for key, value in peft.named_parameters():
        if "lora_B" in key:
            value.data += 0.05 * torch.randn_like(value)
    peft.save_pretrained(str(tmp_path / "raw"))
    with pytest.raises(AssetError, match="path_initial_model_for_weight_conversion"):
        Adapter.load(tmp_path / "raw")
    peft.save_pretrained(
        str(tmp_path / "converted"),
        path_initial_model_for_weight_conversion=str(tmp_path / "start"),
    )
    equals_peft(llama, tmp_path / "converted")


def test_a_setting_that_nobody_knows_is_refused_by_name(llama, tmp_path):
    saved(llama.base(), tmp_path, {"r": 3, "target_modules": ["q_proj"]})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_zora": True}))
    with pytest.raises(AssetError, match="use_zora"):
        Adapter.load(tmp_path)
    # At rest it is no setting.
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_zora": False}))
    assert Adapter.load(tmp_path).rank == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.new_zeros(0), "empty .*gather the weights before saving"),
        (lambda t: t[:1], "config says rank 3"),
        (lambda t: torch.cat([t, t]), "config says rank 3"),
        (lambda t: t[None], "config says rank 3"),
        (lambda t: t.clone().fill_(float("nan")), "not finite in lora_A"),
        (lambda t: t.clone().index_fill_(0, torch.tensor([1]), float("inf")), "not finite"),
        (lambda t: t.to(torch.int8), "as int8; save it in float32"),
    ],
)
def test_matrices_that_the_config_does_not_describe_are_refused(llama, tmp_path, change, sentence):
    saved(llama.base(), tmp_path, {"r": 3, "target_modules": ["q_proj"]})
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(k for k in tensors if "lora_A" in k)
    save_file(tensors | {key: change(tensors[key]).contiguous()}, file)
    with pytest.raises(AssetError, match=sentence):
        Adapter.load(tmp_path)


def test_a_config_of_another_rank_than_its_matrices_is_refused(llama, tmp_path):
    saved(llama.base(), tmp_path, {"r": 4, "target_modules": ["q_proj"]})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 16}))
    with pytest.raises(AssetError, match="config says rank 16"):
        Adapter.load(tmp_path)


@pytest.mark.parametrize("value", [None, 0, -1, 2.5, "8", True, 1e400])
def test_a_rank_or_an_alpha_that_is_no_number_is_refused(llama, tmp_path, value):
    saved(llama.base(), tmp_path, {"r": 4, "target_modules": ["q_proj"]})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": value}))
    with pytest.raises(AssetError, match="restore the config"):
        Adapter.load(tmp_path)
    if value not in (0, -1, 2.5):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": value}))
        with pytest.raises(AssetError, match="restore the config"):
            Adapter.load(tmp_path)


def test_a_module_that_the_config_targets_and_the_file_lacks_is_refused(llama, tmp_path):
    saved(llama.base(), tmp_path, {"r": 4, "target_modules": ["q_proj", "v_proj"]})
    file = tmp_path / "adapter_model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if "layers.2.self_attn.v_proj" not in k}
    save_file(tensors, file)
    with pytest.raises(AssetError, match=r"1 of the modules.*model\.layers\.2\.self_attn\.v_proj"):
        alone(llama, tmp_path)


def test_an_adapter_saved_by_torch_is_read_in_its_own_precision(llama, tmp_path):
    saved(llama.base(), tmp_path, {"r": 4, "target_modules": ["q_proj"]})
    file = tmp_path / "adapter_model.safetensors"
    tensors = {k: v.to(torch.float16) for k, v in load_file(file).items()}
    torch.save(tensors, tmp_path / "adapter_model.bin")
    file.unlink()
    adapter = Adapter.load(tmp_path)
    assert {a.dtype for pair in adapter.factors.values() for a in pair} == {torch.float16}
    equals_peft(llama, tmp_path)


def test_a_pickle_that_would_run_code_is_refused(llama, tmp_path):
    saved(llama.base(), tmp_path, {"r": 4, "target_modules": ["q_proj"]})
    (tmp_path / "adapter_model.safetensors").unlink()
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    torch.save({"a": Evil()}, tmp_path / "adapter_model.bin")
    with pytest.raises(AssetError, match="cannot be read"):
        Adapter.load(tmp_path)
    assert not ran.exists()


def test_a_home_directory_is_meant_by_a_tilde(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(llama.base(), tmp_path / "mine", {"r": 4, "target_modules": ["q_proj"]})
    assert Adapter.load("~/mine").rank == 4


@pytest.mark.parametrize("path", ["./none", "../none/there", "/none", "none", "~/none", "a/b/c"])
def test_nothing_asks_the_hub_for_a_path_of_this_machine(path, monkeypatch):
    from atmoe.mixture import snapshots

    monkeypatch.setattr(snapshots, "ask", lambda question: pytest.fail("asked the hub"))
    with pytest.raises(AssetError, match="no such directory"):
        Adapter.load(path)


def test_a_hub_id_is_fetched_or_refused_by_name(llama, tmp_path, monkeypatch):
    import huggingface_hub

    from atmoe.mixture import snapshots

    saved(llama.base(), tmp_path / "hub", {"r": 4, "target_modules": ["q_proj"]})
    monkeypatch.setattr(snapshots, "ask", lambda question: None)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda repo, **k: str(tmp_path / "hub")
    )
    assert Adapter.load("someone/adapter").rank == 4

    def unreachable(question):
        raise OSError("no route")

    def nowhere(*args, **kwargs):
        raise FileNotFoundError("not cached")

    monkeypatch.setattr(snapshots, "ask", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", nowhere)
    with pytest.raises(AssetError, match=r"someone/adapter.*no route"):
        Adapter.load("someone/adapter")


@pytest.mark.parametrize("seed", range(6))
def test_taken_out_of_the_bank_and_saved_it_equals_itself_in_peft(llama, tmp_path, seed):
    saved(llama.base(), tmp_path / "one", drawn(seed))
    model = alone(llama, tmp_path / "one")
    model.save_pretrained(tmp_path / "again")
    home = tmp_path / "again" / "experts" / "only" / "one"
    want = reference_logits(by_peft(llama.base(), tmp_path / "one"), model, PROMPTS[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        again = PeftModel.from_pretrained(llama.base(), str(home)).eval()
    torch.testing.assert_close(reference_logits(again, model, PROMPTS[0]), want, **CLOSE)
    torch.testing.assert_close(
        reference_logits(by_peft(llama.base(), home), alone(llama, home), PROMPTS[0]), want, **CLOSE
    )


def with_config(llama, path, **changed):
    """An adapter of q_proj and v_proj with another config beside its matrices."""
    saved(llama.base(), path, {"r": 4, "target_modules": ["q_proj", "v_proj"]})
    file = path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return path


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"target_modules": ["q_proj"]}, "does not target"),
        ({"exclude_modules": ["v_proj"]}, "does not target"),
        ({"layers_to_transform": [0]}, "does not target"),
        ({"target_modules": None}, "does not say which modules"),
        ({"target_modules": {"q_proj": 1}}, "no list of names"),
        ({"target_modules": 5}, "no list of names"),
        ({"target_modules": "(*"}, "cannot be used as a pattern"),
        ({"exclude_modules": "(*"}, "cannot be used as a pattern"),
        ({"layers_pattern": "layers"}, "PEFT refuses"),
        ({"rank_pattern": {"[": 3}}, "cannot be used as a pattern"),
        ({"rank_pattern": {"(a|.)*(b|.)*(.*)*x": 4}}, "cannot be used as a pattern"),
        ({"rank_pattern": [3]}, "no mapping"),
        ({"lora_alpha": 10**400}, "restore the config"),
        ({"lora_alpha": 1e300}, "scaled by"),
        ({"r": 10**400}, "restore the config"),
        ({"base_model_name_or_path": ["x"]}, "no name"),
    ],
)
def test_a_config_that_peft_would_read_otherwise_is_refused(llama, tmp_path, changed, sentence):
    with pytest.raises(AssetError, match=sentence):
        Adapter.load(with_config(llama, tmp_path, **changed))


def test_a_pattern_whose_matrices_are_missing_is_refused(llama, tmp_path):
    with_config(llama, tmp_path, target_modules=r".*\.(q|v)_proj")
    file = tmp_path / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "layers.2." not in k}, file)
    with pytest.raises(AssetError, match="2 of the modules"):
        alone(llama, tmp_path)


@pytest.mark.parametrize("content", [[], None, "x", torch.zeros(2)])
def test_a_file_that_holds_no_matrices_by_name_is_refused(llama, tmp_path, content):
    with_config(llama, tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    torch.save(content, tmp_path / "adapter_model.bin")
    with pytest.raises(AssetError, match="cannot be read"):
        Adapter.load(tmp_path)


@pytest.mark.parametrize("path", ["~nobodyxyz/x", "a" * 5000])
def test_a_path_that_is_none_is_a_sentence(path):
    with pytest.raises(AssetError, match="no such directory|is no path"):
        Adapter.load(path)


def test_numbers_that_overflow_in_float32_are_refused(llama, tmp_path):
    with_config(llama, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = {k: v.double() for k, v in load_file(file).items()}
    next(iter(tensors.values()))[0, 0] = 1e300
    save_file(tensors, file)
    with pytest.raises(AssetError, match="not finite"):
        Adapter.load(tmp_path)


# -- bases of other kinds --------------------------------------------------------------------------


def other_base(kind: str):
    """A tiny base whose head, or whose linears, do what Llama's do not."""
    small = dict(vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(3)
    if kind == "cohere":
        return transformers.CohereForCausalLM(
            transformers.CohereConfig(
                **small, intermediate_size=40, num_key_value_heads=2, logit_scale=0.3
            )
        )
    if kind == "granite":
        return transformers.GraniteForCausalLM(
            transformers.GraniteConfig(
                **small, intermediate_size=40, num_key_value_heads=2, logits_scaling=4.0
            )
        )
    return transformers.OPTForCausalLM(
        transformers.OPTConfig(
            **small, ffn_dim=40, word_embed_proj_dim=48, max_position_embeddings=64
        )
    )


@pytest.mark.parametrize("kind", ["cohere", "granite", "opt"])
def test_bases_that_scale_their_logits_or_flatten_their_rows_equal_peft(kind, tmp_path):
    path = tmp_path / "lora"
    modules = ["q_proj", "fc1" if kind == "opt" else "up_proj"]
    base = other_base(kind).eval()
    base_loading.check_head(base)
    saved(other_base(kind), path, {"r": 3, "target_modules": modules})
    bank = ExpertBank(base, [Adapter.load(path)])
    ids = torch.arange(12).reshape(2, 6)
    weights = torch.ones(2, 2, 1)
    with torch.inference_mode(), mixed_by(Mixing(bank, weights)):
        hidden = base.base_model(input_ids=ids).last_hidden_state
        got = base_loading.scaled_and_capped(base, base.get_output_embeddings()(hidden))
    with torch.inference_mode():
        want = by_peft(other_base(kind).eval(), path)(input_ids=ids).logits
    torch.testing.assert_close(got, want, **CLOSE)


def test_a_head_that_is_not_known_is_refused_when_the_base_is_loaded(monkeypatch):
    base = other_base("cohere").eval()
    monkeypatch.setattr(base, "logit_scale", 2.0)  # not what its config says
    with pytest.raises(BaseModelError, match="does not know"):
        base_loading.check_head(base)
