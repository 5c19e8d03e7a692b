"""Saved and loaded again it is the same model; what else is in the directory is refused by name."""

import json
import shutil

import pytest
import torch
from conftest import (
    EXPERTS,
    FAMILIES,
    LAYOUT,
    PROMPTS,
    SHAPE,
    logits_of,
    one_hot,
    random_plan,
    reference_logits,
)
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from atmoe import AtMoe, RoutingPlan
from atmoe.errors import AssetError
from atmoe.mixture.config import CONFIG, ROUTER, seal
from atmoe.mixture.replacing import read_config
from atmoe.presentation import Page

pytestmark = pytest.mark.usefixtures("own_cache")
WEIGHTS = "experts/field/heart/adapter_model.safetensors"
SETTINGS = "experts/field/heart/adapter_config.json"


@pytest.fixture(scope="module")
def saved(worlds, tmp_path_factory):
    """A saved model, not to be changed."""
    path = tmp_path_factory.mktemp("saved") / "tiny"
    worlds("llama").build(
        max_prompt_tokens=123, scripts=("LATIN", "GREEK"), words={"task": "Need"}
    ).save_pretrained(path)
    return path


@pytest.fixture
def copy(saved, tmp_path):
    """A saved model, to be damaged."""
    return shutil.copytree(saved, tmp_path / "copy")


def test_save_and_load_gives_an_equal_model(world, tmp_path):
    model = world.model
    model.save_pretrained(tmp_path / "tiny")
    again = AtMoe.from_pretrained(tmp_path / "tiny", base=world.directory)
    assert again.layout == model.layout
    assert again.route(PROMPTS[0]).close_to(model.route(PROMPTS[0]), atol=0)
    for plan in (random_plan(0), one_hot("field/heart"), RoutingPlan.off(LAYOUT), None):
        assert torch.equal(logits_of(again, PROMPTS[0], plan), logits_of(model, PROMPTS[0], plan))


def test_who_may_read_a_saved_model_is_for_the_umask_to_say(saved, tmp_path):
    (tmp_path / "plain").touch()
    plain = (tmp_path / "plain").stat().st_mode
    assert {file.stat().st_mode for file in saved.rglob("*") if file.is_file()} == {plain}


def test_saving_again_changes_no_byte(saved, llama, tmp_path):
    AtMoe.from_pretrained(saved, base=llama.directory).save_pretrained(tmp_path / "again")
    files = {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()}
    again = {
        str(p.relative_to(tmp_path / "again")): p.read_bytes()
        for p in (tmp_path / "again").rglob("*")
        if p.is_file()
    }
    assert (
        files.keys() == again.keys()
        and [n for n in files if files[n] != again[n] and n.endswith("tensors")] == []
    )
    configs = [json.loads(f[CONFIG]) for f in (files, again)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "int4"])
