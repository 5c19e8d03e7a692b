"""A model finds its base again by itself, and what it finds is what it was trained on."""

import json
import logging
import os
import shutil

import pytest
import torch
from commands import refused, run
from conftest import PROMPTS
from peft import AutoPeftModelForCausalLM
from samples import LINES

from atmoe import AtMoe
from atmoe.errors import AssetError, BaseModelError
from atmoe.mixture import base, base_cache, base_loading, snapshots
from atmoe.mixture.replacing import read_config

SMALL = ["--rank", "2", "--answer-tokens", "600", "--dtype", "float32"]


@pytest.fixture
def kitchen(tmp_path):
    """README's own sequence begins with a description and a file of examples."""
    lines = [json.dumps(line) for line in LINES]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    (tmp_path / "kitchen.yaml").write_text(
        "groups: {task: [define, treat, warn], field: [heart], reader: [lay, expert]}\n"
        "sources: [{reader: jsonl, path: own.jsonl}]\n"
    )
    return tmp_path


def test_the_documents_own_sequence_on_another_base(kitchen, llama, own_cache, capsys, monkeypatch):
    description, model = str(kitchen / "kitchen.yaml"), str(kitchen / "kitchen")
    experts = [description, "--base", str(llama.directory), "--out", model]
    run(capsys, "train", "experts", *experts, *SMALL)
    # From here on nobody names the base.
    router = ["--instructions", "20", "--effect-answers", "4", "--answer-tokens", "600"]
    router += ["--dtype", "float32"]
    run(capsys, "train", "router", description, "--model", model, *router)
    plan = run(capsys, "route", PROMPTS[0], "--model", model)
    assert plan["layers"] == 5
    loaded = AtMoe.from_pretrained(model)
    assert loaded.routed(PROMPTS[0]).to_dict() == plan
    # PEFT's own class finds it too.
    expert = kitchen / "kitchen" / "experts" / "task" / "treat"
    config = json.loads((expert / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(llama.directory.resolve())
    auto = AutoPeftModelForCausalLM.from_pretrained(str(expert))
    assert auto.get_base_model().config.hidden_size == 48
    # $ATMOE_BASE and --base override; another base than the one trained on is refused.
    monkeypatch.setenv("ATMOE_BASE", str(kitchen / "nowhere"))
    assert "There is no base model at" in refused(capsys, "route", PROMPTS[0], "--model", model)
    again = run(capsys, "route", PROMPTS[0], "--model", model, "--base", str(llama.directory))
    assert again == plan


def test_the_default_base_is_named_as_peft_finds_it():
    name, revision = base.peft_name(base.DEFAULT.name, base.DEFAULT.sha256, {"gguf": "x"})
    assert name == "HuggingFaceTB/SmolLM2-135M-Instruct" and len(revision) == 40


def test_a_base_that_was_moved_is_a_sentence(llama, tmp_path, own_cache):
    home = tmp_path / "base"
    shutil.copytree(llama.directory, home)
    made = AtMoe.from_pretrained
    llama.model.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "atmoe.json").read_text())
    config["base"]["locator"] = {"path": str(home)}
    (tmp_path / "model" / "atmoe.json").write_text(json.dumps(config))
    assert made(tmp_path / "model").info.base_sha256 == llama.found.sha256
    home.rename(tmp_path / "elsewhere")
    with pytest.raises(BaseModelError, match=r"no longer at .*base; name it with --base or \$ATMO"):
        made(tmp_path / "model")
    moved = made(tmp_path / "model", tmp_path / "elsewhere")
    moved.save_pretrained(tmp_path / "again")  # knows from now on where it is
    assert made(tmp_path / "again").info.base_locator == {"path": str(tmp_path / "elsewhere")}


def test_a_hub_model_is_found_by_its_revision(llama, monkeypatch, own_cache):
    asked = []
    monkeypatch.setattr(snapshots, "ask", lambda question: None)
    monkeypatch.setattr(
        snapshots.huggingface_hub,
        "snapshot_download",
        lambda repo, **k: asked.append((repo, k["revision"])) or str(llama.directory),
    )
    found = base.locate("own", llama.found.sha256, {"hub": "org/own", "revision": "abc"})
    assert asked == [("org/own", "abc")] and found.sha256 == llama.found.sha256


def conversion(home):
    """A finished conversion in a cache, as `convert` leaves one."""
    (home / "sub").parent.mkdir(parents=True)
    (home / "model.safetensors").write_bytes(os.urandom(4 * 2**20))
    (home / "config.json").write_text("{}")
    files = sorted(home.iterdir())
    record = {
        "name": "n",
        "source": "hub",
        "sha256": "0" * 64,
        "files": {f.name: f.stat().st_size for f in files},
        "contents": {f.name: base_cache.digest_of([f]) for f in files},
    }
    (home / "base.json").write_text(json.dumps(record))


@pytest.mark.parametrize("restored", [False, True])
def test_two_megabytes_zeroed_in_the_cache_are_seen(tmp_path, restored):
    home = tmp_path / "base"
    conversion(home)
    assert base_cache.intact(home, tmp_path)
    file = home / "model.safetensors"
    stat = file.stat()
    with file.open("r+b") as stream:
        stream.seek(2**20)
        stream.write(bytes(2 * 2**20))
    if restored:  # a program can set this time back, and no other
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not base_cache.intact(home, tmp_path)


def test_what_was_read_once_is_not_read_again(tmp_path, monkeypatch):
    conversion(tmp_path / "base")
    assert base_cache.intact(tmp_path / "base", tmp_path)
    monkeypatch.setattr(base_cache, "digest_of", lambda files: pytest.fail("read again"))
    assert base_cache.intact(tmp_path / "base", tmp_path)


