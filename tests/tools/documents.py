"""What documents show of code, commands and reports: made here, put between its marks.

    python tests/tools/documents.py

`PARTS` lists every such part. Between `<!-- mark -->` and `<!-- end -->` of a document nothing is
written by hand. tests/test_documents.py fails where a part is not what would be made now.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# Run as a script, neither the packages nor tests/ are on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.aims import aims_table
from tools.endpoints import endpoints
from tools.markdown import fenced, wrapped
from tools.places import ROOT, file_list, folder_tree
from tools.reports import (
    answers_sentences,
    band_table,
    baseline_table,
    control_table,
    faithfulness_table,
    routing_sentences,
    strength_table,
    third_table,
)
from tools.tables import (
    expert_tokens,
    load_table,
    losses_table,
    operator_table,
    profile_table,
    report,
    speed_before_table,
    speed_table,
    training_table,
)

README = "README.md"
CARD = "assets/medical/README.md"
LIBRARY = "atmoe/README.md"
PAGE = "app/README.md"
CONTRIBUTING = "CONTRIBUTING.md"
DOCUMENTS = (README, CARD, LIBRARY, PAGE, CONTRIBUTING)

QUESTION = "How is asthma treated?"
HELPED = (
    (),
    ("answer",),
    ("evaluate",),
    ("bench",),
    ("train", "experts"),
    ("train", "router"),
    ("train", "planner"),
    ("train", "together"),
)
"""Commands whose --help is shown."""
HELP_COLUMNS = 100


@dataclass(frozen=True)
class Part:
    """A part of a document that is made anew.

    Attributes:
        document: its path from the root.
        mark: what stands in the comment before it.
        text: makes it.
    """

    document: str
    mark: str
    text: Callable[[], str]

    def write(self) -> bool:
        """Put it between its marks.

        Returns:
            Whether that changed the document.
        """
        path = ROOT / self.document
        before = path.read_text("utf-8")
        after = replaced(before, self.mark, self.text())
        path.write_text(after, "utf-8")
        return after != before


def marked(text: str, mark: str) -> str:
    """What stands between a mark and its end, without the blank lines around it.

    Raises:
        ValueError: the mark does not stand there exactly once.
    """
    parts = re.findall(rf"<!-- {re.escape(mark)} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    if len(parts) != 1:
        raise ValueError(f"<!-- {mark} --> … <!-- end --> stands there {len(parts)} times")
    return parts[0].strip("\n")


def replaced(text: str, mark: str, part: str) -> str:
    """A document's text with another part between the marks.

    Raises:
        ValueError: the mark does not stand there exactly once.
    """
    marked(text, mark)
    before, opening, rest = text.partition(f"<!-- {mark} -->\n")
    _, closing, after = rest.partition("<!-- end -->")
    return f"{before}{opening}\n{part}\n\n{closing}{after}"


def of_report(name: str, table: Callable[[Mapping], str]) -> str:
    """A report as Markdown; sentences are broken into lines, rows of a table are not."""
    lines = table(report(name)).splitlines()
    return "\n".join(line if line.startswith("|") else wrapped(line) for line in lines)


def shell(*arguments: str) -> str:
    """A command and what it prints, as one would see it in a terminal."""
    words = [f'"{word}"' if " " in word else word for word in arguments]
    return fenced(f"$ atmoe {' '.join(words)}\n{printed(*arguments)}")


def printed(*arguments: str) -> str:
    """What `atmoe` with these arguments prints on standard output, run in this process."""
    from atmoe.cli.main import main

    output, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(HELP_COLUMNS)  # where argparse breaks its lines
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main(arguments)
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return output.getvalue().strip("\n")


PARTS = (
    Part(PAGE, "endpoints", endpoints),
    Part(README, "folders", folder_tree),
    Part(CARD, "training", training_table),
    Part(CARD, "expert tokens", expert_tokens),
    Part(CARD, "aims", aims_table),
    Part(CARD, "baselines", losses_table),
    Part(CARD, "baselines before", partial(of_report, "evaluate-before", baseline_table)),
    Part(CARD, "routing", partial(of_report, "routing", routing_sentences)),
    Part(CARD, "bands", partial(of_report, "routing", band_table)),
    Part(CARD, "control", partial(of_report, "control", control_table)),
    Part(CARD, "strength", partial(of_report, "strength", strength_table)),
    Part(CARD, "faithfulness", partial(of_report, "faithfulness", faithfulness_table)),
    Part(CARD, "thirds", partial(of_report, "faithfulness", third_table)),
    Part(CARD, "answers", partial(of_report, "answers", answers_sentences)),
    Part(LIBRARY, "route", partial(shell, "route", QUESTION)),
    *(
        Part(LIBRARY, " ".join(("atmoe", *command, "--help")), partial(shell, *command, "--help"))
        for command in HELPED
    ),
    Part(LIBRARY, "speeds", speed_table),
    Part(LIBRARY, "speeds before", speed_before_table),
    Part(LIBRARY, "profile", profile_table),
    Part(LIBRARY, "operators", operator_table),
    Part(LIBRARY, "load", load_table),
    Part(LIBRARY, "files", partial(file_list, "atmoe")),
    Part(PAGE, "files", partial(file_list, "app")),
)


def main() -> None:
    """Make every part anew and say which documents changed."""
    changed = {part.document for part in PARTS if part.write()}
    print("Changed: " + ", ".join(sorted(changed)) if changed else "Nothing was stale.")


if __name__ == "__main__":
    main()
