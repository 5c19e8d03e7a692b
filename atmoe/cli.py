"""The command line: python -m atmoe {fetch,route,answer,explain,score,train,evaluate,…}.

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

from atmoe.cli_data import count, sources
from atmoe.cli_study import add_study_commands
from atmoe.cli_train import FLOATING, add_train_commands
from atmoe.errors import AssetError, AtMoeError
from atmoe.precision import CHOICES
from atmoe.steering import State, Steering, parse_target

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "assets" / "medical"
BENCH_PARTS = ("explanation", "decoding", "rows", "prefill", "sizes", "precision", "peers", "start")  # of atmoe.bench, which is slow to import


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
    if fallen := isinstance(result, dict) and result.get("fallen"):
        print(f"atmoe: {'; '.join(fallen)}.", file=sys.stderr)
        raise SystemExit(1)


# -- commands: each returns (what --json prints, what a person reads) ------------------------------------------------


def fetch(a) -> tuple[Any, str]:
    from atmoe import base

    found = base.fetch(a.base)
    return ({"name": found.name, "path": str(found.path), "sha256": found.sha256, "origin": found.origin},
            f"{found.name} is ready in {found.path} (from: {found.origin}).")


def route(a) -> tuple[Any, str]:
    plan = _steering(a).apply(load_model(a).route(_text(a.prompt)))
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
    record = load_model(a).answer(_text(a.prompt), _steering(a), sampling)
    return record.to_dict(), record.answer


def explain(a) -> tuple[Any, str]:
    from dataclasses import replace

    from atmoe.decode import Sampling
    from atmoe.explain import explain
    from atmoe.smallest_change import smallest_changes
    from atmoe.verdict import mismatch, plain, verdict

    sampling = Sampling(a.max_new_tokens, a.temperature, a.top_p, a.seed, a.repetition_penalty)
    model = load_model(a)
    record = model.answer(_text(a.prompt), _steering(a), sampling)
    found = replace(explain(model, record), changes=smallest_changes(model, record))
    ruling = verdict(found)
    lines = [record.answer, "", ruling.sentence, "",
             f"{'':<32}  weight  contribution  effect (nats per token)  times less likely without it"]
    for unit in found.units:
        if unit.kind != "band":
            note = f"   {what}" if (what := mismatch(unit)) else ""
            lines.append(f"{'  ' * (unit.kind == 'expert') + plain(unit.name):<32}  {unit.weight:6.1%}  {unit.contribution:12.3f}  "
                         f"{unit.effect:+23.3f}  {unit.ratio:28.2f}{note}")
    if found.shapley is not None:
        parts = ", ".join(f"{g} {value:+.3f}" for g, value in found.shapley.items())
        lines.append(f"\nFrom the base model ({found.base_logp:.3f}) to this answer ({found.logp:.3f}), nats per token: {parts}")
    for c in found.changes:
        lines.append(f"{c.group}: " + ("no change of the first sentence found between 0 and 100%" if c.to is None else
                                       f"at {c.to:.0%} instead of {c.share:.0%} on average, the first sentence would be: {c.after}"))
    whole = replace(record, explanation=found).to_dict()
    measured = whole.pop("explanation")
    return whole | measured, "\n".join(lines)


def score(a) -> tuple[Any, str]:
    model = load_model(a)
    prompt, text = _text(a.prompt), _text(a.answer)
    plan = _steering(a).apply(model.route(prompt))
    logp = model.score(prompt, text, [plan])[0].tolist()
    tokens = [model.tokenizer.decode([t]) for t in model.encode_answer(text)]
    mean = sum(logp) / len(logp)
    return ({"mean_logprob": mean, "token_logprobs": logp, "tokens": tokens},
            f"mean log-probability {mean:.4f} a token over {len(tokens)} tokens")


def bench(a) -> tuple[Any, str]:
    from atmoe.bench import PARTS, bench, check

    kept = _kept(a.check) if a.check else None
    report = bench(load_model(a), a.model, a.base, a.only or PARTS, repeats=a.repeats, processor=a.clock == "processor", gguf=a.gguf)
    lines = [f"{report['dtype']}, {report['threads']} threads, {report['clock']} time, medians of {report['repeats']} (least to most); more is better",
             *(f"{name}: {r['median']:.2f} ({r['least']:.2f} to {r['most']:.2f})" for name, r in report["ratios"].items()),
             *(f"{name}: imports {s['import_s']} s, loading {s['load_s']} s, at most {s['peak_mb']:.0f} MB: "
               f"{s['imports_mb']:.0f} before loading, and {s['own_to_weights']} times the weights" for name, s in report.get("start", {}).items())]
    if kept is not None:
        report["fallen"] = check(report, kept)
        lines.append("; ".join(report["fallen"]) + "." if report["fallen"] else f"No ratio fell below 0.9 of the one kept in {a.check}.")
    return report, "\n".join(lines)


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return {name: found[name] for name in ("dtype", "threads", "clock")} | {"ratios": {name: {"median": float(r["median"])} for name, r in found["ratios"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(f"{path} holds no ratios of a bench ({error}); keep some with: python -m atmoe bench --json > {path}") from error


# -- what the commands share ----------------------------------------------------------------------------------------


def load_model(a):
    """The trained AT-MoE that --model, --base and --dtype name."""
    from atmoe.model import AtMoe

    return AtMoe.from_pretrained(a.model, a.base, a.dtype)


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--base", metavar="PATH", help="base model: a directory, a .gguf file or a hub id (default: the one "
                        "the experts were trained on, from the cache, the hub or a wheel)")
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")

    def in_precision(dtype: str, choices: Sequence[str] = CHOICES) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(add_help=False, parents=[common])
        made.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR", help="a trained AT-MoE (default: the medical one)")
        auto = "; auto = what this machine is quick in" if "auto" in choices else ""
        made.add_argument("--dtype", choices=choices, default=dtype, help=f"precision{auto} (default: {dtype})")
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
    steer.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling; used by answer and explain, above temperature 0 (default: 0)")
    steer.add_argument("--max-new-tokens", type=int, default=160, metavar="N", help="used by answer and explain: at most this many tokens (default: 160)")

    def command(name, run, help, parents, to=commands):
        made = to.add_parser(name, help=help, description=help, parents=parents)
        made.set_defaults(run=run)
        return made

    command("fetch", fetch, "Fetch the base model and cache it.", [common])
    prompt = command("route", route, "Show the router's plan for a prompt, or the plan that steering makes of it.", [model, steering])
    prompt.add_argument("prompt", help="the question; - reads it from standard input")
    for name, run, help in (("answer", answer, "Answer a prompt and record how."),
                            ("explain", explain, "Answer a prompt, and measure what in the mixture the answer depended on.")):
        made = command(name, run, help, [model, steering])
        made.add_argument("prompt", help="the question; - reads it from standard input")
        made.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0 = always the most likely token (default)")
        made.add_argument("--top-p", type=float, default=1.0, metavar="X", help="nucleus; used above temperature 0")
        made.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X", help="1 = none (default), at most 2")
    made = command("score", score, "Score a given answer, token by token.", [model, steering])
    made.add_argument("prompt", help="the question")
    made.add_argument("answer", help="the answer to score")
    made = command("bench", bench, "What decoding, reading and explaining cost beside transformers, PEFT and X-LoRA, interleaved in one run.",
                   [in_precision("bfloat16", FLOATING)])
    made.add_argument("--repeats", type=count, default=5, metavar="N", help="of each measurement (default: 5)")
    made.add_argument("--only", nargs="+", choices=BENCH_PARTS, metavar="PART", help=f"of {', '.join(BENCH_PARTS)} (default: all)")
    made.add_argument("--clock", choices=("wall", "processor"), default="wall", help="what to time by; on a machine that others use, "
                      "processor, with OMP_NUM_THREADS=1 (default: wall)")
    made.add_argument("--gguf", type=Path, metavar="FILE", help="the base as a GGUF file: compare with llama.cpp too (pip install llama-cpp-python)")
    made.add_argument("--check", nargs="?", type=Path, const=DEFAULT_MODEL / "reports" / "bench.json", metavar="FILE", help="exit with 1 "
                      "where a ratio fell below 0.9 of the one kept in FILE (default: the medical model's report)")
    data = sources()
    add_study_commands(command, data, in_precision)
    add_train_commands(command, commands, common, data, in_precision)
    return parser
