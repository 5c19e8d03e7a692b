"""Which precision a machine is given, and what a person may ask for instead."""

import runpy
from argparse import Namespace
from contextlib import nullcontext

import pytest
import torch
from commands import refused
from conftest import ROOT

from atmoe import AtMoe, AtMoeError, Sampling
from atmoe.cli.main import main
from atmoe.mixture import precision

X86 = "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx {}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("told", "want", "grouped"),
    [
        (X86.format("avx2 avx512f avx512_bf16 avx512_vnni"), "bfloat16", True),
        (X86.format("amx_bf16"), "bfloat16", True),
        (X86.format("avx2 avx512f avx512_vnni"), "float32", True),
        (X86.format("avx2"), "float32", True),
        (X86.format("sse4_2"), "float32", False),
        (ARM.format("bf16"), "bfloat16", True),
        (ARM.format("i8mm"), "float32", False),
        ("", "float32", False),
    ],
)
def test_each_precision_only_where_the_processor_is_quick_in_it(
    told, want, grouped, monkeypatch, tmp_path
):
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv(precision.DEVICE_VARIABLE, raising=False)
    assert precision.best() == want
    if not torch.cuda.is_available():
        assert precision.quick() == want
    assert precision.chosen("auto") == ("int4" if grouped else want)
    assert ("int4" in precision.usable()) == grouped
    for name in ("int8", "int4"):
        assert getattr(torch, precision.computed_in(name)) is getattr(torch, want)
    assert getattr(torch, precision.computed_in("float32")) is torch.float32


def test_no_list_of_features_means_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    assert precision.best() == "float32"


def test_a_name_overrides_the_variable_and_that_the_machine(monkeypatch):
    monkeypatch.setattr(precision, "_features", set)
    monkeypatch.setenv(precision.VARIABLE, "int8")
    assert (
        precision.chosen() == "int8"
        and precision.chosen("bfloat16") == "bfloat16"
        and precision.chosen("auto") == "float32"
    )
    monkeypatch.delenv(precision.VARIABLE)
    assert precision.chosen() == "float32"
    monkeypatch.setenv(precision.VARIABLE, "fp8")
    with pytest.raises(
        AtMoeError, match="no precision 'fp8'; choose one of auto, float32, bfloat16, int8"
    ):
        precision.chosen()


@pytest.mark.parametrize("name", precision.NAMES)
def test_a_saved_model_in_each_precision_says_so_in_its_record(
    name, llama, own_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(precision, "_features", lambda: {"avx512_bf16"})
    llama.model.save_pretrained(tmp_path)
    model = AtMoe.from_pretrained(tmp_path, llama.directory, name)
    record = model.answer("How is asthma treated?", sampling=Sampling(4))
    assert (
        # nothing of this base is in 4-bit groups
        model.precision == record.versions["dtype"] == ("bfloat16" if name == "int4" else name)
        and record.versions["engine"] == "lean, folded"
        and record.versions.get("computed_in") == ("bfloat16" if name == "int8" else None)
    )


def test_experts_are_not_trained_in_int8(capsys):
    with pytest.raises(SystemExit):
        main(["train", "router", "--dtype", "int8"])
    assert "invalid choice: 'int8'" in capsys.readouterr().err


# -- where ----------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """A machine with so many of CUDA's, as torch would tell of it."""

    def there(count, bfloat16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.cuda, "device", lambda name: nullcontext())

    monkeypatch.delenv(precision.DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    there(0)
    return there


def test_auto_is_a_gpu_where_there_is_one_and_a_name_overrides_the_variable(gpus, monkeypatch):
    assert precision.placed() == precision.placed("auto") == "cpu"
    gpus(2)
    assert precision.placed() == "cuda" and precision.placed("cpu") == "cpu"
    monkeypatch.setenv(precision.DEVICE_VARIABLE, "cuda:1")
    assert precision.placed() == "cuda:1" and precision.placed("cuda:0") == "cuda:0"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_there_is_not_is_refused_in_a_sentence(name, gpus):
    gpus(int(name == "cuda:1"))
    with pytest.raises(AtMoeError, match="This machine has (no|1) device"):
        precision.placed(name)
    with pytest.raises(AtMoeError, match="This machine has"):
        AtMoe.from_pretrained("nowhere", device=name)


def test_the_library_computes_where_the_variable_says_and_else_on_the_cpu(
    gpus, monkeypatch, llama, tmp_path
):
    llama.model.save_pretrained(tmp_path)
    moved = []
    monkeypatch.setattr(AtMoe, "to", lambda model, place: (moved.append(place), model)[1])
    gpus(2)
    for variable, given, used in (
        ("", None, "cpu"),
        ("", "auto", "cuda"),
        ("cuda:1", None, "cuda:1"),
        ("cuda:1", "cuda:0", "cuda:0"),
        ("cuda:1", "cpu", "cpu"),
    ):
        monkeypatch.setenv(precision.DEVICE_VARIABLE, variable)
        AtMoe.from_pretrained(tmp_path, llama.directory, device=given)
        assert moved.pop() == used and not moved


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "meta"])
def test_a_name_that_is_none_is_refused(name, gpus):
    with pytest.raises(AtMoeError, match=f"no device '{name}'; choose one of auto, cpu, cuda, mps"):
        precision.placed(name)


