"""Ratios are what their parts say, for the very answer that was generated; what fell is told."""

import json
import time
from functools import partial
from itertools import chain, count

import pytest
import torch
from commands import run
from conftest import LAYOUT, logits_of
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from atmoe import AtMoeError, RoutingPlan
from atmoe.bench import PARTS, UNLESS_ASKED
from atmoe.bench import scale as bench_scale
from atmoe.bench.profile import (
    BASE,
    ELSE,
    EXPERTS,
    HEAD,
    MADE_BY,
    OUTSIDE,
    PRODUCT,
    SEEN,
    Stretch,
    profile,
)
from atmoe.bench.ratios import check
from atmoe.bench.run import bench, decoding, explaining
from atmoe.bench.taken import start
from atmoe.cli import bench as cli
from atmoe.cli.main import main
from atmoe.mixture import base_loading, precision
from atmoe.model import AtMoe


@pytest.fixture
def saved(llama, tmp_path):
    llama.model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def small(own_cache, monkeypatch):
    for name, value in {"ROWS": (2, 3), "EXPERTS": (4, 8), "RANKS": (2, 5), "RANK": 2}.items():
        monkeypatch.setattr(bench_scale, name, value)
    monkeypatch.setattr("atmoe.bench.run.profile", partial(profile, steps=6))


def ordered(ratio):
    return 0 < ratio["least"] <= ratio["median"] <= ratio["most"]


class Clock:
    """A clock of one's own: what each stretch takes, in the order in which they are timed."""

    def __init__(self, stretches):
        self.time, self.ends = 0.0, chain.from_iterable((0.0, each) for each in stretches)

    def __call__(self):
        self.time += next(self.ends)
        return self.time


def test_explanations_are_timed_beside_generate(llama, monkeypatch):
    """A turn in which the machine was busy slows both sides: its ratio is that of the others."""
    model, turns = llama.model, (1, 16, 4)
    seconds = {"generate": 2.0, "explanation": 1.0, "smallest_change": 6.0}
    stretches = [slowed * each for slowed in turns for each in seconds.values()]
    monkeypatch.setattr(bench_scale, "now", Clock(stretches))
    report = explaining(model, llama.base(), answer_tokens=9, repeats=len(turns))
    assert report["answer_tokens"] == 9
    assert (
        8 < report["rows"] < 8 + len(model.layout.expert_names) + 9
    )  # the bands cost a part of a row each
    assert report["seconds"] == {name: 4 * each for name, each in seconds.items()}
    same = {"explanation": 0.5, "smallest_change": 3.0}
    assert report["ratio_to_generate"] == {
        name: {"median": ratio, "least": ratio, "most": ratio} for name, ratio in same.items()
    }


def test_decoding_is_timed_beside_generate(llama, monkeypatch):
    """A second between any two looks at the clock: `generate` looks at each token, we at all."""
    monkeypatch.setattr(bench_scale, "now", partial(next, count()))
    report = decoding(llama.model, llama.base(), tokens=6, repeats=3)
    assert report["engine"] == {"routed": "lean, folded", "routed_8": "lean"}
    assert report["tokens_per_second"] == {"generate": 1, "routed": 5, "routed_8": 40}
    for name, ratio in {"routed_to_generate": 5, "eight_to_one": 8}.items():
        assert report[name] == {"median": ratio, "least": ratio, "most": ratio}


