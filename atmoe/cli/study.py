"""The commands that measure a model on data: evaluate, evaluate-{routing,control,strength} and faithfulness."""

from __future__ import annotations

import argparse
from pathlib import Path

from atmoe.cli.common import BASELINES, SPLIT, Commands, Result, count, described, load_model


def evaluate(a: argparse.Namespace) -> Result:
    from atmoe.study.evaluate import choose, evaluate

    description, examples = _held_out(a)
    chosen = choose(examples, a.limit, a.seed, description.main_group)
    model = load_model(a)
    scorers, missing = _baselines(a, model) if a.baselines else ({}, {})
    result = evaluate(model, chosen, scorers, single_experts=bool(a.baselines)) | {
        "not_measured": missing
    }
    nll = result["nll"]
    tasks = list(nll["base"]["tasks"])
    rows = [("plan", "macro", "95% interval", "minus router", *tasks)]
    between = lambda pair, sign="": " to ".join(f"{x:{sign}.3f}" for x in pair)
    for name, row in sorted(nll.items(), key=lambda item: -item[1]["macro"]):
        minus = between(row["minus_router"]["interval"], "+") if "minus_router" in row else ""
        rows.append(
            (
                name,
                f"{row['macro']:.3f}",
                between(row["interval"]),
                minus,
                *(f"{row['tasks'][t]:.3f}" for t in tasks),
            )
        )
    rows[1:1] = [("---",) * len(rows[0])]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    agreement = ", ".join(f"{g} {v:.1%}" for g, v in result["agreement"].items())
    lines = [
        table,
        f"nats per answer token over {result['examples']} examples, {result['tokens']} tokens; intervals over "
        f"diseases; top-1 agreement: {agreement}; {result['seconds']} s",
    ]
    return result, "\n".join(
        lines + [f"not measured: {name}: {why}" for name, why in missing.items()]
    )


def _held_out(a):
    from atmoe.data import split

    description = described(a)
    return description, [e for e in description.examples() if a.split in ("all", split(e))]


def _baselines(a, model) -> tuple[dict, dict[str, str]]:
    """Scorers of the baselines whose weights are there, and what to do about those whose are not."""
    from functools import partial

    from atmoe import AtMoe
    from atmoe.errors import AtMoeError
    from atmoe.routing.plan import RoutingPlan
    from atmoe.study import baselines as b

    def lora():
        one = AtMoe.from_pretrained(a.baselines / "lora", a.base, model.bank.dtype)
        return lambda prompts, answers: one.score_rows(
            prompts, answers, [RoutingPlan.uniform(one.layout)] * len(prompts)
        )[0]

    def xlora():
        return partial(
            b.score_rows,
            model,
            b.load_classifier(b.xlora_model(model, a.model, a.base), a.baselines / "xlora"),
        )

    made, missing = {}, {}
    for name, make in (
        ("lora", lora),
        ("xlora", xlora),
        ("arrow", lambda: partial(b.score_rows, model, b.arrow_model(model, a.model, a.base))),
    ):
        try:
            made[name] = make()
        except AtMoeError as error:
            missing[name] = (
                f"{error} (python -m atmoe train baseline {name})"
                if name != "arrow"
                else str(error)
            )
    return made, missing


def evaluate_routing(a: argparse.Namespace) -> Result:
    from atmoe.study.evaluate import choose
    from atmoe.study.routing import study

    description, examples = _held_out(a)
    report = study(
        load_model(a),
        examples,
        choose(examples, a.limit, a.seed, description.main_group),
        description,
        a.instructions,
        a.seed,
    )
    two, lines = (
        report["two_needs"],
        [
            f"{report['instructions']} instructions in unseen words; the largest share is the label's: "
            + ", ".join(f"{g} {v:.1%}" for g, v in report["agreement"].items())
        ],
    )
    if two["instructions"]:
        lines.append(
            f"{two['instructions']} with two needs: both the two largest {two['both_largest']:.1%}, each above twice "
            f"its uniform share {two['both_above_twice_uniform']:.1%}, both at once {two['both']:.1%}"
        )
    lines.append(
        f"loss {report['loss']:.3f}; with the average plan: "
        + ", ".join(
            f"{band} {x['loss_with_average_plan']:.3f}" for band, x in report["bands"].items()
        )
    )
    least, most = (f(report["load"].items(), key=lambda item: item[1]) for f in (min, max))
    lines.append(
        f"weight: least {least[0]} {least[1]:.1%}, most {most[0]} {most[1]:.1%}; {report['seconds']} s"
    )
    return report, "\n".join(lines)


