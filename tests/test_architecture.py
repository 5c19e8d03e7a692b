"""The structure as pyproject.toml states it: imports point one way, in no circle."""

import subprocess
import sys

from conftest import ROOT


def contract(folder) -> subprocess.CompletedProcess:
    """The import linter, over the checkout's contract."""
    code = (
        "import sys; from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_imports_point_one_way_and_in_no_circle():
    done = contract(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_nothing_is_imported_late_but_what_the_commands_need():
    """A late import hides a circle from a reader; only commands have a reason: a quick help."""
    late = []
    for file in sorted(ROOT.glob("atmoe/**/*.py")):
        if file.parent.name == "cli" or file.name == "__init__.py":
            continue
        lines = file.read_text("utf-8").splitlines()
        late += [
            f"{file.relative_to(ROOT)}:{n}: {line.strip()}"
            for n, line in enumerate(lines, 1)
            if line.startswith("    ") and line.strip().startswith(("from atmoe", "import atmoe"))
        ]
    assert not late
