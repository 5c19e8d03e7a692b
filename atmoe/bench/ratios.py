"""Ratios, more of which is better: how they spread, and whether one fell since another run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from atmoe.errors import AtMoeError

FALLS = 0.9
"""A ratio below this part of the one kept has fallen."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Of one ratio, measured several times."""
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def inverse(spread: Mapping[str, float]) -> dict[str, float]:
    """Of the ratio's two sides the other way round."""
    return {
        "median": round(1 / spread["median"], 3),
        "least": round(1 / spread["most"], 3),
        "most": round(1 / spread["least"], 3),
    }


def of_load(told: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What `atmoe.bench.load.load` told, as shares of 1, and of what the machine allows."""
    people = f"{told['people']} people"
    shares = {f"{people}, pairs served in order": 1 - told["out_of_order"]}
    if asked := told["answers"] + told["refused"] + told["lost"]:
        shares[f"{people}, served"] = told["answers"] / asked
    if told["answers"]:
        as_alone = 1 - told["other_than_alone"] / told["answers"]
        shares[f"{people}, answered as alone"] = as_alone
    if words := told["first_words_s"]["newcomers"]:
        shares[f"{people}, first words the cores allow to first words"] = (
            told["first_words_s"]["cores_allow"] / words
        )
    return {name: spread([share]) for name, share in shares.items()}


def of_memory(took: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What `atmoe.bench.taken.memory` told; nothing where the system did not tell the peak."""
    own = took["own_to_weights"]
    return {} if own is None else {"weights to the page's own memory": spread([1 / own])}


def check(report: dict, before: dict) -> list[str]:
    """A sentence for each ratio that fell below `FALLS` of the one kept, of those measured in both.

    Args:
        report: of this run.
        before: the report that was kept of another, or what it says of "dtype", "threads", "clock"
            and "ratios".

    Raises:
        AtMoeError: the two were measured in different ways, or have no ratio in common.
    """
    for what, fix in (
        ("dtype", "--dtype {}"),
        ("threads", "OMP_NUM_THREADS={}"),
        ("clock", "--clock {}"),
    ):
        if report[what] != before[what]:
            raise AtMoeError(
                f"The ratios kept are of {what} {before[what]}, these of {report[what]}; run it "
                f"with {fix.format(before[what])}."
            )
    both = [name for name in report["ratios"] if name in before["ratios"]]
    if not both:
        raise AtMoeError(
            "None of the ratios measured was kept; name the parts that were with --only, or keep "
            "these with --json."
        )
    fallen = []
    for name in both:
        now, then = report["ratios"][name]["median"], before["ratios"][name]["median"]
        if now < FALLS * then:
            fallen.append(
                f"{name} fell to {now:.2f} from {then:.2f} (least allowed: {FALLS * then:.2f})"
            )
    return fallen
