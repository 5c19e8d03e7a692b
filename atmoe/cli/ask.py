"""The commands about one question: fetch, route, answer, explain, score."""

from __future__ import annotations

import argparse
from dataclasses import replace

from atmoe.cli.common import Commands, Result, load_model, steering_of, text_of


def fetch(a: argparse.Namespace) -> Result:
    from atmoe.mixture import base

    found = base.fetch(a.base)
    return (
        {
            "name": found.name,
            "path": str(found.path),
            "sha256": found.sha256,
            "origin": found.origin,
        },
        f"{found.name} is ready in {found.path} (from: {found.origin}).",
    )


def route(a: argparse.Namespace) -> Result:
    plan = steering_of(a).apply(load_model(a).route(text_of(a.prompt)))
    data = plan.to_dict()
    lines = ["share of the routing weight, mean over layers:"]
    for group, share in zip(plan.layout.group_names, plan.group_shares.mean(0).tolist()):
        lines.append(f"  {group:<12} {share:6.1%}")
        members = plan.layout.members(group)
        inside = plan.expert_shares[:, members].mean(0).tolist()
        lines += [
            f"    {name.partition('/')[2]:<28} {q:6.1%} of {group}"
            for name, q in zip(plan.layout.expert_names[members], inside)
        ]
    return data, "\n".join(lines)


def answer(a: argparse.Namespace) -> Result:
    from atmoe.answer.sampling import Sampling

    sampling = Sampling(a.max_new_tokens, a.temperature, a.top_p, a.seed, a.repetition_penalty)
    record = load_model(a).answer(text_of(a.prompt), steering_of(a), sampling)
    return record.to_dict(), record.answer


def explain(a: argparse.Namespace) -> Result:
    from atmoe.answer.sampling import Sampling
    from atmoe.explanation.measure import explain
    from atmoe.explanation.smallest_change import smallest_changes
    from atmoe.explanation.verdict import mismatch, plain, verdict

    sampling = Sampling(a.max_new_tokens, a.temperature, a.top_p, a.seed, a.repetition_penalty)
    model = load_model(a)
    record = model.answer(text_of(a.prompt), steering_of(a), sampling)
    found = replace(explain(model, record), changes=smallest_changes(model, record))
    ruling = verdict(found)
    lines = [
        record.answer,
        "",
        ruling.sentence,
        "",
        f"{'':<32}  weight  contribution  effect (nats per token)  times less likely without it",
    ]
    for unit in found.units:
        if unit.kind != "band":
            note = f"   {what}" if (what := mismatch(unit)) else ""
            lines.append(
                f"{'  ' * (unit.kind == 'expert') + plain(unit.name):<32}  {unit.weight:6.1%}  {unit.contribution:12.3f}  "
                f"{unit.effect:+23.3f}  {unit.ratio:28.2f}{note}"
            )
    if found.shapley is not None:
        parts = ", ".join(f"{g} {value:+.3f}" for g, value in found.shapley.items())
        lines.append(
            f"\nFrom the base model ({found.base_logp:.3f}) to this answer ({found.logp:.3f}), nats per token: {parts}"
        )
    for c in found.changes:
        lines.append(
            f"{c.group}: "
            + (
                "no change of the first sentence found between 0 and 100%"
                if c.to is None
                else f"at {c.to:.0%} instead of {c.share:.0%} on average, the first sentence would be: {c.after}"
            )
        )
    whole = replace(record, explanation=found).to_dict()
    measured = whole.pop("explanation")
    return whole | measured, "\n".join(lines)


def score(a: argparse.Namespace) -> Result:
    model = load_model(a)
    prompt, text = text_of(a.prompt), text_of(a.answer)
    plan = steering_of(a).apply(model.route(prompt))
    logp = model.score(prompt, text, [plan])[0].tolist()
    tokens = [model.tokenizer.decode([t]) for t in model.encode_answer(text)]
    mean = sum(logp) / len(logp)
    return (
        {"mean_logprob": mean, "token_logprobs": logp, "tokens": tokens},
        f"mean log-probability {mean:.4f} a token over {len(tokens)} tokens",
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
    parser.add_argument("prompt", help="the question; - reads it from standard input")
    for name, run, text in (
        ("answer", answer, "Answer a prompt and record how."),
        (
            "explain",
            explain,
            "Answer a prompt, and measure what in the mixture the answer depended on.",
        ),
    ):
        parser = commands.add(name, run, text, [model, steering])
        parser.add_argument("prompt", help="the question; - reads it from standard input")
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
    parser = commands.add(
        "score", score, "Score a given answer, token by token.", [model, steering]
    )
    parser.add_argument("prompt", help="the question")
    parser.add_argument("answer", help="the answer to score")
