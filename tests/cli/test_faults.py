"""How a command ends that something stops: a signal, a closed pipe, a full disk."""

import errno
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from commands import refused
from conftest import ROOT

from atmoe.cli import main as commands
from atmoe.cli.ending import Terminated

STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143}
SLOW = """
import sys, time
from atmoe.cli.ending import run
def wait():
    for _ in range(600):
        time.sleep(0.05)
def main():
    {body}
run("atmoe", main)
"""
# In short naps: a signal just before a long one begins would be seen at its end alone.
WAITS = 'print("ready", flush=True); wait()'
IMPORTS = 'print("ready", flush=True); import torch, transformers, peft; wait()'
# As a server's threads do, and a model's; each comes out of native code all the time.
IN_TORCH = """
    import threading, torch
    x = torch.ones(300, 300)
    def work():
        while True:
            x @ x
    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    print("ready", flush=True); wait()
"""
IN_DESTRUCTOR = """
    class Ends:
        def __del__(self):
            print("ready", flush=True); time.sleep(1)
    x = Ends()
    del x
    wait()
"""


def process(body, **options):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW.format(body=body)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("number", STOPS, ids=lambda n: n.name)
@pytest.mark.parametrize(
    "body, seconds",
    [
        (WAITS, 0),
        (IMPORTS, 0.1),
        (IMPORTS, 0.6),
        (IN_DESTRUCTOR.strip(), 0.1),
        (IN_TORCH.strip(), 0.5),
    ],
    ids=["command", "first imports", "later imports", "destructor", "threads in native code"],
)
def test_a_stopped_command_says_so_and_no_more(number, body, seconds):
    running = process(body)
    assert running.stdout.readline() == "ready\n"
    time.sleep(seconds)
    running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (STOPS[number], "atmoe: stopped\n")


def test_a_stop_cleans_up(tmp_path):
    body = f"""
    import pathlib
    from atmoe import files
    with files.room(pathlib.Path({str(tmp_path)!r}), ".tmp-") as room:
        try:
            {WAITS}
        finally:
            room.rmdir()
    """
    running = process(body.strip())
    assert running.stdout.readline() == "ready\n" and os.listdir(tmp_path)
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143 and os.listdir(tmp_path) == []


def test_a_stop_that_a_library_makes_an_error_of_its_own():
    body = """
    try:
        print("ready", flush=True); wait()
    except BaseException:
        raise ImportError("cannot import name 'x'")
    """
    running = process(body.strip())
    running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (130, "atmoe: stopped\n")


def test_an_error_of_ours_keeps_its_traceback():
    running = process("1 / 0")
    assert "ZeroDivisionError" in running.communicate(timeout=30)[1] and running.returncode == 1


def shell(line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PY": sys.executable},
    )
    return done.returncode, done.stderr


LONG = "-c \"from atmoe.cli.ending import emit, run; run('atmoe', lambda: emit({}))\""


@pytest.mark.parametrize(
    "words", ["-m atmoe --help", LONG.format("'x'"), LONG.format("'x' * 1000000")]
)
@pytest.mark.parametrize("reader", ["true", "head -c 0"])
def test_a_reader_that_goes_away(words, reader):
    status, errors = shell(f'"$PY" {words} | (sleep 0; exec {reader})')
    assert status in (0, 141) and errors == ""


@pytest.mark.parametrize(
    "words", ["-m atmoe --version", LONG.format("'x'"), LONG.format("'x' * 1000000")]
)
def test_a_full_disk_behind_standard_output(words):
    status, errors = shell(f'"$PY" {words} > /dev/full')
    assert status == 2 and errors.count("\n") == 1
    assert errors.startswith("atmoe: Standard output cannot be written, for the disk is full")


def test_nobody_to_tell(tmp_path):
    assert shell('"$PY" -m atmoe route x --model nowhere 2> /dev/full')[0] == 2
    assert shell('"$PY" -m atmoe --version >&-')[0] == 0


@pytest.mark.parametrize(
    "error, sentence",
    [
        (OSError(errno.ENOSPC, "No space left on device", "kitchen/x"), "kitchen/x .*disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "kitchen"), "kitchen .*permissions"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"k"), "read or written .*a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_sentence(capsys, monkeypatch, error, sentence):
    def fetch(a):
        raise error

    monkeypatch.setattr(commands.ask, "fetch", fetch)
    assert re.search(sentence, refused(capsys, "fetch"))


@pytest.mark.parametrize(
    "raised, status",
    [(KeyboardInterrupt(), 130), (Terminated(143), 143), (BrokenPipeError(32, "gone"), 141)],
)
def test_what_stops_a_command_in_this_process(capsys, monkeypatch, raised, status):
    def fetch(a):
        raise raised

    monkeypatch.setattr(commands.ask, "fetch", fetch)
    with pytest.raises(SystemExit) as stopped:
        commands.main(["fetch"])
    assert stopped.value.code == status and "Traceback" not in capsys.readouterr().err
