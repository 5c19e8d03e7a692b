"""The command that says what a way of mixing the experts is worth, as loss: evaluate."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe.cli.common import BASELINES, Commands, Result
from atmoe.cli.given import load_model
from atmoe.cli.measuring import between, drawn, held_out, limit, over

if TYPE_CHECKING:
    from torch import Tensor

    from atmoe.model import AtMoe
    from atmoe.study.evaluate import Scorer

Report = Mapping[str, Any]


def evaluate(a: argparse.Namespace) -> Result:
    """Loss under different plans, and other models' if asked for."""
    from atmoe.steering.overrides import Steering
    from atmoe.study.evaluate import choose, evaluate

    for strength in a.strengths:
        Steering(strength=strength)  # one that is none is refused before anything is read
    description, examples = held_out(a)
    chosen = choose(examples, a.limit, a.seed, description.main_group)
    model = load_model(a)
    scorers, missing = _baselines(a, model) if a.baselines else ({}, {})
    report = evaluate(model, chosen, scorers, bool(a.baselines), a.strengths, seed=a.seed)
    report |= {"not_measured": missing}
    agreement = ", ".join(
        f"{g} {v:.1%} ({report['reading'][g]['right_taking_part']:.1%} and taking part)"
        for g, v in report["agreement"].items()
    )
    lines = [
        *_losses(report["nll"]),
        f"nats per answer token over {report['examples']} examples, {report['tokens']} tokens; "
        f"{over(report['topics'])}; top-1 agreement: {agreement}; {report['seconds']} s",
        *(f"not measured: {name}: {why}" for name, why in missing.items()),
    ]
    return report, "\n".join(lines)


def _losses(nll: Mapping[str, Report]) -> Iterator[str]:
    """A table of the losses, the largest first."""
    tasks = list(nll["base"]["tasks"])
    header = ("plan", "macro", "95% interval", "minus router", *tasks)
    yield _row(header)
    yield _row(["---"] * len(header))
    for name, losses in sorted(nll.items(), key=lambda item: -item[1]["macro"]):
        minus = losses.get("minus_router")
        yield _row(
            [
                name,
                f"{losses['macro']:.3f}",
                between(losses["interval"]),
                "" if minus is None else between(minus["interval"], "+.3f"),
                *(f"{losses['tasks'][task]:.3f}" for task in tasks),
            ]
        )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _baselines(a: argparse.Namespace, model: AtMoe) -> tuple[dict[str, Scorer], dict[str, str]]:
    """Scorers of the baselines whose weights are there, and what to do about the others."""
    from functools import partial

    from atmoe.errors import AssetError, AtMoeError
    from atmoe.model import AtMoe
    from atmoe.routing.plan import RoutingPlan
    from atmoe.steering.overrides import Steering
    from atmoe.study import baselines
    from atmoe.study.evaluate import at

    def lora() -> dict[str, Scorer]:
        one = AtMoe.from_pretrained(
            a.baselines / "lora", a.base, model.bank.dtype, device=str(model.device)
        )
        if one.info.base_sha256 != model.info.base_sha256:
            raise AssetError(
                f"{a.baselines / 'lora'} was trained on the base {one.info.base_name}, and the "
                f"model on {model.info.base_name}; train one on that."
            )
        plan = RoutingPlan.uniform(one.layout)
        plans = {"lora": plan} | {
            at("lora", s): Steering(strength=s).apply(plan) for s in a.strengths
        }

        def under(
            plan: RoutingPlan, prompts: Sequence[str], answers: Sequence[str]
        ) -> list[Tensor]:
            return one.score_rows(prompts, answers, [plan] * len(prompts))[0]

        return {name: partial(under, plan) for name, plan in plans.items()}

    def xlora() -> dict[str, Scorer]:
        mixed = baselines.xlora_model(model, a.model, a.base)
        mixed = baselines.load_classifier(mixed, a.baselines / "xlora")
        return {"xlora": partial(baselines.score_rows, model, mixed)}

    def arrow() -> dict[str, Scorer]:
        mixed = baselines.arrow_model(model, a.model, a.base)
        return {"arrow": partial(baselines.score_rows, model, mixed)}

    scorers: dict[str, Scorer] = {}
    missing: dict[str, str] = {}
    for name, load in (("lora", lora), ("xlora", xlora), ("arrow", arrow)):
        try:
            scorers |= load()
        except AtMoeError as error:
            again = f" (python -m atmoe train baseline {name} --model {a.model})"
            advice = "" if name == "arrow" else again
            missing[name] = f"{error}{advice}"
    return scorers, missing


def add_command(commands: Commands) -> None:
    """Put it among the others."""
    parser = commands.add(
        "evaluate",
        evaluate,
        "Score examples under the base model and the uniform, router's and label's plans.",
        [commands.of_model("float32"), commands.data],
    )
    limit(parser, None, "a seeded sample of N examples a task")
    drawn(parser, "all")
    parser.add_argument(
        "--baselines",
        nargs="?",
        type=Path,
        const=BASELINES,
        metavar="DIR",
        help="also score single experts, PEFT's Arrow, and the baselines trained into DIR "
        "(default: baselines)",
    )
    parser.add_argument(
        "--strengths",
        type=float,
        nargs="+",
        default=(),
        metavar="X",
        help="also score the router's plan, and the one LoRA, at these strengths",
    )