def test_every_part_gives_its_ratios(llama, saved, monkeypatch):
    """Of the model that was saved: its precisions and PEFT's models are loaded from there."""
    monkeypatch.setattr("atmoe.bench.run.QUESTION", "How is asthma treated?")
    monkeypatch.setattr(precision, "_features", lambda: {"avx512_bf16"})  # on any processor
    made = []
    monkeypatch.setattr(
        AtMoe,
        "from_pretrained",
        classmethod(
            lambda cls, *a, _=AtMoe.from_pretrained, **named: (
                made.append((a, named)) or _(*a, **named)
            )
        ),
    )
    report = bench(
        llama.model,
        saved,
        str(llama.directory),
        [p for p in UNLESS_ASKED if p not in ("explanation", "decoding", "start")],
        5,
        1,
    )
    assert set(report["ratios"]) == {
        "rows 2 to 1",
        "rows 3 to 1",
        "prefill routed to base",
        "first token steered late to whole prefill",
        "decode experts 8 to 4",
        "prefill experts 8 to 4",
        "decode rank 5 to 2",
        "prefill rank 5 to 2",
        "page in bfloat16 to generate",
        "page in bfloat16, 8 people to one",
        "page in bfloat16, steered, guessed to not",
        "page in int4 to generate",
        "page in int4, 8 people to one",
        "page in int4, steered, guessed to not",
        "page in int4 to bfloat16",
        "page in int4 to bfloat16, 8 people",
        "int8 to generate",
        "int8 to the model",
        "int4 to generate",
        "int4 to the model",
        "routed to PEFT, one LoRA",
        "routed to PEFT, 6 LoRAs",
        "routed to PEFT X-LoRA",
    }
    assert all(map(ordered, report["ratios"].values())) and report["dtype"] == "float32"
    loaded = ("bfloat16", "int4", "int8", "int4", "bfloat16", "int4")
    on_cpu = {"device": "cpu"}  # whatever $ATMOE_DEVICE names
    assert made == [((saved, str(llama.directory), name), on_cpu) for name in loaded]
    assert list(report["profile"]) == ["bfloat16", "int4"]
    for stretches in report["profile"].values():
        assert list(stretches) == ["prompt", "token"]
        for shares in stretches.values():
            assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0
            assert {BASE, EXPERTS, HEAD, SEEN, ELSE, OUTSIDE} == set(shares)
            assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for stretches in report["operators"].values():
        for by in stretches.values():
            assert list(by) == list(MADE_BY) and all(by[part] for part in (BASE, EXPERTS, HEAD))
            assert all(any(word in name for word in PRODUCT) for name in by[BASE] + by[HEAD])


def test_without_a_name_all_is_timed_over_the_models_own_base(llama, tmp_path, monkeypatch):
    llama.build(base_locator=llama.found.locator).save_pretrained(tmp_path)
    model, loaded = AtMoe.from_pretrained(tmp_path), []
    load = base_loading.load
    monkeypatch.setattr(
        base_loading, "load", lambda base, *more: loaded.append(base.sha256) or load(base, *more)
    )
    bench(model, tmp_path, None, ["sizes", "peers"], 5, 1)
    assert set(loaded) == {llama.found.sha256} and len(loaded) == 1 + 3 + 3


