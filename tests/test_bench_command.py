"""Ratios are what their own parts say, for the very answer that was generated."""

import pytest
from test_cli import run

from atmoe.bench import bench


def test_explanations_are_timed_beside_generate(llama, own_cache):
    model = llama.model
    report = bench(model, str(llama.directory), answer_tokens=9, repeats=3)
    assert report["answer_tokens"] == 9 and report["dtype"] == "float32"
    assert 8 < report["rows"] < 8 + len(model.layout.expert_names) + 9  # the bands cost a part of a row each
    for name in ("explanation", "smallest_change"):
        ratio = report["ratio_to_generate"][name]
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"]
        assert ratio["median"] == pytest.approx(report["seconds"][name] / report["seconds"]["generate"], rel=1.0)


def test_the_command_prints_the_ratio(capsys, llama, own_cache, tmp_path):
    llama.model.save_pretrained(tmp_path)
    report = run(capsys, "bench", "--model", str(tmp_path), "--base", str(llama.directory), "--repeats", "1", "--dtype", "float32")
    assert report["answer_tokens"] == 128 and set(report["ratio_to_generate"]) == {"explanation", "smallest_change"}