def test_where_and_in_what_is_one_decision(gpus, monkeypatch):
    monkeypatch.setattr(precision, "_features", set)
    gpus(1)
    assert precision.chosen("auto", "cuda") == "bfloat16" and precision.chosen("auto") == "float32"
    gpus(1, bfloat16=False)
    assert precision.chosen("auto", "cuda") == "float32"
    assert precision.chosen("auto", "mps") == "float32"
    assert precision.chosen("bfloat16", "cuda") == "bfloat16"
    with pytest.raises(AtMoeError, match="int8 is for the CPU; on cuda choose bfloat16"):
        precision.chosen("int8", "cuda")


def test_a_command_says_what_there_is_not_and_the_variable_holds_for_it(gpus, capsys, monkeypatch):
    said = refused(capsys, "route", "Why?", "--device", "cuda")
    assert "This machine has no device of the kind cuda" in said
    assert "bench compares what runs on a CPU" in refused(capsys, "bench", "--device", "cuda")
    monkeypatch.setenv(precision.DEVICE_VARIABLE, "tpu")
    assert "There is no device 'tpu'" in refused(capsys, "route", "Why?")


class _Asked(Exception):
    """What a model was to be loaded with."""


@pytest.fixture
def loading(monkeypatch):
    """Loading a model tells what it was asked for, and ends there."""

    def told(*given, **named):
        raise _Asked(named["device"], given[2] if len(given) > 2 else named.get("dtype"))

    monkeypatch.setattr(AtMoe, "from_pretrained", told)


@pytest.mark.parametrize(
    "words", [["route", "Why?"], ["explain", "Why?"], ["score", "Why?", "So."], ["answer", "Why?"]]
)
def test_commands_load_the_model_where_they_are_told(words, gpus, loading):
    gpus(2)
    for given, device in (([], "cuda"), (["--device", "cuda:1"], "cuda:1")):
        with pytest.raises(_Asked) as asked:
            main([*words, *given])
        assert asked.value.args == (device, "float32")


def test_the_page_loads_the_model_where_it_is_told_in_what_is_quick_there(
    gpus, loading, monkeypatch
):
    page = runpy.run_path(str(ROOT / "app.py"))
    monkeypatch.setattr("app.logs.bound", lambda: None)
    gpus(2)
    for given, device in ((None, "cuda"), ("cuda:1", "cuda:1")):
        asked_for = {"model": ["assets/medical"], "base": None, "dtype": None, "device": given}
        with pytest.raises(_Asked) as asked:
            page["_serve"](Namespace(**asked_for))
        assert asked.value.args == (device, "bfloat16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_gpu_it_answers_and_its_record_says_where(dtype, llama, own_cache, tmp_path):
    llama.model.save_pretrained(tmp_path)
    model = AtMoe.from_pretrained(tmp_path, llama.directory, dtype, device="cuda")
    record = model.answer("How is asthma treated?", sampling=Sampling(6))
    assert model.device.type == "cuda" and record.versions["device"].startswith("cuda")
    if dtype == "float32":
        want = llama.model.answer("How is asthma treated?", sampling=Sampling(6))
        assert record.answer_tokens == want.answer_tokens
        assert record.plan.close_to(want.plan, atol=1e-4)
