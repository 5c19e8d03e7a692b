"""The library as others install it: one list of versions, a wheel of `atmoe` alone, quick help."""

import os
import re
import resource
import subprocess
import sys
import tomllib
import zipfile

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
HELP_SECONDS = 1.5
COMMANDS = (
    "fetch",
    "route",
    "answer",
    "explain",
    "score",
    "bench",
    "evaluate",
    "evaluate-routing",
    "evaluate-control",
    "evaluate-answers",
    "evaluate-strength",
    "evaluate-flags",
    "faithfulness",
    "space",
    "index",
    "evaluate-sources",
    "evaluate-familiarity",
    "train",
    "train experts",
    "train router",
    "train planner",
    "train together",
    "train baseline",
    "train baseline lora",
    "train baseline xlora",
)


def listed(name: str) -> list[str]:
    """The requirements in a file, without comments and in order."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def test_the_page_installs_the_versions_that_the_package_names():
    named = [*PROJECT["dependencies"], *EXTRAS["app"], *EXTRAS["train"]]
    assert listed("requirements.txt") == sorted(named)


def test_the_tests_install_the_versions_that_the_package_names():
    assert listed("tests/requirements.txt") == sorted(EXTRAS["test"])


def test_every_version_is_exact():
    for requirement in (*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)):
        assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", requirement), requirement


def elsewhere(code: str, folder, path) -> subprocess.CompletedProcess:
    """Run Python in another folder, with nothing on its path but what `path` holds."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel as pip builds it, unpacked where pip would put it."""
    home = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(home), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and os.environ.get("CI", "").lower() != "true":
        pytest.skip(f"pip cannot build here: {built.stderr.splitlines()[-1:]}")
    assert not built.returncode, built.stderr
    [wheel] = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "site")
    return home / "site"


def test_the_wheel_holds_atmoe_alone_and_the_data_it_reads(installed):
    names = {path.name for path in installed.iterdir()}
    assert {n for n in names if not n.endswith(".dist-info")} == {"atmoe"}
    data = [f"data/{name}" for name in ("terms", "templates", "wordings")]
    for needed in ("py.typed", *(f"{name}.json" for name in data), "data/medical.yaml"):
        assert (installed / "atmoe" / needed).is_file(), needed


def test_the_wheel_is_imported_from_any_folder(installed, tmp_path):
    code = (
        "import atmoe, atmoe.data; print(atmoe.__file__, atmoe.__version__, atmoe.data.MEDICAL);"
        "from atmoe import *; print(AtMoe.__name__, Steering().strength);"
        "print(len(atmoe.data.Description.load(atmoe.data.MEDICAL).groups))"
    )
    done = elsewhere(code, tmp_path, installed)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.split()[0] == str(installed / "atmoe" / "__init__.py")
    assert first.split()[2] == str(installed / "atmoe" / "data" / "medical.yaml")
    assert second == "AtMoe 1.0" and third == "3"


def test_without_the_repository_a_sentence_says_where_the_medical_model_is(installed, tmp_path):
    code = "from atmoe.cli.main import main; main(['route', 'How is asthma treated?'])"
    done = elsewhere(code, tmp_path, installed)
    assert done.returncode == 2 and done.stdout == ""
    [sentence] = done.stderr.splitlines()
    assert "lies in the repository" in sentence and "--model" in sentence


def test_without_the_repository_a_sentence_says_where_the_page_is(installed, tmp_path):
    code = "from atmoe.cli.main import main; main(['space', 'new'])"
    done = elsewhere(code, tmp_path, installed)
    assert done.returncode == 2 and done.stdout == ""
    [sentence] = done.stderr.splitlines()
    assert "git clone" in sentence and not (tmp_path / "new").exists()


def test_the_version_is_that_of_the_package():
    import atmoe

    done = subprocess.run(
        [sys.executable, "-m", "atmoe", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["atmoe", atmoe.__version__]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_at_once(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "atmoe", *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0 and done.stdout.startswith("usage: ")
    assert spent < HELP_SECONDS


def test_every_public_name_is_where_it_is_said_to_be():
    import atmoe

    assert all(getattr(atmoe, name) is not None for name in atmoe.__all__)
    assert set(atmoe.__all__) <= set(dir(atmoe))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = atmoe.nothing
