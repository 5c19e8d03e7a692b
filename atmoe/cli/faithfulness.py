"""The command that asks whether the weights explain the answers: faithfulness."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from atmoe.cli import many
from atmoe.cli.common import Commands, Result
from atmoe.cli.given import load_model, named
from atmoe.cli.measuring import between, drawn, held_out, limit, number
from atmoe.errors import DataError

Report = Mapping[str, Any]
PROMPTS = 60
"""How many it is measured over, unless another number is asked for."""


def faithfulness(a: argparse.Namespace) -> Result:
    """Whether the weights explain the answers, to questions of the corpora or of a file."""
    from atmoe.study.control import sample
    from atmoe.study.faithfulness import study

    if many.wanted(a):
        return _of_file(a)
    a.split = a.split or "validation"
    description, examples = held_out(a)
    model = load_model(a)
    chosen = sample(examples, description.main_group, a.limit or PROMPTS, a.seed)
    report = study(model, [e.prompt for e in chosen], a.seed)
    return report, "\n".join([*_lines(report), f"{report['seconds']} s"])


def _of_file(a: argparse.Namespace) -> Result:
    """The same of the questions of a file; what was measured of each goes to another."""
    from atmoe.study.faithfulness import Judged, summary

    if a.limit or a.split or named(a):
        raise DataError(
            "--prompts FILE brings its own questions, all of which are asked; leave the corpora, "
            "the description, --limit and --split out."
        )
    result, said = many.many(a, "faithfulness")
    with a.out.open(encoding="utf-8") as file:
        rows = [Judged.from_dict(row) for row in map(json.loads, file) if not row.get("error")]
    report = {**summary(rows, a.seed), **result}
    return report, "\n".join([*_lines(report), said])


def _lines(report: Report) -> Iterator[str]:
    yield f"{report['prompts']} prompts, {report['answer_tokens']} answer tokens"
    for measure, taus in report["kendall"].items():
        by_kind = ", ".join(f"{kind} {number(tau, '+.2f')}" for kind, tau in taus.items())
        yield f"Kendall's tau-b of {measure} and effect: {by_kind}"
    agrees = ", ".join(f"{g} {x:.0%}" for g, x in report["top_expert_agrees"].items())
    yield f"the expert with most weight is the one whose removal costs most: {agrees}"
    several = report["among_several"]
    yield f"where several of a group have weight: {several['agree']} of {several['of']}"
    yield (
        f"normalised comprehensiveness {number(report['comprehensiveness'], '.2f')}, sufficiency "
        f"{number(report['sufficiency'], '.2f')}; deletion percentile "
        f"{number(report['deletion_percentile'], '.0f')}"
    )
    sanity = report["sanity"]
    yield (
        f"another prompt's plan: explains worse in {sanity['explains_worse']:.0%}, makes the "
        f"answer less likely in {number(sanity['less_likely'], '.0%')}"
    )
    verdicts = ", ".join(f"{level} {n}" for level, n in report["verdicts"].items())
    shuffled = ", ".join(f"{level} {n}" for level, n in report["verdicts_shuffled"].items())
    for group, (mean, *ends) in report.get("late_minus_early", {}).items():
        yield (
            f"{group}: {mean:+.0%} of all effects more in the late third than in the early one "
            f"({between(None if None in ends else ends, '+.0%')})"
        )
    yield f"{report['team_size']:.1f} experts take part on average"
    yield f"verdicts with another prompt's weights: {shuffled}"
    taus = ", ".join(f"{m} {number(t, '+.2f')}" for m, t in report["kendall_shapley"].items())
    yield f"Kendall's tau-b with the groups' Shapley values: {taus}"
    yield (
        f"Shapley additivity error {number(report['shapley_error'], '.1e')}; verdicts: {verdicts}"
    )


def add_command(commands: Commands) -> None:
    """Put it among the others."""
    model = commands.of_model("float32")
    parser = commands.add(
        "faithfulness",
        faithfulness,
        "Do the routing weights explain the answers? Weight against measured effect.",
        [model, commands.data],
    )
    limit(parser, PROMPTS, "prompts, of different topics")
    drawn(parser)
    # so that it can be told whether they were given
    parser.set_defaults(limit=None, split=None)
    many.arguments(parser)