def test_a_cache_of_a_version_that_wrote_sizes_alone_is_believed_once(tmp_path):
    home = tmp_path / "base"
    conversion(home)
    record = json.loads((home / "base.json").read_text())
    del record["contents"]
    (home / "base.json").write_text(json.dumps(record))
    assert base_cache.intact(home, tmp_path)
    assert set(json.loads((home / "base.json").read_text())["contents"]) == set(record["files"])
    (home / "model.safetensors").write_bytes(bytes(4 * 2**20))
    assert not base_cache.intact(home, tmp_path)


def test_the_record_says_what_weights_were_read(llama, tmp_path, own_cache):
    llama.model.save_pretrained(tmp_path / "model")
    model = AtMoe.from_pretrained(tmp_path / "model", llama.directory)
    record = model.answer(PROMPTS[0])
    assert record.base["content"] == model.info.base_content == llama.found.content
    assert len(record.base["content"]) == 64


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("config.json", "10000.0", "500.0"),
        ("chat_template.jinja", "You help.", "You are a pirate."),
        ("tokenizer.json", '"ignore_merges": false', '"ignore_merges": true'),
        ("generation_config.json", '"eos_token_id": ', '"max_length": 7, "eos_token_id": '),
    ],
)
def test_a_base_of_the_same_weights_that_answers_otherwise_is_another_base(
    llama, tmp_path, own_cache, file, old, new
):
    model = tmp_path / "model"
    llama.build(base_setup=llama.found.setup).save_pretrained(model)
    llama.build().save_pretrained(tmp_path / "old")  # as it was written before
    other = shutil.copytree(llama.directory, tmp_path / "elsewhere" / "base")
    assert AtMoe.from_pretrained(model, other).info.base_content == llama.found.content
    # written by another version, it is the same
    config = json.loads((other / "config.json").read_text())
    told = {"transformers_version": "0", "dtype": "bfloat16", "torch_dtype": "bfloat16"}
    (other / "config.json").write_text(json.dumps(config | told))
    AtMoe.from_pretrained(model, other).save_pretrained(tmp_path / "again")
    assert read_config(tmp_path / "again")[0].sha256 == read_config(model)[0].sha256
    # and what computes is not
    text = (llama.directory / file).read_text()
    assert old in text
    (other / file).write_text(text.replace(old, new))
    with pytest.raises(
        AssetError, match="another config, tokenizer or chat template than .*elsewhere"
    ):
        AtMoe.from_pretrained(model, other)
    for one in (
        AtMoe.from_pretrained(model, other, check_base=False),
        AtMoe.from_pretrained(tmp_path / "old", other),
    ):
        assert one.info.base_sha256 == llama.found.sha256
        assert one.info.base_content != llama.found.content


def test_an_adapter_of_another_base_is_a_warning_in_words(llama, tmp_path, caplog, own_cache):
    llama.model.save_pretrained(tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        AtMoe.from_pretrained(tmp_path / "model", llama.directory)
        elsewhere = shutil.copytree(llama.directory, tmp_path / "elsewhere")
        AtMoe.from_pretrained(tmp_path / "model", elsewhere)  # the very same, by another name
    assert not caplog.records
    file = tmp_path / "model" / "experts" / "task" / "treat" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"base_model_name_or_path": "someone/else-7B"}))
    sealed = json.loads((tmp_path / "model" / "atmoe.json").read_text())
    name = "experts/task/treat/adapter_config.json"
    sealed["files"][name] = base_cache.digest_of([file])
    (tmp_path / "model" / "atmoe.json").write_text(json.dumps(sealed))
    with caplog.at_level(logging.WARNING):
        AtMoe.from_pretrained(tmp_path / "model", llama.directory)
    [said] = caplog.records
    assert "task/treat" in said.getMessage() and "someone/else-7B" in said.getMessage()


@pytest.mark.parametrize("locator", [None, 7, {"a": 1}, {"path": "x" * 5000}, {"k" * 300: "x"}])
def test_an_absurd_locator_is_refused(llama, tmp_path, locator):
    llama.model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "atmoe.json").read_text())
    config["base"]["locator"] = locator
    (tmp_path / "atmoe.json").write_text(json.dumps(config))
    with pytest.raises(AssetError, match="restore it"):
        read_config(tmp_path)


TEMPLATES = {
    "raises": "{{ raise_exception('System role only') }}",
    "broken": "{% for m in messages %}{{ m['content'] }}",
    "no filter": "{{ messages[0]['content'] | nothing_such }}",
    "twice": "{{ messages[0]['content'] * 2 }}",
    "named": [{"name": "rag", "template": "{{ messages[0]['content'] }}"}],
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_cannot_be_used_is_a_sentence_when_the_base_is_loaded(
    llama, tmp_path, own_cache, name
):
    home = tmp_path / "base"
    shutil.copytree(llama.directory, home)
    (home / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((home / "tokenizer_config.json").read_text())
    config["chat_template"] = TEMPLATES[name]
    (home / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelError, match="template") as refusal:
        base_loading.load(base.fetch(home), torch.float32)
    assert "\n" not in str(refusal.value) and "use a base model" in str(refusal.value)


def test_nothing_asks_the_hub_for_a_base_in_a_directory_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "bases").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snapshots, "ask", lambda question: pytest.fail("asked the hub"))
    with pytest.raises(BaseModelError, match="There is no base model at bases/mine"):
        base.fetch("bases/mine", cache=tmp_path / "cache")
