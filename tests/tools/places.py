"""Which folders and modules there are, with a line on what is in each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.markdown import fenced, two_columns

ROOT = Path(__file__).resolve().parents[2]
TOP = ("app", "atmoe", "assets", "tests", ".ci", ".github")
FLOW = (
    *("routing", "steering", "mixture", "answer", "explanation", "study", "bench", "data"),
    *("train", "cli"),
    *("ask", "steer", "compare", "why", "what_if", "share", "tour"),
)
"""Folders in the order of the flow; others come after, by name."""
LINES = {
    "assets": "What is shown or shipped and is no code; medical.yaml describes the training",
    "assets/app": "The page's style, scripts, and the text of “How to read it”",
    "assets/figures": "Pictures of what was measured",
    "assets/medical": "The shipped model and its card",
    "assets/medical/experts": "16 LoRA adapters in PEFT's format, in folders group/expert",
    "assets/medical/index": "What the experts learned from: facts, addresses, vectors, words",
    "assets/medical/reports": "What the evaluation commands printed, as JSON",
    "tests": "Tests of what spans folders; browser.py drives the page, conftest.py has tiny models",
    "tests/tools": "What is run by hand: documents, pictures, screenshots, latency, two browsers",
    ".ci": "The check of a commit: run",
    ".github": "The same check on GitHub",
    ".github/workflows": "ci.yml calls .ci/run",
}
"""Of folders without an __init__.py."""
NOT_ENTERED = ("assets/medical/experts",)


def summary(path: Path) -> str:
    """First sentence of a module's docstring, without its full stop.

    Raises:
        ValueError: it has none.
    """
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    sentence = first.partition(". ")[0].rstrip(".:")
    if not sentence:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring to say what it is")
    return sentence


def folders() -> Iterator[str]:
    """Every folder of the repository that holds files of its own, parents first."""
    for top in TOP:
        if (ROOT / top).is_dir():
            yield from _below(top)


def _below(folder: str) -> Iterator[str]:
    yield folder
    if folder in NOT_ENTERED:
        return
    children = [
        path.name
        for path in (ROOT / folder).iterdir()
        if path.is_dir() and not path.name.startswith((".", "__")) and _holds_files(path)
    ]
    for name in sorted(children, key=_in_flow):
        yield from _below(f"{folder}/{name}")


def _holds_files(path: Path) -> bool:
    return any(p.is_file() and "__pycache__" not in p.parts for p in path.rglob("*"))


def _in_flow(name: str) -> tuple[int, str]:
    return (FLOW.index(name) if name in FLOW else len(FLOW), name)


def folder_tree() -> str:
    """Every folder with a line on what is in it; folders of tests that mirror another share one."""
    rows, mirrors = [("app.py", summary(ROOT / "app.py"))], []
    for folder in folders():
        mirrored = folder.removeprefix("tests/")
        if mirrored != folder and folder not in LINES:
            if not any((ROOT / home / mirrored).is_dir() for home in ("", "atmoe")):
                raise ValueError(f"{folder} mirrors no folder; give it a line in LINES")
            mirrors.append(mirrored)
            continue
        *parents, name = folder.split("/")
        init = ROOT / folder / "__init__.py"
        line = LINES[folder] if folder in LINES else summary(init)
        rows.append(("  " * len(parents) + name + "/", line))
    after_tests = [name.strip() for name, _ in rows].index("tests/") + 1
    rows.insert(after_tests, ("  …/", f"Tests of the folder of that name: {', '.join(mirrors)}"))
    return fenced(two_columns(rows))


def file_list(package: str) -> str:
    """Every module of a package, in the order of the flow, with its docstring's first sentence."""
    rows = []
    for folder in _below(package):
        for path in sorted((ROOT / folder).glob("*.py")):
            if not path.name.startswith("__"):
                rows.append((str(path.relative_to(ROOT / package)), summary(path)))
    return fenced(two_columns(rows))
