"""A saved AT-MoE on the hub: fetched by its name, and with a card where it brings none along."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from atmoe.errors import AssetError, BaseModelError
from atmoe.mixture.base import peft_name
from atmoe.mixture.config import CONFIG, ROUTER, Info
from atmoe.mixture.snapshots import is_hub_id, snapshot
from atmoe.routing.layout import Layout

log = logging.getLogger(__name__)

CARD = "README.md"
COMPANIONS = (CARD, "cases.json", "reports/strength.json")
"""What lies beside a model and says something of it: its card, its cases, and what the page reads
of its reports."""
PARTS = [CONFIG, ROUTER, "experts/**", "index/**", *COMPANIONS]
"""All that is fetched. What a training leaves beside a model is none of it."""


def folder_of(path: str | Path, revision: str | None = None) -> Path:
    """Where a model lies: a directory of this machine, or the hub's copy of one.

    Args:
        path: the directory; or a hub id ("org/name"), where there is no such directory, nor one
            called "org".
        revision: of which commit; None = the current one.

    Raises:
        AssetError: the hub has it not, or cannot be asked.
    """
    path = Path(path)
    # what would lie in a directory of this machine is a slip of the pen, and nobody's on the hub
    if path.exists() or not is_hub_id(path) or path.parent.is_dir():
        return path
    try:
        return snapshot(str(path), PARTS, revision, "pass the directory of a trained model")
    except BaseModelError as error:
        raise AssetError(str(error)) from error


def take_along(folder: Path, path: Path) -> None:
    """Copy a model's companions to where the same model was saved; what lies there stays.

    Args:
        folder: where it was loaded from.
        path: where it was saved.
    """
    for name in COMPANIONS:
        if (folder / name).is_file() and not (path / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, path / name)


def set_aside(path: Path, sha256: str) -> None:
    """Move the companions of a model that another was saved over out of its way, and say so.

    Args:
        path: where both were saved.
        sha256: of the model that lay there before.
    """
    names = [name for name in COMPANIONS if (path / name).is_file()]
    if not names:
        return
    own = path / f"of-{sha256[:12] or 'another'}"
    aside = next(
        place
        for number in itertools.count(1)
        if not (place := own if number == 1 else path / f"{own.name}-{number}").exists()
    )
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(path / name, aside / name)
    log.warning(
        "%s in %s told of the model that lay there, not of the one that is saved there now; moved "
        "into %s.",
        ", ".join(names),
        path,
        aside,
    )


def card_of(info: Info, layout: Layout) -> ModelCard:
    """A card that says what is known of any model, limits first.

    Args:
        info: its names and limits.
        layout: its groups and experts.
    """
    base, _ = peft_name(info.base_name, info.base_sha256, info.base_locator)
    public = is_hub_id(base)
    data = ModelCardData(
        base_model=base if public else None,
        language=info.language or None,
        library_name="atmoe",
        tags=["lora", "mixture-of-experts", "interpretability"],
    )
    rows = "".join(f"| {group} | {', '.join(experts)} |\n" for group, experts in layout.groups)
    named = "" if public else ', base="PATH"'
    elsewhere = (
        ""
        if public
        else f"- Its base, {info.base_name} (sha256 {info.base_sha256[:12]}…), was named by a path "
        "of its maker's machine: whoever loads it names their own copy.\n"
    )
    return ModelCard(
        f"---\n{data.to_yaml()}\n---\n\n"
        f"# {info.name}: {len(layout.expert_names)} LoRA experts in {len(layout.groups)} groups on "
        f"{base if public else info.base_name}\n\n"
        "## Limits\n\n"
        f"- {info.page.warning} Made by `push_to_hub`: nothing that was measured of this model "
        "stands here.\n"
        "- A routing weight says what the router gave, not what mattered to an answer; that is "
        "measured by leaving a part out.\n"
        f"- Questions have up to {info.max_prompt_tokens:,} tokens.\n{elsewhere}\n"
        f"## Experts\n\n| group | experts |\n| --- | --- |\n{rows}\n"
        "Each is a LoRA in PEFT's format, under `experts/<group>/<expert>/`; a router shares out "
        "weight between the groups, then inside each, at every layer.\n\n"
        "## Use\n\n```python\nfrom atmoe import AtMoe\n\n"
        f'model = AtMoe.from_pretrained("OWNER/{info.name}"{named})\n'
        'print(model.answer("…").answer)\n```\n'
    )
