"""The command that writes a Hugging Face Space: space."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from atmoe.cli.common import Commands, Result, model_argument


def space(a: argparse.Namespace) -> Result:
    """The page and one model, as a directory to upload."""
    from atmoe.export.space import MODEL, write_space
    from atmoe.mixture.hub import folder_of
    from atmoe.sources.index import FOLDER

    written = write_space(folder_of(a.model), a.out)
    command = shlex.join(["hf", "upload", "OWNER/NAME", str(a.out), "--repo-type", "space"])
    size = sum(written.sizes.values())
    notes = []
    if not written.licence:
        notes.append(f"The card of {a.model} names no licence, and so the Space has none.")
    if written.indexed:
        notes.append(
            f"{MODEL / FOLDER} names topics and addresses of the training data; delete it if not "
            "everybody may read those."
        )
    for name in written.large:
        notes.append(
            f"{name} has {written.sizes[name] / 1e6:.0f} MB: upload it as below, for the hub "
            "refuses it in a plain git push."
        )
    result = {
        "out": str(a.out),
        "files": len(written.sizes),
        "bytes": size,
        "large": written.large,
        "licence": written.licence,
        "indexed": written.indexed,
        "command": command,
    }
    head = f"{a.out} holds a Space of {len(written.sizes)} files, {size / 1e6:.0f} MB."
    return result, "\n".join([head, *notes, f"Upload it (hf auth login first):\n\n    {command}"])


def add_commands(commands: Commands) -> None:
    """Put it among the others."""
    parser = commands.add(
        "space", space, "Write the page and a model as a Hugging Face Space, ready to upload."
    )
    parser.add_argument("out", type=Path, metavar="DIR", help="a new directory, or an empty one")
    model_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
