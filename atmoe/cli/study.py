"""The commands that measure a model on data: evaluate-{routing,control,strength,answers}."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from atmoe.cli import faithfulness, losses
from atmoe.cli.common import Commands, Result, count
from atmoe.cli.given import load_model
from atmoe.cli.measuring import NO_WORDING, command, drawn, held_out, limit, number
from atmoe.wording import fraction

Report = Mapping[str, Any]


def evaluate_routing(a: argparse.Namespace) -> Result:
    """Whether the router reads the need."""
    from atmoe.study.evaluate import choose
    from atmoe.study.routing import study

    description, examples = held_out(a)
    report = study(
        load_model(a),
        examples,
        choose(examples, a.limit, a.seed, description.main_group),
        description,
        a.instructions,
        a.seed,
    )
    return report, "\n".join(_routing(report))


def _routing(report: Report) -> Iterator[str]:
    agreement = ", ".join(f"{g} {v:.1%}" for g, v in report["agreement"].items())
    yield (
        f"{report['instructions']} instructions in unseen words; the largest share is the label's: "
        f"{agreement}"
    )
    for group, read in report["reading"].items():
        yield (
            f"{group}, of {read['labels']} labels: read and taking part "
            f"{read['right_taking_part']:.1%}, read but the group takes no part "
            f"{read['right_absent']:.1%}, misread {read['wrong']:.1%}"
        )
    for group, told in report["doubt"].items():
        wrong, otherwise = (fraction(told[which]) for which in ("wrong", "wrong_else"))
        yield (
            f"{group}, where it takes part, is in doubt in {told['share']:.1%}, and then wrong in "
            f"{wrong}, else in {otherwise}"
        )
    two = report["two_needs"]
    if two["instructions"]:
        yield (
            f"{two['instructions']} with two needs: both the two largest "
            f"{two['both_largest']:.1%}, each above twice its uniform share "
            f"{two['both_above_twice_uniform']:.1%}, both at once {two['both']:.1%}"
        )
    bands = ", ".join(
        f"{band} {loss['loss_with_average_plan']:.3f}" for band, loss in report["bands"].items()
    )
    yield f"loss {report['loss']:.3f}; with the average plan: {bands}"
    loads = report["load"]
    least, most = min(loads, key=loads.__getitem__), max(loads, key=loads.__getitem__)
    yield (
        f"weight: least {least} {loads[least]:.1%}, most {most} {loads[most]:.1%}; "
        f"{report['seconds']} s"
    )


def evaluate_control(a: argparse.Namespace) -> Result:
    """Dose and response of every group."""
    from atmoe.study.control import TEXT_GROUP, study

    _, examples = held_out(a)
    easy, hard = a.readers or ("patient", "professional")
    # who names readers means a group, though it be the default
    text_group = a.text_group or (TEXT_GROUP if a.readers else None)
    report = study(
        load_model(a), examples, text_group, easy, hard, a.limit, a.seed, answers=a.answers
    )
    return report, "\n".join(_control(report, easy, hard))


def _control(report: Report, easy: str, hard: str) -> Iterator[str]:
    for group, doses in report["groups"].items():
        if not doses:
            yield f"{group}: no prompt has an answer at every dose that can be graded"
        for dose, response in doses.items():
            # Of generated text several measures, of reference answers one.
            measures = response
            if "mean" in response:
                measures = {"log-probability of the reference": response}
            for name, curve in measures.items():
                means = " ".join(f"{x:.3f}" for x in curve["mean"])
                yield (
                    f"{group}, {dose}'s share, {name}: {means}; Spearman "
                    f"{curve['median_spearman']:+.2f} in the median, monotone "
                    f"{curve['monotone']:.0%} of {curve['prompts']} prompts"
                )
    if any(dose.startswith("expert") for doses in report["groups"].values() for dose in doses):
        yield (
            "expert's share: where its group takes no part in the router's plan, any dose above 0 "
            "calls the group in, and the step from 0 to 25% is mostly that"
        )
    for group, wrong in report["wrong"].items():
        yield (
            f"{group}: a wrong expert is worse than the right one in "
            f"{wrong['worse_than_right']:.1%} of {wrong['pairs']} pairs (mean over wrong experts: "
            f"{wrong['mean_worse_than_right']:.0%} of {wrong['prompts']} prompts)"
        )
    for by, contrast in report.get("contrast", {}).items():
        yield (
            f"{easy} against {hard}, {by} at 100%: reads easier in "
            f"{contrast[easy + '_reads_easier']:.0%} of {contrast['prompts']} prompts"
        )
    yield f"{report['seconds']} s"


def evaluate_answers(a: argparse.Namespace) -> Result:
    """Whether answers read well, and answer both of two needs."""
    from atmoe.study.answers import study

    _, examples = held_out(a)
    report = study(load_model(a), examples, a.limit, a.seed)
    return report, "\n".join(_answers(report))


def _answers(report: Report) -> Iterator[str]:
    yield (
        f"{report['answers']} answers, {report['reworded']} of them to questions put in other "
        f"words: {report['echoed']} begin with a question put to "
        f"themselves; {report['listing']} hold a list, {report['flattened']} of them in running "
        f"text; {report['patient']} speak of a patient whom nobody mentioned"
    )
    both = report["both_needs"]
    if both:
        gained = ", ".join(f"{need} {number(x, '.0%')}" for need, x in both["gained"].items())
        yield (
            f"{both['pairs']} pairs of needs: asked together, references gain of what they gain "
            f"alone: {gained}; both at least 70% in {number(both['kept'], '.0%')} of the "
            f"{both['gaining']} pairs in which each gains alone; both experts take part in "
            f"{both['in_team']:.0%} of all"
        )
    else:
        yield f"pairs of needs: none; {NO_WORDING}"
    yield f"{report['seconds']} s"


def evaluate_strength(a: argparse.Namespace) -> Result:
    """From which strength on answers run in circles."""
    from datetime import date

    from atmoe.study.control import sample
    from atmoe.study.strength import study

    command_run = command(a, "evaluate-strength", "split", "limit", "seed")
    description, examples = held_out(a)
    # Questions alone: a dialogue or an abstract settles how one writes.
    questions = [e for e in examples if not e.material] or examples
    chosen = sample(questions, description.main_group, a.limit, a.seed)
    report = study(load_model(a), [e.prompt for e in chosen], a.seed)
    report |= {"date": date.today().isoformat(), "command": command_run}
    return report, "\n".join(_strength(report))


def _strength(report: Report) -> Iterator[str]:
    low, high = report["range"]["repeated"]
    yield (
        f"{report['prompts']} prompts; at strength 1 nine in ten answers repeat {low:.1%} to "
        f"{high:.1%} of their trigrams"
    )
    for row in report["by_strength"]:
        repeated, logp = row["repeated"], row["logp"]
        yield (
            f"strength {row['strength']:g}: repeated trigrams {repeated['median']:.1%} in the "
            f"median, above that range in {repeated['outside']:.0%} of answers; mean "
            f"log-probability {number(logp['median'], '.2f')}, below its range in "
            f"{number(logp['outside'], '.0%')}"
        )
    leaves = report["leaves"]
    yield "the median answer leaves the range " + (
        "at no strength" if leaves is None else f"from strength {leaves:g} on"
    )
    yield f"{report['seconds']} s"


def add_commands(commands: Commands) -> None:
    """Put them among the others."""
    model = commands.of_model("float32")
    losses.add_command(commands)

    parser = commands.add(
        "evaluate-routing",
        evaluate_routing,
        "Does the router read the need? Instructions in unseen words, by layer band.",
        [model, commands.data],
    )
    parser.add_argument(
        "--instructions",
        type=count,
        default=400,
        metavar="N",
        help="of one need; half as many of two (default: 400)",
    )
    limit(parser, 20, "answers a task that are scored by band")
    drawn(parser)

    parser = commands.add(
        "evaluate-control",
        evaluate_control,
        "Is the control real? Dose and response for every group.",
        [model, commands.data],
    )
    limit(parser, 40, "prompts a group")
    parser.add_argument(
        "--answers",
        type=count,
        default=1,
        metavar="N",
        help="generated for a prompt at each dose: the likeliest one, or several at temperature "
        "0.7, whose mean counts (default: 1)",
    )
    parser.add_argument(
        "--text-group",
        metavar="GROUP",
        help="the group that is measured in generated text (default: audience, where the model has "
        "it and its description says language: en)",
    )
    parser.add_argument(
        "--readers",
        nargs=2,
        metavar=("EASY", "HARD"),
        help="two of its experts (default: patient professional)",
    )
    drawn(parser)

    faithfulness.add_command(commands)

    parser = commands.add(
        "evaluate-answers",
        evaluate_answers,
        "Do answers read well, and answer both of two needs? Echoes, lists, invented patients.",
        [model, commands.data],
    )
    limit(parser, 60, "questions, and pairs of needs")
    drawn(parser)

    parser = commands.add(
        "evaluate-strength",
        evaluate_strength,
        "From which strength on do answers run in circles? Repeated trigrams and "
        "log-probability at strengths 0 to 2.",
        [model, commands.data],
    )
    limit(parser, 40, "prompts, of different topics")
    drawn(parser)
