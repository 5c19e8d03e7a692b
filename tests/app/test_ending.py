"""The page's process: however it ends, nobody's question stays on the disk."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from processes import SECONDS, start

TOKENS = 200


@pytest.fixture(scope="module")
def saved(worlds, tmp_path_factory):
    """A tiny model and its base."""
    home = tmp_path_factory.mktemp("served")
    llama = worlds("llama")
    llama.model.save_pretrained(home / "model")
    return ["--model", str(home / "model"), "--base", str(llama.directory)]


def upload(address: str, text: str) -> None:
    """Send a file as the page does."""
    boundary = "XXX"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="r.json"\r\n'
        f"Content-Type: application/json\r\n\r\n{text}\r\n--{boundary}--\r\n"
    ).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{address}/gradio_api/upload", body, headers)
    assert urllib.request.urlopen(request).status == 200


def holding(folder: Path, text: str) -> list[Path]:
    """Files below a folder in which a text stands."""
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def ends_well(process: subprocess.Popen, status: int, folder: Path) -> str:
    """A page that was told to end does, and leaves nothing of anybody. → what it said"""
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == status and "Traceback" not in said
    assert not holding(folder, "my own question")
    assert not list(folder.glob("atmoe-page-*"))
    return said


def test_what_a_killed_page_left_is_removed_at_the_next_start_and_ctrl_c_leaves_nothing(
    saved, tmp_path
):
    process, address = start(saved, tmp_path)
    upload(address, '{"a": "my own question"}')
    process.kill()
    process.communicate(timeout=SECONDS)
    assert holding(tmp_path, "my own question")
    process, address = start(saved, tmp_path)
    assert not holding(tmp_path, "my own question")
    upload(address, '{"a": "my own question"}')
    assert holding(tmp_path, "my own question")
    process.send_signal(signal.SIGINT)
    ends_well(process, 0, tmp_path)


def test_a_page_that_is_stopped_while_it_starts_says_so_in_a_word(saved, tmp_path):
    command = [sys.executable, str(ROOT / "app.py"), *saved]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and said.strip() == "app.py: stopped"


def test_a_page_that_is_stopped_finishes_what_streams_tells_the_rest_and_leaves_nothing(
    saved, tmp_path
):
    process, address = start(saved, tmp_path)
    upload(address, '{"a": "my own question"}')
    assert holding(tmp_path, "my own question")
    with httpx.Client(base_url=address, timeout=SECONDS) as client, ThreadPoolExecutor(40) as pool:

        def ask(number: int) -> str:
            data = {"data": [f"How is asthma treated, {number}?", None, TOKENS, 0, 0.0, True]}
            event = client.post("/gradio_api/call/answer", json=data).json()["event_id"]
            with client.stream("GET", f"/gradio_api/call/answer/{event}") as stream:
                told = []
                for line in stream.iter_lines():
                    told.append(line)
                    if line == "event: generating":
                        begun.set()
                return "\n".join(told)

        begun = threading.Event()
        asked = [pool.submit(ask, number) for number in range(40)]
        assert begun.wait(SECONDS)
        process.send_signal(signal.SIGTERM)
        told = [each.result() for each in asked]
    assert "app.py: stopped" in ends_well(process, 143, tmp_path)
    refused = [text for text in told if "restarted; ask again in a minute. [closing]" in text]
    whole = [text for text in told if "event: complete" in text]
    assert len(refused) + len(whole) == len(told) and refused and whole
    for text in whole:
        last = json.loads(text.rpartition("data: ")[2])[0]
        assert last["finish"] in ("stop", "length")
