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


def test_decoding_is_timed_beside_generate(llama, own_cache):
    report = bench(llama.model, str(llama.directory), answer_tokens=6, repeats=3)["decoding"]
    assert report["engine"] == {"routed": "lean, folded", "routed_8": "lean"}
    for ratio, (a, b) in {"routed_to_generate": ("routed", "generate"), "eight_to_one": ("routed_8", "routed")}.items():
        assert 0 < report[ratio]["least"] <= report[ratio]["median"] <= report[ratio]["most"]
        assert report[ratio]["median"] == pytest.approx(report["tokens_per_second"][a] / report["tokens_per_second"][b], rel=1.0)


def test_the_command_prints_the_ratio(capsys, llama, own_cache, tmp_path):
    llama.model.save_pretrained(tmp_path)
    report = run(capsys, "bench", "--model", str(tmp_path), "--base", str(llama.directory), "--repeats", "1", "--dtype", "float32")
    assert report["answer_tokens"] == 128 and set(report["ratio_to_generate"]) == {"explanation", "smallest_change"}
