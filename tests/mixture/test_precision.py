"""Which precision a machine is given, and what a person may ask for instead."""

import pytest
import torch

from atmoe import AtMoe, AtMoeError, Sampling
from atmoe.cli.main import main
from atmoe.mixture import precision

X86 = "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx2 avx512f {}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("told", "want"),
    [
        (X86.format("avx512_bf16 avx512_vnni"), "bfloat16"),
        (X86.format("amx_bf16"), "bfloat16"),
        (X86.format("avx512_vnni"), "float32"),
        (ARM.format("bf16"), "bfloat16"),
        (ARM.format("i8mm"), "float32"),
        ("", "float32"),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(told, want, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    assert precision.best() == precision.chosen("auto") == want
    assert (
        getattr(torch, precision.computed_in("int8")) is getattr(torch, want)
        and getattr(torch, precision.computed_in("float32")) is torch.float32
    )


def test_no_list_of_features_means_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    assert precision.best() == "float32"


def test_a_name_overrides_the_variable_and_that_the_machine(monkeypatch):
    monkeypatch.setattr(precision, "best", lambda: "float32")
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
def test_a_saved_model_in_each_precision_says_so_in_its_record(name, llama, own_cache, tmp_path):
    llama.model.save_pretrained(tmp_path)
    model = AtMoe.from_pretrained(tmp_path, llama.directory, name)
    record = model.answer("How is asthma treated?", sampling=Sampling(4))
    assert (
        model.precision == record.versions["dtype"] == name
        and record.versions["engine"] == "lean, folded"
    )


def test_experts_are_not_trained_in_int8(capsys):
    with pytest.raises(SystemExit):
        main(["train", "router", "--dtype", "int8"])
    assert "invalid choice: 'int8'" in capsys.readouterr().err
