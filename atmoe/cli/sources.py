"""The commands about where answers come from: index, evaluate-sources, evaluate-familiarity."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe import files
from atmoe.cli.common import Commands, Result, count
from atmoe.cli.given import described, load_model
from atmoe.cli.measuring import NO_WORDING, between, seed

if TYPE_CHECKING:
    from atmoe import AtMoe
    from atmoe.data import Description
    from atmoe.data.schema import Example
    from atmoe.sources.outside import Lines

Report = Mapping[str, Any]


def index(a: argparse.Namespace) -> Result:
    """Make the index of what the experts learned from, and the list of its words."""
    from atmoe.sources.index import FOLDER

    if a.out:
        files.must_be_folder(a.out)
    description = described(a)
    lines = lines_of(description)
    return indexed(load_model(a), description.examples(), lines, a.out or a.model / FOLDER, a.seed)


def lines_of(description: Description) -> Lines | None:
    """Those that familiarity is fitted with and tested on; None = the description names none."""
    from atmoe.sources.outside import Lines

    return Lines.load(description.familiarity) if description.familiarity else None


def indexed(
    model: AtMoe, examples: Sequence[Example], lines: Lines | None, out: Path, seed: int = 0
) -> Result:
    """Write the index of a model's training examples, and the words that stand in them.

    Args:
        model: the trained one.
        examples: of both sides of the split.
        lines: that familiarity is fitted with; None = it is not measured.
        out: a folder.
        seed: of what is drawn.
    """
    from atmoe.data import split
    from atmoe.errors import AssetError
    from atmoe.flags.untaught import made
    from atmoe.sources.fitting import FitSettings, make_index

    settings = FitSettings(seed=seed)
    index = make_index(model, examples, settings, own_lines=lines)
    index.save(out)
    taught = (example for example in examples if split(example) == "train")
    try:
        words = made(taught, model.tokenizer, model.info.sha256)
        words.save(out)
        listed = f"{words.keys:,} words"
    except AssetError as error:  # the index stands without
        words, listed = None, f"no list of words ({error})"
    facts, ranked = index.facts, len(index.tensors.unseen)
    if ranked:
        familiar = f"familiarity is a rank among {ranked:,} questions"
    elif lines is None:
        familiar = "familiarity is not measured (the description names no lines for it)"
    else:
        familiar = (
            f"familiarity is not measured (that takes {settings.least} questions about topics that "
            "were held back, and lines that the model reads)"
        )
    size = sum(file.stat().st_size for file in out.iterdir() if file.is_file())
    report = {
        "examples": len(facts),
        "sources": len(facts.sources),
        "topics": len(facts.topics),
        "addresses": sum(bool(address) for address in facts.addresses),
        "words": words and words.keys,
        "familiarity": ranked or None,
        "bytes": size,
    }
    return report, (
        f"{len(facts):,} examples about {len(facts.topics):,} topics from {len(facts.sources)} "
        f"sources and {listed}, {size / 2**20:.1f} MB in {out}; {familiar}"
    )


def evaluate_sources(a: argparse.Namespace) -> Result:
    """Whether the nearest examples are about what a question is about."""
    from atmoe.study.sources import study

    description = described(a)
    model, examples = load_model(a), description.examples()
    report = study(model, examples, a.questions, a.gradients, a.seed)
    report["retrained"] = None
    if a.retrain:
        from atmoe.train import removal
        from atmoe.train.experts import ExpertSettings, new_model

        settings = ExpertSettings(seed=a.seed, dtype=model.precision)
        fresh = new_model(description, settings, a.base, beside=model.info)
        report["retrained"] = removal.study(model, fresh, examples, a.retrain, a.seed)
    return report, "\n".join(_sources(report))


def _sources(report: Report) -> Iterator[str]:
    yield from _ways(report["ways"])
    time = report["milliseconds"]
    yield (
        f"{report['examples']:,} examples; a look-up takes {time['median']} ms of a processor in "
        f"the median, {time['most']} ms at most; intervals over topics; {report['seconds']} s"
    )
    columns = " ".join(next(iter(report["ways"].values())))
    missing = [what for what in ("reach", "rephrased") if what not in columns]
    if missing:
        yield f"{' and '.join(missing)}: not measured; {NO_WORDING}"
    few = report["gradients"]
    if few is None:
        yield "gradients: not measured (--gradients N)"
    else:
        yield f"\namong {few['examples']} examples, {few['questions']} questions:"
        yield from _ways(few["ways"])
    again = report["retrained"]
    if again is None:
        yield "retraining: not measured (--retrain N)"
        return
    more, questions = again["more"], len(again["questions"])
    yield (
        f"\nexperts trained on {again['pool']} examples, less {again['left_out']} nearest or as "
        f"many others: without the nearest the reference answer costs {more['mean']:+.3f} nats a "
        f"token more ({between(more['interval'], '+.3f')}), and more for {again['worse']} of "
        f"{questions} questions; {again['seconds']} s"
    )
    if again["too_few"]:
        yield f"{again['too_few']} questions more have fewer examples of their label than that"


def _ways(ways: Report) -> Iterator[str]:
    columns = list(next(iter(ways.values())))
    yield "| way | " + " | ".join(columns) + " |"
    yield "| " + " | ".join(["---"] * (len(columns) + 1)) + " |"
    for way, measured in ways.items():
        yield f"| {way} | " + " | ".join(_rate(measured[column]) for column in columns) + " |"


def _rate(part: Report) -> str:
    return f"{part['mean']:.1%} ({between(part['interval'], '.1%')})"


def evaluate_familiarity(a: argparse.Namespace) -> Result:
    """Whether familiarity tells questions from what is none."""
    from atmoe.study.familiarity import study

    description = described(a)
    lines = lines_of(description)
    report = study(load_model(a), description.examples(), lines, a.questions, a.seed)
    return report, "\n".join(_familiarity(report))


def _familiarity(report: Report) -> Iterator[str]:
    yield "| what is asked | flagged | 95% interval | lines | refused unread |"
    yield "| --- | --- | --- | --- | --- |"
    for kind, part in report["flagged"].items():
        shares = "– | –"  # of a kind that the model does not read at all
        if part["questions"]:
            shares = f"{part['mean']:.1%} | {between(part['interval'], '.1%')}"
        name = kind.replace("disease", "topic")
        yield f"| {name} | {shares} | {part['questions']} | {part['refused']} |"
    if "unseen diseases, rephrased" not in report["flagged"]:
        yield f"unseen topics, rephrased: not measured; {NO_WORDING}"
    yield (
        f"flagged below {report['threshold']}, a rank among {report['calibration']} questions, "
        "where no example is very near; "
        f"AUROC {report['auroc']['mean']:.4f} ({between(report['auroc']['interval'], '.4f')}); "
        f"{report['seconds']} s"
    )


def add_index(commands: Commands) -> None:
    """Put the one that makes an index among the others."""
    model = commands.of_model("float32")
    parser = commands.add(
        "index",
        index,
        "Index what the experts learned from: names, addresses and small vectors, no sentence.",
        [model, commands.data],
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where it goes (default: index in --model)"
    )
    seed(parser)


def add_studies(commands: Commands) -> None:
    """Put those that measure among the others."""
    model = commands.of_model("float32")
    parser = commands.add(
        "evaluate-sources",
        evaluate_sources,
        "Are the nearest training examples about what a question is about? Three ways compared.",
        [model, commands.data],
    )
    _questions(parser)
    parser.add_argument(
        "--gradients",
        type=count,
        default=0,
        metavar="N",
        help="also compare projected gradients, among N training examples; seconds each "
        "(default: not)",
    )
    parser.add_argument(
        "--retrain",
        type=count,
        default=0,
        metavar="N",
        help="also train experts without what lies nearest to N questions, and without as much "
        "else; minutes each (default: not)",
    )
    seed(parser)
    parser = commands.add(
        "evaluate-familiarity",
        evaluate_familiarity,
        "Does familiarity tell questions like those in training from other languages, code, talk?",
        [model, commands.data],
    )
    _questions(parser)
    seed(parser)


def _questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--questions",
        type=count,
        default=1000,
        metavar="N",
        help="of each kind at most (default: 1000)",
    )
