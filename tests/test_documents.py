"""What documents say is so: what is made is fresh; links, paths, commands and code hold."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT
from tools.aims import Aim
from tools.documents import CONTRIBUTING, DOCUMENTS, LIBRARY, PARTS, QUESTION, README, marked, shell
from tools.places import NOT_ENTERED, TOP, folders
from tools.tables import report, rounded

from atmoe.data.description import MEDICAL, Description

TEXTS = {name: (ROOT / name).read_text("utf-8") for name in DOCUMENTS}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w/.~$-])((?:\.{0,2}[\w-]+/)*[\w-]+\.(?:py|sh|js))(?!\w)")
COMMAND = re.compile(r"(?:python -m atmoe|^atmoe) +(\S.*)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def fenced(name: str, language: str) -> list[str]:
    """The blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE)


def prose(name: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)


# -- what is made ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [p for p in PARTS if p.mark != "route"], ids=lambda p: p.mark)
def test_what_is_made_is_what_would_be_made_now(part):
    if part.mark.endswith("--help") and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse words its help otherwise in other versions of Python")
    assert marked(TEXTS[part.document], part.mark) == part.text(), (
        "stale; make it again with  python tests/tools/documents.py"
    )


def test_an_aim_that_is_missed_by_a_hair_does_not_look_met():
    assert Aim("τ-b", 0.3497, 0.35, rounded, 2).row() == ("τ-b", "0.3497", "0.35", "**no**")
    assert Aim("τ-b", 0.35, 0.35, rounded, 2).row() == ("τ-b", "0.35", "0.35", "yes")
    assert Aim("flagged", 0.051, 0.05, most=True).row()[1:] == ("5.1%", "at most 5%", "**no**")


def test_the_answer_shown_is_what_the_command_prints(medical, monkeypatch):
    """To one in the last digit, for processors round differently."""
    monkeypatch.setattr("atmoe.cli.ask.load_model", lambda arguments: medical)
    shown, now = marked(TEXTS[LIBRARY], "route"), shell("route", QUESTION)
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", now)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (shown, now)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.1001)


def test_every_mark_is_one_of_those():
    made = {(part.document, part.mark) for part in PARTS} | {
        (README, "test command"),
        (LIBRARY, "recipe"),
    }
    comment = re.compile(r"^<!-- (.*) -->$", re.MULTILINE)
    marks = [(name, mark) for name in TEXTS for mark in comment.findall(TEXTS[name])]
    assert sorted(m for m in marks if m[1] != "end") == sorted(made)
    assert sum(mark == "end" for _, mark in marks) == len(made)


def test_every_folder_is_in_the_tree():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no repository here")
    parents = {
        str(folder)
        for file in listed.stdout.splitlines()
        if (ROOT / file).exists()
        for folder in Path(file).parents
    }
    inside = {p for p in parents if any(p.startswith(f"{folder}/") for folder in NOT_ENTERED)}
    assert parents - inside - {"."} <= set(folders())


def test_the_page_says_of_the_weights_what_was_measured():
    """The medical model's notes are written by hand; their figures are those of the report."""
    measured, text = report("faithfulness"), Description.load(MEDICAL).page.notes
    agrees, verdicts = measured["top_expert_agrees"], measured["verdicts"]
    assert f"the answers to {measured['prompts']} questions" in text
    assert f"in {agrees['task']:.0%} and {agrees['audience']:.0%}" in text
    assert f"in specialty in {agrees['specialty']:.0%}" in text
    several = measured["among_several"]
    assert f"it was so in {several['agree']} of {several['of']}." in text
    assert f"(Kendall's τ-b {measured['kendall']['weight']['expert']:.2f};" in text
    assert f"over groups fairly well ({measured['kendall']['weight']['group']:.2f})" in text
    assert (
        f"“explain” for {verdicts['explain']} answers, “partly” for {verdicts['partly']} and "
        f"“do not” for {verdicts.get('do not', 0)}." in text
    )


# -- what is written ---------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(TEXTS[README].splitlines()) <= 150
    assert len(TEXTS[CONTRIBUTING].splitlines()) <= 90


def anchors(path: Path) -> set[str]:
    """What GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    broken = []
    for link in LINK.findall(prose(name)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_named_exist(name):
    homes = (ROOT, (ROOT / name).parent)
    # A file's bare name may stand for one in each folder (“area.py its components”).
    missing = [
        path
        for path in PATH.findall(TEXTS[name])
        if not any((home / path).exists() for home in homes)
        and ("/" in path or not any(file for top in TOP for file in (ROOT / top).rglob(path)))
    ]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_modules_that_are_named_exist(name):
    for module, names in re.findall(r"from (atmoe[\w.]*) import ([\w, ]+)", TEXTS[name]):
        loaded = import_module(module)
        assert all(hasattr(loaded, each.strip()) for each in names.split(","))


def commands(name: str) -> list[str]:
    """The atmoe commands in a document's blocks, as a shell would read them; comments left out."""
    found, variables = [], {}
    for block in fenced(name, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            assigned = re.match(r'(\w+)="(.*?)"', line)
            if assigned:
                variables[assigned[1]] = assigned[2]
            command = COMMAND.search(line)
            if command and "accelerate" not in line:
                found.append(re.sub(r"\$(\w+)", lambda m: variables[m[1]], command[1]))
    return found


COMMANDS = [command for name in DOCUMENTS for command in commands(name)]


def test_commands_were_found():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    from atmoe.cli.main import build_parser

    words = shlex.split(command, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    build_parser().parse_args(words)  # exits where it does not know one


@pytest.mark.parametrize("name", [README, LIBRARY])
def test_python_runs(name, medical, monkeypatch, capsys):
    """With answers of four tokens."""
    monkeypatch.setattr("atmoe.AtMoe.from_pretrained", lambda path: medical)
    answer = medical.answer
    from atmoe import Sampling

    monkeypatch.setattr(
        medical, "answer", lambda *a: answer(*a, Sampling(max_new_tokens=4)), raising=False
    )
    [code] = fenced(name, "python")
    exec(compile(code.replace("=120", "=4"), name, "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 4