def evaluate_control(a: argparse.Namespace) -> Result:
    from atmoe.study.control import study

    _, examples = _held_out(a)
    report = study(
        load_model(a), examples, a.text_group, *a.readers, a.limit, a.seed, answers=a.answers
    )
    lines = []
    for group, doses in report["groups"].items():
        for dose, found in doses.items():
            for name, part in (
                found.items()
                if "mean" not in found
                else [("log-probability of the reference", found)]
            ):
                lines.append(
                    f"{group}, {dose}'s share, {name}: "
                    + " ".join(f"{x:.3f}" for x in part["mean"])
                    + f"; Spearman {part['median_spearman']:+.2f} in the median, monotone {part['monotone']:.0%}"
                )
    for group, wrong in report["wrong"].items():
        lines.append(
            f"{group}: a wrong expert is worse than the right one in {wrong['worse_than_right']:.1%} of {wrong['pairs']} pairs "
            f"(mean over wrong experts: {wrong['mean_worse_than_right']:.0%} of {wrong['prompts']} prompts)"
        )
    for by, contrast in report.get("contrast", {}).items():
        lines.append(
            f"{a.readers[0]} against {a.readers[1]}, {by} at 100%: reads easier in "
            f"{contrast[a.readers[0] + '_reads_easier']:.0%} of {contrast['prompts']} prompts"
        )
    return report, "\n".join([*lines, f"{report['seconds']} s"])


def faithfulness(a: argparse.Namespace) -> Result:
    from atmoe.study.control import sample
    from atmoe.study.faithfulness import study

    description, examples = _held_out(a)
    model = load_model(a)
    report = study(
        model, [e.prompt for e in sample(examples, description.main_group, a.limit, a.seed)], a.seed
    )
    number = lambda x, form: "not defined" if x is None else format(x, form)
    lines = [f"{report['prompts']} prompts, {report['answer_tokens']} answer tokens"]
    for lens, found in report["kendall"].items():
        lines.append(
            f"Kendall's tau-b of {lens} and effect: "
            + ", ".join(f"{kind} {number(tau, '+.2f')}" for kind, tau in found.items())
        )
    lines.append(
        "the expert with most weight is the one whose removal costs most: "
        + ", ".join(f"{g} {x:.0%}" for g, x in report["top_expert_agrees"].items())
    )
    lines.append(
        f"normalised comprehensiveness {number(report['comprehensiveness'], '.2f')}, sufficiency "
        f"{number(report['sufficiency'], '.2f')}; deletion percentile {number(report['deletion_percentile'], '.0f')}"
    )
    lines.append(
        f"another prompt's plan: explains worse in {report['sanity']['explains_worse']:.0%}, makes the answer less likely in "
        f"{report['sanity']['less_likely']:.0%}"
    )
    lines.append(
        f"Shapley additivity error {number(report['shapley_error'], '.1e')}; verdicts: "
        + ", ".join(f"{level} {count}" for level, count in report["verdicts"].items())
        + f"; {report['seconds']} s"
    )
    return report, "\n".join(lines)


