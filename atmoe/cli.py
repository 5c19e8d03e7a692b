"""The command line: python -m atmoe {fetch,route,answer,score,train,evaluate}.

With --json a command prints one JSON document on standard output; progress and logs go to standard error. A mistake
of the user's is one sentence on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atmoe.errors import AtMoeError, DataError
from atmoe.steering import State, Steering, parse_target

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "assets" / "medical"


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    try:
        result, sentences = arguments.run(arguments)
    except AtMoeError as error:
        print(f"atmoe: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("atmoe: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    print(json.dumps(result, ensure_ascii=False) if arguments.json else sentences)


# -- commands: each returns (what --json prints, what a person reads) ------------------------------------------------


def fetch(a) -> tuple[Any, str]:
    from atmoe import base

    found = base.fetch(a.base)
    return ({"name": found.name, "path": str(found.path), "sha256": found.sha256, "origin": found.origin},
            f"{found.name} is ready in {found.path} (from: {found.origin}).")


def route(a) -> tuple[Any, str]:
    plan = _steering(a).apply(_model(a).route(_text(a.prompt)))
    data = plan.to_dict()
    lines = ["share of the routing weight, mean over layers:"]
    for group, share in zip(plan.layout.group_names, plan.group_shares.mean(0).tolist()):
        lines.append(f"  {group:<12} {share:6.1%}")
        members = plan.layout.members(group)
        inside = plan.expert_shares[:, members].mean(0).tolist()
        lines += [f"    {name.partition('/')[2]:<28} {q:6.1%} of {group}"
                  for name, q in zip(plan.layout.expert_names[members], inside)]
    return data, "\n".join(lines)


def answer(a) -> tuple[Any, str]:
    from atmoe.decode import Sampling

    sampling = Sampling(a.max_new_tokens, a.temperature, a.top_p, a.seed, a.repetition_penalty)
    record = _model(a).answer(_text(a.prompt), _steering(a), sampling)
    return record.to_dict(), record.answer


def score(a) -> tuple[Any, str]:
    model = _model(a)
    prompt, text = _text(a.prompt), _text(a.answer)
    plan = _steering(a).apply(model.route(prompt))
    logp = model.score(prompt, text, [plan])[0].tolist()
    tokens = [model.tokenizer.decode([t]) for t in model.encode_answer(text)]
    mean = sum(logp) / len(logp)
    return ({"mean_logprob": mean, "token_logprobs": logp, "tokens": tokens},
            f"mean log-probability {mean:.4f} a token over {len(tokens)} tokens")


def evaluate(a) -> tuple[Any, str]:
    from atmoe.evaluate import PLANS, choose, evaluate

    examples = [e for e in _examples(a) if a.split in ("all", _split_of(e))]
    result = evaluate(_model(a), choose(examples, a.limit, a.seed))
    tasks = list(result["nll"]["base"]["tasks"])
    rows = [("plan", "macro", *tasks)] + [
        (name, f"{result['nll'][name]['macro']:.3f}", *(f"{result['nll'][name]['tasks'][t]:.3f}" for t in tasks))
        for name in PLANS]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    agreement = ", ".join(f"{g} {v:.1%}" for g, v in result["agreement"].items())
    return result, (f"{table}\nnats per answer token over {result['examples']} examples, {result['tokens']} tokens; "
                    f"top-1 agreement: {agreement}; {result['seconds']} s")


def train_experts(a) -> tuple[Any, str]:
    from atmoe.data import GROUPS
    from atmoe.train.experts import ExpertSettings, new_model, train_experts

    settings = ExpertSettings(**_given(a, ExpertSettings))
    model = new_model({g: list(e) for g, e in GROUPS.items()}, a.base, settings, a.out.name)
    report = train_experts(model, _examples(a), a.out, settings)
    return report, f"Experts saved in {a.out} after {report['steps']} steps, {report['seconds']:.0f} s."


def train_router(a) -> tuple[Any, str]:
    from atmoe.train.router import RouterSettings, train_router

    settings = RouterSettings(**_given(a, RouterSettings))
    report = train_router(_model(a), _examples(a), a.model, settings)
    return report, f"Router saved in {a.model} after {report['steps']} steps, {report['seconds']:.0f} s."


# -- what the commands share ----------------------------------------------------------------------------------------


def _model(a):
    import torch

    from atmoe.model import AtMoe

    return AtMoe.from_pretrained(a.model, a.base, getattr(torch, a.dtype))


def _examples(a):
    from atmoe.data import load

    if not any((a.medquad, a.pubmedqa, a.mts_dialog)):
        raise DataError("No corpus was named; give at least one of --medquad DIR, --pubmedqa DIR, --mts-dialog DIR.")
    return load(a.medquad, a.pubmedqa, a.mts_dialog)


def _split_of(example) -> str:
    from atmoe.data import split

    return split(example)


def _given(a, settings) -> dict[str, Any]:
    """The command-line arguments that are fields of a settings class."""
    return {name: getattr(a, name) for name in settings.__dataclass_fields__ if getattr(a, name, None) is not None}


def _text(argument: str) -> str:
    return sys.stdin.read() if argument == "-" else argument


def _steering(a) -> Steering:
    overrides, scope = [], "all"
    for option, value in a.steps:
        if option == "layers":
            scope = value
        else:
            overrides.append(parse_target(value, State.FIXED if option == "set" else State.OFF, scope))
    return Steering(tuple(overrides), a.strength)


class _Step(argparse.Action):
    """Keeps --set, --off and --layers in the order they were written: a range applies to what follows it."""

    def __call__(self, parser, namespace, value, option_string=None):
        namespace.steps = [*namespace.steps, (self.dest, value)]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="atmoe", description="Mix named LoRA experts by a router one can read and steer.")
    commands = parser.add_subparsers(required=True, metavar="{fetch,route,answer,score,train,evaluate}")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--base", metavar="PATH", help="base model: a directory, a .gguf file or a hub id (default: the one "
                        "the experts were trained on, from the cache, the hub or a wheel)")
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")

    def in_precision(dtype: str) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(add_help=False, parents=[common])
        made.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR", help="a trained AT-MoE (default: the medical one)")
        made.add_argument("--dtype", choices=("float32", "bfloat16"), default=dtype, help=f"precision (default: {dtype})")
        return made

    model = in_precision("float32")

    steering = argparse.ArgumentParser(add_help=False)
    steering.set_defaults(steps=[])
    steer = steering.add_argument_group("steering", "SHARE is 0.6 or 60%; an expert's is its share of its group")
    steer.add_argument("--set", action=_Step, metavar="GROUP[/EXPERT]=SHARE", help="fix a share; the others keep the router's proportions")
    steer.add_argument("--off", action=_Step, metavar="GROUP[/EXPERT]", help="drop it: its weight becomes 0 and nobody takes it over")
    steer.add_argument("--layers", action=_Step, metavar="all|early|middle|late|A-B", help="where the overrides after it apply "
                       "(layers count from 0; default: all)")
    steer.add_argument("--strength", type=float, default=1.0, metavar="X", help="multiplies the experts: 0 = base model, 1 = as trained, at most 2")

    # Accepted wherever a prompt is steered, so that one set of flags can be passed to route, score and answer alike.
    steer.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling; used by answer, above temperature 0 (default: 0)")
    steer.add_argument("--max-new-tokens", type=int, default=160, metavar="N", help="used by answer: at most this many tokens (default: 160)")

    corpora = argparse.ArgumentParser(add_help=False)
    for option, name in (("--medquad", "MedQuAD"), ("--pubmedqa", "PubMedQA"), ("--mts-dialog", "MTS-Dialog")):
        corpora.add_argument(option, type=Path, metavar="DIR", help=f"{name} in its original layout; left out = skipped")

    def command(name, run, help, parents, to=commands):
        made = to.add_parser(name, help=help, description=help, parents=parents)
        made.set_defaults(run=run)
        return made

    command("fetch", fetch, "Fetch the base model and cache it.", [common])
    prompt = command("route", route, "Show the router's plan for a prompt, or the plan that steering makes of it.", [model, steering])
    prompt.add_argument("prompt", help="the question; - reads it from standard input")
    made = command("answer", answer, "Answer a prompt and record how.", [model, steering])
    made.add_argument("prompt", help="the question; - reads it from standard input")
    made.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0 = always the most likely token (default)")
    made.add_argument("--top-p", type=float, default=1.0, metavar="X", help="nucleus; used above temperature 0")
    made.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X", help="1 = none (default), at most 2")
    made = command("score", score, "Score a given answer, token by token.", [model, steering])
    made.add_argument("prompt", help="the question")
    made.add_argument("answer", help="the answer to score")
    made = command("evaluate", evaluate, "Score corpora under the base model and the uniform, router's and label's plans.", [model, corpora])
    made.add_argument("--limit", type=int, metavar="N", help="a seeded sample of N examples a task (default: all)")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of that sample (default: 0)")
    made.add_argument("--split", choices=("all", "validation", "train"), default="all", help="examples of which diseases (default: all)")

    train = command("train", None, "Train experts or the router.", []).add_subparsers(required=True, metavar="{experts,router}")
    made = command("experts", train_experts, "Stage 1: one LoRA for each task, specialty and audience.", [common, corpora], train)
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the model goes; an interrupted run there goes on")
    for option, kind, what in (("--rank", int, "of every LoRA"), ("--alpha", float, "of every LoRA"),
                               ("--answer-tokens", int, "budget"), ("--learning-rate", float, "peak"), ("--seed", int, "of everything")):
        made.add_argument(option, type=kind, metavar="X", help=what)
    made.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the base model (default: bfloat16)")
    made = command("router", train_router, "Stage 2: the router, experts frozen. Writes into --model.",
                   [in_precision("bfloat16"), corpora], train)
    for option, kind, what in (("--instructions", int, "of each warm-start round"), ("--answer-tokens", int, "budget of the refinement"),
                               ("--learning-rate", float, "peak, of the in-group heads"),
                               ("--group-learning-rate", float, "peak, of the group heads"), ("--label-weight", float, "of the labelled auxiliary loss"),
                               ("--balance-weight", float, "of the balance term"), ("--seed", int, "of everything")):
        made.add_argument(option, type=kind, metavar="X", help=what)
    return parser
