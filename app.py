"""AT-MoE Explorer: `python app.py` opens the page; a Space runs the same."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atmoe import files
from atmoe.cli.common import device_argument
from atmoe.cli.ending import Terminated, run
from atmoe.mixture.precision import CHOICES, VARIABLE, chosen, placed

if TYPE_CHECKING:
    from app.several import Shown

ASSETS = Path(__file__).parent / "assets"
SHIPPED = ASSETS / "medical"
DEFAULT_MODEL = SHIPPED if SHIPPED.is_dir() else ASSETS / "model"
"""The shipped model; what `atmoe space` writes has one model, in that other place."""
ROOM = "atmoe-page-"
"""What the name of the page's own temporary directory begins with."""


def main() -> int:
    """Load the model, then serve the page until interrupted.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        action="append",
        help="a saved AT-MoE, a directory or a hub id (default: $ATMOE_MODEL, else "
        "the one in assets/); given again, another one, with a page of its own beside the first's",
    )
    parser.add_argument(
        "--base", help="the base model: a path or hub id (default: the one the model names)"
    )
    parser.add_argument(
        "--dtype",
        choices=CHOICES,
        help=f"precision (default: ${VARIABLE}, else auto: what this machine is quick in)",
    )
    device_argument(parser)
    parser.add_argument(
        "--host", help="address to listen on (default: this machine only; a Space sets it)"
    )
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--root-path",
        type=_root_path,
        metavar="/PATH",
        help="where a proxy shows the page, if not at the root of its host (default: "
        "$GRADIO_ROOT_PATH)",
    )
    args = parser.parse_args()

    # Uploads and downloads hold people's questions: all of them lie in one directory, which goes
    # with the process, however that ends; what a killed one left goes now.
    parent = Path(tempfile.gettempdir())
    for left in files.abandoned(parent, ROOM):
        shutil.rmtree(left, ignore_errors=True)
    with files.room(parent, ROOM) as room:
        os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = str(room)
        # Gradio remembers the last 10,000 events, and sums up all their times after each one, for a
        # monitoring page that is off here: up to 40 ms of a core each time, and 6 MB.
        os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(sys.maxsize)
        os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
        try:
            _serve(args)
        finally:
            shutil.rmtree(room, ignore_errors=True)
    return 0


def _root_path(text: str) -> str:
    """A path from the root of a host, or a whole address, without a slash at its end."""
    if not text.startswith(("/", "http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with /, as /atmoe does")
    return text.rstrip("/")


def _serve(args: argparse.Namespace) -> None:
    """Load what is shown and launch it; what that needs takes seconds to import."""
    from app.logs import bound
    from app.serving import finish
    from app.several import Shown
    from atmoe import AtMoe
    from atmoe.mixture.hub import folder_of

    bound()
    device = placed(args.device)
    shown = []
    for name in args.model or [os.environ.get("ATMOE_MODEL") or DEFAULT_MODEL]:
        folder = folder_of(name)
        model = AtMoe.from_pretrained(folder, args.base, chosen(args.dtype, device), device=device)
        shown.append(Shown(model, folder, _licence(folder / "README.md")))
    try:
        _launch(shown, args)
    except Terminated:
        finish()
        raise


def _launch(shown: Sequence[Shown], args: argparse.Namespace) -> None:
    """A page for each model, until interrupted."""
    from app.cases import read_cases
    from app.launch import launching
    from app.page import build
    from app.several import serve

    if len(shown) > 1:
        serve(shown, args.host, args.port, args.root_path)
        return
    [(model, folder, licence)] = shown
    page = build(model, folder / "reports", read_cases(folder, model.info.sha256), licence)
    try:
        page.launch(
            server_name=args.host,
            server_port=args.port,
            root_path=args.root_path,
            **launching(model),
        )
    except KeyboardInterrupt:
        # Once it is served, Ctrl-C is its end; Gradio takes it so only from a moment later on.
        if not page.is_running:
            raise
        page.close(verbose=False)


def _licence(card: Path) -> str:
    """The licence that a model's card names; "" = there is no such card, or none in it."""
    from huggingface_hub import ModelCard

    try:
        return (ModelCard.load(card).data.license or "") if card.is_file() else ""
    except Exception:  # of YAML's own kinds; a page is served without
        return ""


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
