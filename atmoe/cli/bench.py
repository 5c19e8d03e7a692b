"""The command that times the program: bench."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atmoe.bench import PARTS as BENCH_PARTS
from atmoe.bench import UNLESS_ASKED
from atmoe.cli.common import FLOATING, MEDICAL, Commands, Result, count
from atmoe.cli.given import load_model
from atmoe.errors import AssetError, AtMoeError

PROFILED = {"prompt": "reading a prompt", "token": "one more token"}
"""What is profiled, in words."""


def bench(a: argparse.Namespace) -> Result:
    """Ratios of times, and which of them fell."""
    from atmoe.bench.ratios import check
    from atmoe.bench.run import bench

    if a.device not in (None, "cpu"):
        raise AtMoeError("bench compares what runs on a CPU; leave --device out.")
    a.device = "cpu"
    before = _read(a.check) if a.check else None
    report = bench(
        load_model(a),
        a.model,
        a.base,
        a.only or UNLESS_ASKED,
        repeats=a.repeats,
        processor=a.clock == "processor",
        gguf=a.gguf,
        people=a.people,
        seconds=a.seconds,
    )
    lines = list(_ratios(report))
    if before is not None:
        report["fallen"] = check(report, before)
        if report["fallen"]:
            lines.append("; ".join(report["fallen"]) + ".")
        else:
            lines.append(f"No ratio fell below 0.9 of the one kept in {a.check}.")
        report["kept_model"] = before["model"]
        if before["model"] != report["model"]:
            lines.append(
                "The ratios kept are of another model, whose base, experts or ranks may be others; "
                "keep some of this one with --json."
            )
    return report, "\n".join(lines)


def _ratios(report: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{report['dtype']}, {report['threads']} threads, {report['clock']} time, medians of "
        f"{report['repeats']} (least to most); more is better"
    )
    for name, ratio in report["ratios"].items():
        yield f"{name}: {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
    for name, start in report.get("start", {}).items():
        yield (
            f"{name}: imports {start['import_s']} s, loading {start['load_s']} s, at most "
            f"{start['peak_mb']:.0f} MB: {start['imports_mb']:.0f} before loading, and "
            f"{start['own_to_weights']} times the weights"
        )
    yield from _of_page(report)
    yield from _profile(report)


def _of_page(report: Mapping[str, Any]) -> Iterator[str]:
    """Many people at once, and the page's memory."""
    if load := report.get("load"):
        words, mb = load["first_words_s"], load["mb"]
        yield (
            f"{load['people']} people for {load['seconds']:g} s, {load['precision']}: "
            f"{load['answers']} answers, {load['refused']} refused, {load['lost']} lost, "
            f"{load['other_than_alone']} other than alone; first words after {words['median']} s, "
            f"{words['most']} at most, {words['alone']} of one person; of everybody's first "
            f"question after {words['newcomers']} s, where the cores allow {words['cores_allow']}; "
            f"{load['out_of_order']:.1%} out of order; memory "
            f"{mb['at_the_end']:+d} MB, {mb['after_they_left']:+d} after they left"
        )
    if page := report.get("memory"):
        yield (
            f"the page, {page['precision']}: {page['ready_mb']} MB once it is there, "
            f"{page['peak_mb']} at most, of it the libraries {page['libraries_mb']}; the rest is "
            f"{page['own_to_weights']} times its weights in bfloat16"
        )


def _profile(report: Mapping[str, Any]) -> Iterator[str]:
    """Where the time of a prompt and of a token goes, in each precision."""
    for precision, stretches in report.get("profile", {}).items():
        for stretch, shares in stretches.items():
            told = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
            yield f"{precision}, {PROFILED[stretch]}: {told}"
            by = report["operators"][precision][stretch]
            told = "; ".join(f"{part} by {', '.join(names)}" for part, names in by.items() if names)
            yield f"{precision}, {PROFILED[stretch]}, operators: {told}"


def _read(path: Path) -> dict[str, Any]:
    """What `check` takes, out of the report of another run."""
    try:
        report = json.loads(path.read_text())
        conditions = {name: report[name] for name in ("dtype", "threads", "clock")}
        medians = {
            name: {"median": float(ratio["median"])} for name, ratio in report["ratios"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(
            f"{path} holds no ratios of a bench ({error}); keep some with: "
            f"python -m atmoe bench --json > {path}"
        ) from error
    return conditions | {"ratios": medians, "model": report.get("model")}


def add_commands(commands: Commands) -> None:
    """Put it among the others."""
    parser = commands.add(
        "bench",
        bench,
        "What decoding, reading and explaining cost beside transformers, PEFT and X-LoRA, "
        "interleaved in one run.",
        [commands.of_model("bfloat16", FLOATING)],
    )
    parser.add_argument(
        "--repeats", type=count, default=5, metavar="N", help="of each measurement (default: 5)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BENCH_PARTS,
        metavar="PART",
        help=f"of {', '.join(BENCH_PARTS)} (default: all but load and memory, which "
        "start the page, app.py of a checkout)",
    )
    parser.add_argument(
        "--people", type=count, default=50, metavar="N", help="of load, at once (default: 50)"
    )
    parser.add_argument(
        "--seconds", type=count, default=60, metavar="N", help="of load (default: 60)"
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="what to time by; on a machine that others use, processor, with OMP_NUM_THREADS=1 "
        "(default: wall)",
    )
    parser.add_argument(
        "--gguf",
        type=Path,
        metavar="FILE",
        help="the base as a GGUF file: compare with llama.cpp too (pip install llama-cpp-python)",
    )
    parser.add_argument(
        "--check",
        nargs="?",
        type=Path,
        const=MEDICAL / "reports" / "bench.json",
        metavar="FILE",
        help="exit with 1 where a ratio fell below 0.9 of the one kept in FILE (default: the "
        "medical model's report)",
    )
