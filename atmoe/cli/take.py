"""The commands that take something along: export."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from atmoe.cli.common import Commands, Result, load_model, steering_of, text_of
from atmoe.errors import DataError, PlanError

if TYPE_CHECKING:
    from atmoe.model import AtMoe
    from atmoe.routing.plan import RoutingPlan

FORMS = ("peft", "gguf")


def export(a: argparse.Namespace) -> Result:
    """A plan as one plain LoRA."""
    if (a.prompt is None) == (a.plan is None):
        raise DataError("Either a prompt, whose plan it is, or --plan FILE; give one of them.")
    if a.out.exists():
        raise DataError(f"{a.out} is there already; delete it, or name another --out.")
    from atmoe.export.gguf_file import write_gguf
    from atmoe.export.lora import write_peft

    model = load_model(a)
    plan = model.route(text_of(a.prompt)) if a.plan is None else _plan_of(a.plan, model)
    steered = steering_of(a).apply(plan)
    write = write_peft if a.to == "peft" else write_gguf
    write(model, steered, a.out)
    result = {
        "out": str(a.out),
        "form": a.to,
        "base": model.info.base_name,
        "team": list(steered.team),
    }
    return result, (
        f"{a.out} is a LoRA for {model.info.base_name}, of {len(steered.team)} experts: the plan "
        "of one question, held fixed for all."
    )


def _plan_of(path: Path, model: AtMoe) -> RoutingPlan:
    """The plan in force that a file holds: a record's, or what route --json printed.

    Raises:
        DataError: the file cannot be read.
        PlanError: it holds no plan, or another model's.
    """
    from atmoe.routing.plan import RoutingPlan

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error
    if isinstance(data, dict) and isinstance(data.get("plan"), dict):
        own = data.get("model")
        if isinstance(own, dict) and own.get("sha256") != model.info.sha256:
            raise PlanError(
                f"{path} is of the model {own.get('name')!r}, and not of the one that is loaded; "
                "pass its --model."
            )
        data = data["plan"]
    plan = RoutingPlan.from_dict(data)
    model.weights_of([plan], 1)  # refuses what does not fit
    return plan


def add_commands(commands: Commands) -> None:
    """Put them among the others."""
    parser = commands.add(
        "export",
        export,
        "Write a plan as one plain LoRA, for PEFT, vLLM or llama.cpp.",
        [commands.of_model("float32"), commands.steering],
    )
    parser.add_argument("prompt", nargs="?", help="whose plan it is; - reads standard input")
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="instead of a prompt: a record, whose plan in force is taken, or what route --json "
        "printed",
    )
    parser.add_argument("--to", choices=FORMS, default=FORMS[0], help="default: peft")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a new directory; of gguf a file"
    )
