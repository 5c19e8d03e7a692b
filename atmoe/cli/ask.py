"""The commands about one question: fetch, route, answer, explain, score."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from atmoe.cli import many
from atmoe.cli.common import Commands, Result, positional
from atmoe.cli.given import load_model, sampling_of, steering_of, text_of

if TYPE_CHECKING:
    from atmoe.explanation.value import Change, Explanation
    from atmoe.routing.plan import RoutingPlan
    from atmoe.sources.value import Found


def fetch(a: argparse.Namespace) -> Result:
    """Fetch the base model."""
    from atmoe.mixture import base as base_models

    base = base_models.fetch(a.base)
    data = {
        "name": base.name,
        "path": str(base.path),
        "sha256": base.sha256,
        "origin": base.origin,
    }
    return data, f"{base.name} is ready in {base.path} (from: {base.origin})."


@many.either
def route(a: argparse.Namespace) -> Result:
    """The plan for a prompt."""
    from atmoe.report.words import changes

    routed = load_model(a).routed(text_of(a.prompt), steering_of(a))
    lines = [*_shares(routed.plan), *_found(routed.found)]
    steered = changes(routed.steering)  # the strength above all, which no share shows
    if steered:
        lines.insert(0, f"steered: {steered}")
    return routed.to_dict(), "\n".join(lines)


def _shares(plan: RoutingPlan) -> Iterator[str]:
    from atmoe.report.words import doubts

    experts = plan.layout.expert_names
    verb = "takes" if len(plan.team) == 1 else "take"
    yield f"{len(plan.team)} of {len(experts)} experts {verb} part"
    if plan.doubts:
        yield doubts(plan)
    yield "share of the routing weight, mean over layers:"
    for group, share in zip(plan.layout.group_names, plan.group_weights.mean(0).tolist()):
        yield f"  {group:<12} {'takes no part' if group in plan.absent else f'{share:6.1%}'}"
        members = plan.layout.members(group)
        inside = plan.expert_shares[:, members].mean(0).tolist()
        for name, q in zip(experts[members], inside):
            share = f"{q:6.1%} of {group}" if name in plan.team else "     –"
            yield f"    {name.partition('/')[2]:<28} {share}"


def _found(found: Found | None) -> Iterator[str]:
    """How familiar the question is, and what lies near it in training."""
    from atmoe.sources.value import NOT_MEASURED, NOT_PROOF

    if found is None:
        yield f"familiarity and nearest training examples: {NOT_MEASURED}"
        return
    yield found.sentence
    if found.familiarity is not None:
        yield f"familiarity {found.familiarity:.2f} (a rank among questions on unseen topics)"
    yield f"{NOT_PROOF}:"
    for source in found.nearest:
        yield f"  {source.similarity:.2f} {source.near}: {source.named}  {source.address}".rstrip()


@many.either
def answer(a: argparse.Namespace) -> Result:
    """An answer, as a record."""
    sampling = sampling_of(a)
    record = load_model(a).answer(text_of(a.prompt), steering_of(a), sampling)
    return record.to_dict(), record.answer


@many.either
def explain(a: argparse.Namespace) -> Result:
    """An answer, and what it depended on."""
    from atmoe.explanation.measure import explain
    from atmoe.explanation.smallest_change import smallest_changes

    sampling = sampling_of(a)
    model = load_model(a)
    record = model.answer(text_of(a.prompt), steering_of(a), sampling)
    changes = smallest_changes(model, record)
    explanation = replace(explain(model, record), changes=changes)
    lines = [record.answer, "", *_measured(explanation), *_changes(changes, record.drawn)]
    data = replace(record, explanation=explanation).to_dict()
    measured = data.pop("explanation")
    # Flat for a reader's eye, and whole, so that it can be read back as a record.
    return data | measured | {"explanation": measured}, "\n".join(lines)


def _measured(explanation: Explanation) -> Iterator[str]:
    """The verdict, a row a unit other than bands, and the exact shares of the groups."""
    from atmoe.explanation.verdict import hardly, mismatch, verdict

    yield verdict(explanation).sentence
    yield ""
    yield (f"{'':<32}  weight  contribution  effect (nats per token)  times less likely without it")
    for unit in explanation.units:
        if unit.kind == "band":
            continue
        indent = "  " if unit.kind == "expert" else ""
        note = explanation.mixed and mismatch(unit, hardly(explanation))
        yield (
            f"{indent + unit.plain:<32}  {unit.weight:6.1%}  {unit.contribution:12.3f}  "
            f"{unit.effect:+23.3f}  {unit.ratio:28.2f}{f'   {note}' if note else ''}"
        )
    if explanation.shapley is not None:
        parts = ", ".join(f"{g} {value:+.3f}" for g, value in explanation.shapley.items())
        yield (
            f"\nFrom the base model ({explanation.base_logp:.3f}) to this answer "
            f"({explanation.logp:.3f}), nats per token: {parts}"
        )


def _changes(changes: Sequence[Change], drawn: bool) -> Iterator[str]:
    """The smallest change of each group's share; of a drawn answer, the greedy one's."""
    first = f"first sentence{' at temperature 0' * drawn}"
    if drawn and changes:
        yield f"{first}: {changes[0].before}"
    for change in changes:
        if change.to is None:
            yield f"{change.group}: no change of the {first} found between 0 and 100%"
        else:
            yield (
                f"{change.group}: at {change.to:.0%} instead of {change.share:.0%} on average, the "
                f"{first} would be: {change.after}"
            )


@many.either
def score(a: argparse.Namespace) -> Result:
    """The log-probability of a given answer."""
    scored = load_model(a).scored(text_of(a.prompt), text_of(a.answer), steering_of(a))
    return (
        scored.to_dict(),
        f"mean log-probability {scored.mean:.4f} a token over {len(scored.tokens)} tokens",
    )


def add_commands(commands: Commands) -> None:
    """Put them among the others."""
    model, steering = commands.of_model("float32"), commands.steering
    commands.add("fetch", fetch, "Fetch the base model and cache it.", [commands.common])
    parser = commands.add(
        "route",
        route,
        "Show the router's plan for a prompt, or the plan that steering makes of it.",
        [model, steering],
    )
    _prompt_argument(parser)
    many.arguments(parser, "prompt")
    parser = commands.add("answer", answer, "Answer a prompt and record how.", [model, steering])
    _sampling_arguments(parser)
    parser = commands.add(
        "explain",
        explain,
        "Answer a prompt, and measure what in the mixture the answer depended on.",
        [model, steering],
    )
    _sampling_arguments(parser)
    parser = commands.add(
        "score", score, "Score a given answer, token by token.", [model, steering]
    )
    _prompt_argument(parser)
    positional(parser, "answer", "the answer to score")
    many.arguments(parser, "prompt", "answer")


def _prompt_argument(parser: argparse.ArgumentParser) -> None:
    positional(parser, "prompt", "the question; - reads it from standard input")


def _sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """The question, and how its answer is sampled."""
    _prompt_argument(parser)
    many.arguments(parser, "prompt")
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="X",
        help="0 = always the most likely token (default)",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="X",
        help="nucleus; used above temperature 0",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="X",
        help="1 = none (default), at most 2",
    )
