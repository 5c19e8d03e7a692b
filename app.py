"""AT-MoE Explorer: `python app.py` opens the page; a Space runs the same."""

import argparse
import os
import sys
from pathlib import Path

from app.page import LAUNCH, build
from atmoe import AtMoe, AtMoeError
from atmoe.mixture.precision import CHOICES, VARIABLE, chosen

DEFAULT_MODEL = Path(__file__).parent / "assets" / "medical"


def main() -> int:
    """Load the model, then serve the page until interrupted.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        default=os.environ.get("ATMOE_MODEL", DEFAULT_MODEL),
        help="a saved AT-MoE (default: $ATMOE_MODEL, else assets/medical)",
    )
    parser.add_argument(
        "--base", help="the base model: a path or hub id (default: the one the model names)"
    )
    parser.add_argument(
        "--dtype",
        choices=CHOICES,
        help=f"precision (default: ${VARIABLE}, else auto: what this machine is quick in)",
    )
    parser.add_argument(
        "--host", help="address to listen on (default: this machine only; a Space sets it)"
    )
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    args = parser.parse_args()
    try:
        page = build(
            AtMoe.from_pretrained(args.model, args.base, chosen(args.dtype)),
            Path(args.model) / "reports",
        )
    except AtMoeError as error:
        print(error, file=sys.stderr)
        return 2
    page.launch(server_name=args.host, server_port=args.port, **LAUNCH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
