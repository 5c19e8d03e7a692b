"""The command that counts how often answers are flagged: evaluate-flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atmoe import files
from atmoe.cli.common import Commands, Result, count
from atmoe.cli.given import described, load_model
from atmoe.cli.measuring import between, command, drawn, limit, on_side

Report = Mapping[str, Any]


def evaluate_flags(a: argparse.Namespace) -> Result:
    """How often answers are flagged, and for what."""
    from datetime import date

    from atmoe.data import split
    from atmoe.flags.untaught import Words, made
    from atmoe.sources.index import FOLDER
    from atmoe.study import flags

    if a.answers:
        files.must_have_folder(a.answers, "--answers")
    command_run = command(a, "evaluate-flags", "split", "limit", "questions", "drafts", "seed")
    description = described(a)
    examples = description.examples()
    training = [e for e in examples if split(e) == "train"]
    model = load_model(a)
    counts = {"dialogue": a.limit, "abstract": a.limit, "question": a.questions}
    asked = flags.drawn(on_side(a, examples), counts, a.seed)
    made_by = {"model": model.info.sha256, "dtype": model.precision, "drafts": a.drafts}
    made_by |= {"seed": a.seed}
    if a.answers and a.answers.exists():
        asked = flags.kept(a.answers, asked, made_by)
    else:
        asked = flags.answer_all(model, asked, a.drafts, a.seed)
        if a.answers:
            flags.keep(a.answers, asked, made_by)
    words = Words.load(a.model / FOLDER, model.info.sha256)
    words = words or made(training, model.tokenizer, model.info.sha256)
    report = flags.study(asked, words, training, model.tokenizer, a.seed)
    own = {example.id: example.prompt for example in examples}
    questions = [one for one in asked if one.kind == "question"]
    report |= {
        "questions": len(questions),
        "reworded": sum(one.prompt != own[one.id] for one in questions),
        "model": {"name": model.info.name, "sha256": model.info.sha256},
        "date": date.today().isoformat(),
        "command": command_run,
    }
    return report, "\n".join(_flags(report))


def _flags(report: Report) -> Iterator[str]:
    kept_to = report["kept_to"]
    if kept_to:
        for source, own in kept_to["by_source"].items():
            yield (
                f"{own['answers']} answers to a {source}: {own['share']:.0%} say something that "
                f"it does not hold ({between(own['interval'])})"
            )
        for kind, own in kept_to["by_kind"].items():
            yield (
                f"{kind}: {own['findings']} findings, in {own['share']:.0%} of answers "
                f"({between(own['interval'])})"
            )
    yield f"{report['questions']} plain questions, {report['reworded']} of them in other words"
    untaught = report["untaught"]
    for name, own in (("answers", untaught), ("references", untaught["references"])):
        yield (
            f"{own['answers']} {name}: {own['share']:.1%} hold a word that nobody taught "
            f"({between(own['interval'])}), {own['words']['flagged']} of {own['words']['all']} "
            f"words; {', '.join(own['examples'])}"
        )
    held = report["filter"]
    yield (
        f"filter of {held['bytes']:,} bytes: {held['missed']} of {held['members']:,} members "
        f"missed, {held['passed']} of {held['made_up']:,} made-up words pass"
    )
    drafts = report["drafts"]
    if drafts:
        yield (
            f"{drafts['questions']} questions, {drafts['drafts']} drafts each: self-agreement "
            f"{drafts['agreement']['mean']:.2f} ({between(drafts['agreement']['interval'])}); "
            f"{drafts['shared_by_none']:.0%} of {drafts['statements']} statements in no draft"
        )


def add_commands(commands: Commands) -> None:
    """Put it among the others."""
    model = commands.of_model("float32")
    parser = commands.add(
        "evaluate-flags",
        evaluate_flags,
        "How often are answers flagged? What their source does not hold, words nobody taught, and "
        "statements that drafts do not share.",
        [model, commands.data],
    )
    limit(parser, 50, "dialogues, and as many abstracts")
    parser.add_argument(
        "--questions", type=count, default=100, metavar="N", help="plain questions (default: 100)"
    )
    parser.add_argument(
        "--drafts",
        type=count,
        default=40,
        metavar="N",
        help="of those questions, sampled five times more (default: 40)",
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="read the answers of the same run from there if it exists, else write them there; "
        "it quotes the data",
    )
    drawn(parser)