def test_what_an_operation_is_for_is_told_by_its_shapes(llama):
    """Of operations as torch has them: x [3, 32] through matrices of the base, experts, head."""
    model = llama.model
    timed = Stretch(model)
    hidden, vocabulary = model.base.config.hidden_size, model.base.config.vocab_size
    x = torch.randn(3, hidden)
    made = {
        BASE: [lambda: torch.nn.functional.linear(x, torch.randn(2 * hidden, hidden))],
        HEAD: [lambda: torch.nn.functional.linear(x, torch.randn(vocabulary, hidden))],
        EXPERTS: [
            lambda: torch.bmm(x.expand(2, 3, hidden), torch.randn(2, hidden, 4)),
            lambda: torch.randn(3, 4) @ torch.randn(4, hidden),
            lambda: torch.mv(torch.randn(4, hidden), x[0]),
            lambda: torch.randn(4) @ torch.randn(4, hidden),
            lambda: torch.addmm(torch.zeros(hidden), torch.randn(3, 4), torch.randn(4, hidden)),
        ],
        SEEN: [
            lambda: torch.nn.functional.scaled_dot_product_attention(*[x.view(1, 1, 3, -1)] * 3)
        ],
        ELSE: [lambda: torch.nn.functional.rms_norm(x, (hidden,)), lambda: torch.cat([x, x])],
    }
    for part, operations in made.items():
        for operation in operations:
            with profiling(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
                operation()
            told = [
                timed.part(event.key, event.input_shapes)
                for event in seen.key_averages(group_by_input_shape=True)
            ]
            assert part in told and set(told) <= {part, ELSE}


def test_a_profile_is_told_in_words(llama, saved, capsys):
    given = ["--model", str(saved), "--base", str(llama.directory)]
    main(["bench", "--only", "profile", "--repeats", "1", *given])
    said = capsys.readouterr().out
    for words in ("reading a prompt: ", "one more token: ", HEAD, EXPERTS):
        assert words in said


def test_the_processors_time_leaves_out_waiting(llama, saved, monkeypatch):
    """What mostly waits takes 5 times as long by the wall's clock, and not by the processor's."""
    monkeypatch.setattr(
        "atmoe.bench.run.rows",
        lambda *a: {
            "now": [
                bench_scale.now() - before for before in [bench_scale.now()] if not time.sleep(0.3)
            ]
        },
    )
    waited = {
        p: bench(llama.model, saved, str(llama.directory), ["rows"], 5, 1, processor=p)["ratios"][
            "now"
        ]["median"]
        for p in (False, True)
    }
    assert waited[False] >= 0.3 > 0.1 > waited[True]


def test_start_is_of_a_process_of_its_own(llama, saved):
    """Its memory too: what this one takes, or took, does not count."""
    mine = bytearray(b"x" * 2**30)
    found = start(saved, str(llama.directory), "float32")
    assert (
        found["import_s"] > 0
        and found["load_s"] > 0
        and 50 < found["imports_mb"] <= found["peak_mb"]
    )
    parameters = {
        p.data_ptr(): p.nbytes
        for p in (*llama.model.base.parameters(), *llama.model.router.parameters())
    }
    assert found["weights_mb"] == pytest.approx(sum(parameters.values()) / 2**20, abs=0.02)
    assert found["peak_mb"] < len(mine) / 2**20
    assert found["own_to_weights"] * found["weights_mb"] == pytest.approx(
        found["peak_mb"] - found["imports_mb"], rel=0.05
    )


def test_prefills_of_the_base_read_the_same_tokens(llama):
    """What is timed against: the base model's own logits for the prompt."""
    model, plain, seen = llama.model, llama.base(), []
    plain.get_output_embeddings().register_forward_hook(lambda module, args, out: seen.append(out))
    assert bench_scale.base_prefill_speed(model, plain, "How is asthma treated?") > 0
    torch.testing.assert_close(
        seen[0], logits_of(model, "How is asthma treated?", RoutingPlan.off(LAYOUT))[-1:]
    )


# -- what was kept ----------------------------------------------------------------------------


def report(dtype="bfloat16", **ratios):
    return {
        "dtype": dtype,
        "threads": 1,
        "clock": "wall",
        "ratios": {name: {"median": value} for name, value in ratios.items()},
    }


def test_only_what_fell_below_nine_tenths_is_told():
    kept = report(a=2.0, b=1.0, unmeasured=9.0)
    assert check(report(a=1.81, b=5.0, new=0.1), kept) == []
    assert check(report(a=1.79, b=0.5), kept) == [
        "a fell to 1.79 from 2.00 (least allowed: 1.80)",
        "b fell to 0.50 from 1.00 (least allowed: 0.90)",
    ]
    with pytest.raises(AtMoeError, match="run it with --dtype bfloat16"):
        check(report("float32", a=2.0), kept)
    with pytest.raises(
        AtMoeError, match="clock processor, these of wall; run it with --clock processor"
    ):
        check(report(a=2.0), kept | {"clock": "processor"})
    with pytest.raises(AtMoeError, match="run it with OMP_NUM_THREADS=2"):
        check(report(a=2.0), kept | {"threads": 2})
    with pytest.raises(AtMoeError, match="None of the ratios measured was kept"):
        check(report(new=1.0), kept)


def test_the_command_exits_with_one_where_a_ratio_fell(capsys, llama, saved, tmp_path, monkeypatch):
    monkeypatch.setattr("atmoe.bench.run.bench", partial(bench, answer_tokens=8))
    arguments = [
        "bench",
        "--model",
        str(saved),
        "--base",
        str(llama.directory),
        "--repeats",
        "1",
        "--dtype",
        "float32",
        "--only",
        "rows",
    ]
    fine = run(capsys, *arguments)
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(report("float32", **{"rows 2 to 1": 1e-6, "rows 3 to 1": 1e-6})))
    assert run(capsys, *arguments, "--check", str(kept))["fallen"] == []
    main([*arguments, "--check", str(kept)])
    assert "The ratios kept are of another model" in capsys.readouterr().out
    own = {"model": fine["model"]} | json.loads(kept.read_text())
    kept.write_text(json.dumps(own))
    main([*arguments, "--check", str(kept)])
    assert "another model" not in capsys.readouterr().out
    kept.write_text(json.dumps(report("float32", **{"rows 2 to 1": 1e6, "rows 3 to 1": 1e-6})))
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--check", str(kept)])
    told = capsys.readouterr().err
    assert end.value.code == 1 and "atmoe: rows 2 to 1 fell to" in told and "rows 3" not in told
    assert set(fine["ratios"]) == {"rows 2 to 1", "rows 3 to 1"}
    kept.write_text("{}")
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--check", str(kept)])
    assert end.value.code == 2 and "holds no ratios of a bench" in capsys.readouterr().err


def test_the_command_knows_the_parts():
    assert cli.UNLESS_ASKED == UNLESS_ASKED == PARTS[: len(UNLESS_ASKED)]
