"""The command that times the program: bench."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from atmoe.cli.common import FLOATING, MEDICAL, Commands, Result, count, load_model
from atmoe.errors import AssetError

BENCH_PARTS = (
    "explanation",
    "decoding",
    "rows",
    "prefill",
    "sizes",
    "precision",
    "peers",
    "start",
)  # of atmoe.bench.run, which is slow to import


def bench(a: argparse.Namespace) -> Result:
    from atmoe.bench.run import PARTS, bench, check

    kept = _kept(a.check) if a.check else None
    report = bench(
        load_model(a),
        a.model,
        a.base,
        a.only or PARTS,
        repeats=a.repeats,
        processor=a.clock == "processor",
        gguf=a.gguf,
    )
    lines = [
        f"{report['dtype']}, {report['threads']} threads, {report['clock']} time, medians of {report['repeats']} (least to most); more is better",
        *(
            f"{name}: {r['median']:.2f} ({r['least']:.2f} to {r['most']:.2f})"
            for name, r in report["ratios"].items()
        ),
        *(
            f"{name}: imports {s['import_s']} s, loading {s['load_s']} s, at most {s['peak_mb']:.0f} MB: "
            f"{s['imports_mb']:.0f} before loading, and {s['own_to_weights']} times the weights"
            for name, s in report.get("start", {}).items()
        ),
    ]
    if kept is not None:
        report["fallen"] = check(report, kept)
        lines.append(
            "; ".join(report["fallen"]) + "."
            if report["fallen"]
            else f"No ratio fell below 0.9 of the one kept in {a.check}."
        )
    return report, "\n".join(lines)


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return {name: found[name] for name in ("dtype", "threads", "clock")} | {
            "ratios": {name: {"median": float(r["median"])} for name, r in found["ratios"].items()}
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(
            f"{path} holds no ratios of a bench ({error}); keep some with: python -m atmoe bench --json > {path}"
        ) from error


def add_commands(commands: Commands) -> None:
    """Put it among the others."""
    parser = commands.add(
        "bench",
        bench,
        "What decoding, reading and explaining cost beside transformers, PEFT and X-LoRA, interleaved in one run.",
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
        help=f"of {', '.join(BENCH_PARTS)} (default: all)",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="what to time by; on a machine that others use, "
        "processor, with OMP_NUM_THREADS=1 (default: wall)",
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
        help="exit with 1 "
        "where a ratio fell below 0.9 of the one kept in FILE (default: the medical model's report)",
    )
