"""llama.cpp beside ours: missing, or failing, it is told."""

import sys
from types import SimpleNamespace

import pytest
from conftest import random_plan

from atmoe import AtMoeError
from atmoe.bench.llama import LlamaCpp


def test_llama_cpp_missing_or_failing_is_told(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(AtMoeError, match="pip install llama-cpp-python"):
        LlamaCpp(model, tmp_path / "base.gguf", random_plan(0))

    def refuse(*args, **kwargs):
        raise ValueError("no such file")

    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(Llama=refuse))
    with pytest.raises(AtMoeError, match="cannot read .*base.gguf"):
        LlamaCpp(model, tmp_path / "base.gguf", random_plan(0))