def evaluate_strength(a: argparse.Namespace) -> Result:
    from datetime import date

    from atmoe.study.control import sample
    from atmoe.study.strength import study

    description, examples = _held_out(a)
    # Questions alone: a dialogue or an abstract settles how one writes.
    chosen = sample(
        [e for e in examples if not e.material] or examples, description.main_group, a.limit, a.seed
    )
    report = study(load_model(a), [e.prompt for e in chosen], a.seed)
    report |= {
        "date": date.today().isoformat(),
        "command": f"python -m atmoe evaluate-strength --data DIR --split {a.split} --limit {a.limit} "
        f"--seed {a.seed} --dtype {a.dtype} --json",
    }
    low, high = report["range"]["repeated"]
    lines = [
        f"{report['prompts']} prompts; at strength 1 nine in ten answers repeat {low:.1%} to {high:.1%} of their trigrams"
    ]
    for row in report["by_strength"]:
        repeated, logp = row["repeated"], row["logp"]
        lines.append(
            f"strength {row['strength']:g}: repeated trigrams {repeated['median']:.1%} in the median, above that range in "
            f"{repeated['outside']:.0%} of answers; mean log-probability {logp['median']:.2f}, below its range in {logp['outside']:.0%}"
        )
    lines.append(
        "the median answer leaves the range "
        + (
            "at no strength"
            if report["leaves"] is None
            else f"from strength {report['leaves']:g} on"
        )
    )
    return report, "\n".join([*lines, f"{report['seconds']} s"])


def add_commands(commands: Commands) -> None:
    """Put them among the others."""
    model = commands.of_model("float32")
    parser = commands.add(
        "evaluate",
        evaluate,
        "Score examples under the base model and the uniform, router's and label's plans.",
        [model, commands.data],
    )
    parser.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help="a seeded sample of N examples a task (default: all)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of that sample (default: 0)"
    )
    parser.add_argument(
        "--split",
        choices=("all", "validation", "train"),
        default="all",
        help="examples of which diseases (default: all)",
    )
    parser.add_argument(
        "--baselines",
        nargs="?",
        type=Path,
        const=BASELINES,
        metavar="DIR",
        help="also score single experts, PEFT's "
        "Arrow, and the baselines trained into DIR (default: baselines)",
    )

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
    parser.add_argument(
        "--limit",
        type=count,
        default=20,
        metavar="N",
        help="answers a task that are scored by band (default: 20)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)"
    )
    parser.add_argument("--split", **SPLIT)
    parser = commands.add(
        "evaluate-control",
        evaluate_control,
        "Is the control real? Dose and response for every group.",
        [model, commands.data],
    )
    parser.add_argument(
        "--limit", type=count, default=40, metavar="N", help="prompts a group (default: 40)"
    )
    parser.add_argument(
        "--answers",
        type=count,
        default=1,
        metavar="N",
        help="generated for a prompt at each dose: the likeliest one, or "
        "several at temperature 0.7, whose mean counts (default: 1)",
    )
    parser.add_argument(
        "--text-group",
        default="audience",
        metavar="GROUP",
        help="the group that is measured in generated text",
    )
    parser.add_argument(
        "--readers",
        nargs=2,
        default=("patient", "professional"),
        metavar=("EASY", "HARD"),
        help="two of its experts",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)"
    )
    parser.add_argument("--split", **SPLIT)

    parser = commands.add(
        "faithfulness",
        faithfulness,
        "Do the routing weights explain the answers? Weight against measured effect.",
        [model, commands.data],
    )
    parser.add_argument(
        "--limit",
        type=count,
        default=60,
        metavar="N",
        help="prompts, of different diseases (default: 60)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)"
    )
    parser.add_argument("--split", **SPLIT)

    parser = commands.add(
        "evaluate-strength",
        evaluate_strength,
        "From which strength on do answers run in circles? Repeated trigrams and "
        "log-probability at strengths 0 to 2.",
        [model, commands.data],
    )
    parser.add_argument(
        "--limit",
        type=count,
        default=40,
        metavar="N",
        help="prompts, of different diseases (default: 40)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)"
    )
    parser.add_argument("--split", **SPLIT)
