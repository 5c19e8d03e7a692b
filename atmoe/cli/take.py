"""The commands that take something along: report, export."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atmoe import files
from atmoe.cli.common import Commands, Result, positional
from atmoe.cli.given import load_model, steering_of, text_of
from atmoe.errors import DataError, PlanError
from atmoe.written import json_of

if TYPE_CHECKING:
    from atmoe.explanation.drafts import Drafts
    from atmoe.model import AtMoe
    from atmoe.record import Record
    from atmoe.routing.plan import RoutingPlan

FORMS = ("peft", "gguf")


def report(a: argparse.Namespace) -> Result:
    """A record as one HTML file."""
    if a.out.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{a.out} will hold HTML; name it so, with .html at its end.")
    files.must_be_new(a.out)
    from atmoe.report.document import report as document

    router, steered, drafts = _records_of(a.record)
    text = document(router, steered, datetime.now(UTC), drafts)
    files.replace(a.out, text.encode())
    said = "both answers" if steered else "one answer"
    return {"out": str(a.out), "answers": 1 + (steered is not None)}, f"{a.out} holds {said}."


def _records_of(path: Path) -> tuple[Record, Record | None, Drafts | None]:
    """The router's answer, the steered one and the drafts: of a record, or of the page's download.

    Raises:
        DataError: the file cannot be read.
        AtMoeError: it holds no record.
    """
    from atmoe.explanation.drafts import Drafts
    from atmoe.record import Record

    data = _json_of(path)
    if not isinstance(data, dict) or "router" not in data:
        return Record.from_dict(data), None, None
    router, other, drafts = data["router"], data.get("steered"), data.get("drafts")
    first = Record.from_dict(router)
    steered = None if other is None else Record.from_dict(other)
    if steered is not None and steered.plan.layout != first.plan.layout:
        raise DataError(f"The answers in {path} are of two models; use it as it was downloaded.")
    return first, steered, None if drafts is None else Drafts.from_dict(drafts)


def _json_of(path: Path) -> Any:
    try:
        return json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error


def export(a: argparse.Namespace) -> Result:
    """A plan as one plain LoRA."""
    if (a.prompt is None) == (a.plan is None):
        raise DataError("Either a prompt, whose plan it is, or --plan FILE; give one of them.")
    if a.to == "gguf" and a.out.suffix.lower() != ".gguf":
        raise DataError(f"{a.out} will hold GGUF; name it so, with .gguf at its end.")
    files.must_be_new(a.out)
    import torch

    from atmoe.export.gguf_file import write_gguf
    from atmoe.export.lora import write_peft

    model = load_model(a)
    plan = model.route(text_of(a.prompt)) if a.plan is None else _plan_of(a.plan, model)
    steered = steering_of(a).apply(plan)
    if a.strength is not None:  # a file's plan may have another one, which 1 is to replace too
        steered = replace(steered, strength=torch.full_like(plan.strength, a.strength))
    weights = zip(steered.layout.expert_names, steered.mixing.sum(0).tolist())
    used = [name for name, weight in weights if weight]
    write = write_peft if a.to == "peft" else write_gguf
    write(model, steered, a.out)
    result = {
        "out": str(a.out),
        "form": a.to,
        "base": model.info.base_name,
        "base_path": model.base.name_or_path,
        "experts": used,
    }
    return result, (
        f"{a.out} is a LoRA for {model.info.base_name}, of {len(used)} experts: the plan "
        f"of one question, held fixed for all. The base that it was trained on lies in "
        f"{result['base_path']}."
    )


def _plan_of(path: Path, model: AtMoe) -> RoutingPlan:
    """The plan in force that a file holds: a record's, or what route --json printed.

    Of the page's download it is the steered answer's, where there is one.

    Raises:
        DataError: the file cannot be read.
        PlanError: it holds no plan, or another model's.
    """
    from atmoe.routing.plan import RoutingPlan

    data = _json_of(path)
    if isinstance(data, dict) and "router" in data:
        data = data.get("steered") or data["router"]
    if isinstance(data, dict):
        own = data.get("model")  # older plans name none
        if isinstance(own, dict) and own.get("sha256") != model.info.sha256:
            raise PlanError(
                f"{path} is of the model {own.get('name')!r}, and not of the one that is loaded; "
                "pass its --model."
            )
        data = data.get("plan", data)
    plan = RoutingPlan.from_dict(data)
    model.weights_of([plan], 1)  # refuses what does not fit
    return plan


def add_commands(commands: Commands) -> None:
    """Put them among the others."""
    parser = commands.add("report", report, "Write a record as one HTML file to read and print.")
    parser.add_argument(
        "record",
        type=Path,
        metavar="RECORD",
        help="what answer --json or explain --json printed, or the page's download",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new .html file")
    parser = commands.add(
        "export",
        export,
        "Write a plan as one plain LoRA, for PEFT or llama.cpp.",
        [commands.of_model("float32"), commands.steering],
    )
    positional(parser, "prompt", "whose plan it is; - reads standard input")
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="instead of a prompt: a record or the page's download, whose plan in force is taken "
        "(the steered one's, where there is one), or what route --json printed",
    )
    parser.add_argument("--to", choices=FORMS, default=FORMS[0], help="default: peft")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="a new directory; of gguf a file, .gguf",
    )