def test_saved_in_a_smaller_precision_it_is_the_same_model(llama, tmp_path, precision, caplog):
    """Its experts are float32, as PEFT trains them; nothing may be rounded on the way."""
    model = llama.build()
    model.save_pretrained(tmp_path / "first")
    tensors = load_file(tmp_path / "first" / WEIGHTS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    low = AtMoe.from_pretrained(tmp_path / "first", llama.directory, precision)
    low.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (
        tmp_path / "first" / WEIGHTS
    ).read_bytes()
    assert read_config(tmp_path / "again")[0].sha256 == read_config(tmp_path / "first")[0].sha256
    assert not caplog.messages
    # what somebody changed is saved as it is, and the others still to the byte
    for linear in low.bank.linears.values():
        linear.A[linear.expert_of_rank == LAYOUT.expert_index("task/warn")] *= 2
    low.save_pretrained(tmp_path / "changed")
    changed, held = tmp_path / "changed", next(iter(low.bank.linears.values())).A.dtype
    assert (changed / WEIGHTS).read_bytes() == (tmp_path / "first" / WEIGHTS).read_bytes()
    warn = WEIGHTS.replace("field/heart", "task/warn")
    for name, tensor in load_file(changed / warn).items():
        as_held = load_file(tmp_path / "first" / warn)[name].to(held).float()
        assert torch.equal(tensor.float(), as_held * (2 if "lora_A" in name else 1))
    # without the files, it says what it rounds
    shutil.rmtree(tmp_path / "first" / "experts" / "field")
    low.save_pretrained(tmp_path / "alone")
    assert ("load the model in float32" in caplog.text) == (held != torch.float32)


def test_the_config_says_what_it_is(saved, llama):
    info, layout = read_config(saved)
    assert layout == LAYOUT and (info.name, info.max_prompt_tokens, info.scripts) == (
        "tiny",
        123,
        ("LATIN", "GREEK"),
    )
    assert info.words == {"task": "Need"}
    assert info.base_sha256 == llama.found.sha256 and len(info.sha256) == 64
    model = AtMoe.from_pretrained(saved, base=llama.directory)
    assert (model.info.max_prompt_tokens, model.info.sha256) == (123, info.sha256)


def test_a_language_is_saved_and_read_and_a_model_without_one_is_written_as_before(
    saved, llama, tmp_path
):
    assert "language" not in json.loads((saved / CONFIG).read_text())
    assert read_config(saved)[0].language == ""
    llama.build(language="en").save_pretrained(tmp_path / "english")
    assert AtMoe.from_pretrained(tmp_path / "english", base=llama.directory).info.language == "en"


@pytest.mark.parametrize(
    "said",
    [{"words": {"diet": "For"}}, {"page": Page(presets={"Vegan": {"diet/vegan": 100}})}],
    ids=["words", "presets"],
)
def test_a_model_says_nothing_of_groups_that_it_has_not(llama, tmp_path, said):
    model = llama.build(**said)
    with pytest.raises(AssetError, match="its groups do not bear out .*diet.*; take that out"):
        model.save_pretrained(tmp_path / "unread")
    assert not (tmp_path / "unread").exists()


@pytest.mark.parametrize("language", ["English", "", None, 3, ["en"], "e\u0301"])
def test_a_language_that_is_none_is_refused(copy, language):
    said = json.loads((copy / CONFIG).read_text()) | {"language": language}
    (copy / CONFIG).write_text(json.dumps(said))
    if language == "":
        assert read_config(copy)[0].language == ""
    else:
        with pytest.raises(AssetError, match="the language is no ISO 639-1 code"):
            read_config(copy)


@pytest.mark.parametrize("name", EXPERTS)
def test_peft_loads_every_saved_expert(saved, llama, name):
    peft = PeftModel.from_pretrained(llama.base(), str(saved / "experts" / name)).eval()
    torch.testing.assert_close(
        reference_logits(peft, llama.unit, PROMPTS[0]),
        logits_of(llama.unit, PROMPTS[0], one_hot(name)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_bfloat16_rounds_and_no_more(saved, llama):
    """Stated tolerance: 5% of the logits' own size after five layers."""
    low = AtMoe.from_pretrained(saved, base=llama.directory, dtype=torch.bfloat16)
    got, want = (
        logits_of(low, PROMPTS[0], random_plan(0)),
        logits_of(llama.model, PROMPTS[0], random_plan(0)),
    )
    got = got[-want.shape[0] :]  # bfloat16 batches are padded to a multiple of 16, on the left
    assert got.dtype is torch.bfloat16 and (got.float() - want).norm() / want.norm() < 0.05
    assert torch.allclose(low.route(PROMPTS[0]).weights.sum(1), torch.ones(5), atol=1e-6)


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ROUTER, WEIGHTS, SETTINGS])
def test_a_missing_file_is_named(copy, llama, name):
    (copy / name).unlink()
    with pytest.raises(AssetError, match=f"{name} is missing; restore it"):
        AtMoe.from_pretrained(copy, base=llama.directory)


@pytest.mark.parametrize("name", [ROUTER, WEIGHTS, SETTINGS])
@pytest.mark.parametrize("where", [0, -1])
def test_one_flipped_bit_is_noticed(copy, llama, name, where):
    data = bytearray((copy / name).read_bytes())
    data[where] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(AssetError, match=f"{name} is not the file that was saved .* restore it"):
        AtMoe.from_pretrained(copy, base=llama.directory)


def test_a_truncated_file_is_noticed(copy, llama):
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(AssetError, match="restore it"):
        AtMoe.from_pretrained(copy, base=llama.directory)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 9}', "\x00", b"\xff\xfe"]
)
def test_a_damaged_config(copy, llama, text):
    (copy / CONFIG).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AssetError, match=f"{CONFIG} .*(restore it|train it again)"):
        AtMoe.from_pretrained(copy, base=llama.directory)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 0},
        {"layers": "many"},
        {"groups": []},
        {"groups": {}},
        {"files": None},
        {"base": None},
        {"groups": [{"name": "a", "experts": []}]},
        {"scripts": None},
        {"words": ["Need"]},
        {"words": {"nobody": "Need"}},
        {"words": {"task": 7}},
        {"words": {"task": "much longer than a word"}},
    ],
)
def test_a_config_that_means_nothing(copy, llama, change):
    file = copy / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(AssetError, match="restore it"):
        AtMoe.from_pretrained(copy, base=llama.directory)


def test_no_model_there(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "a\nb", str(tmp_path)):
        with pytest.raises(AssetError, match=f"{CONFIG} is missing.; name the directory"):
            AtMoe.from_pretrained(path)


def reseal(path):
    info, layout = json.loads((path / CONFIG).read_text()), LAYOUT
    from atmoe.mixture.config import Info

    seal(path, layout, Info(info["name"], info["base"]["name"], info["base"]["sha256"]))


def test_a_router_of_another_size(copy, llama):
    state = load_file(copy / ROUTER)
    for damaged in (
        {k: v for k, v in state.items() if k != "gain"},
        state | {"group_bias": torch.zeros(5, 4)},
    ):
        save_file(damaged, copy / ROUTER)
        reseal(copy)
        with pytest.raises(
            AssetError, match="router.safetensors cannot be used .* restore it or train it again"
        ):
            AtMoe.from_pretrained(copy, base=llama.directory)


# -- another base ----------------------------------------------------------------------------------


def test_a_base_of_other_weights(saved, worlds, llama):
    other = worlds("qwen2").directory
    with pytest.raises(
        AssetError,
        match=f"trained on the base base .{llama.found.sha256[:12]}.*name that base with --base",
    ):
        AtMoe.from_pretrained(saved, base=other)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"num_hidden_layers": 4}, "4 layers, the router 5; use its own base"),
        ({"hidden_size": 32}, "router.* cannot be used .* train it again"),
        ({"intermediate_size": 44}, "do not fit .* use the base it was trained on"),
    ],
)
def test_a_base_of_another_shape(saved, llama, tmp_path, change, sentence):
    base = tmp_path / "base"
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(llama.tokenizer), **(SHAPE | change))
    ).save_pretrained(base)
    llama.tokenizer.save_pretrained(base)
    with pytest.raises(AssetError, match="trained on the base"):
        AtMoe.from_pretrained(saved, base=base)
    with pytest.raises(AssetError, match=sentence):
        AtMoe.from_pretrained(saved, base=base, check_base=False)


def test_every_family_is_tested():
    assert {name[:4] for name in FAMILIES} == {"llam", "qwen", "gemm"}
