"""What the page's process writes of what is sent to it: little, and nobody's words."""

import logging
import signal
import sys

import httpx
import pytest
from processes import SECONDS, start

from app.logs import LETTERS, Line, told

SECRET = "xylophone-jaundice"
MOST = 2000
"""Bytes that a request may write."""


def failing():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise KeyError(SECRET) from error


def test_an_error_is_its_kind_and_its_places_and_never_its_message():
    with pytest.raises(KeyError) as caught:
        failing()
    said = told(caught.value)
    assert said.startswith("KeyError at app/test_logs.py:")
    assert ", after ValueError at app/test_logs.py:" in said
    assert SECRET not in said


def test_a_line_is_the_first_of_its_message_and_bounded():
    try:
        failing()
    except KeyError:
        record = Line("a", logging.ERROR, "p", 1, "in %s\n%s", ("x" * 9999, SECRET), sys.exc_info())
    said = logging.Formatter().format(record)
    assert SECRET not in said and "KeyError at" in said
    assert record.getMessage() == ("in " + "x" * LETTERS)[:LETTERS]


def test_no_request_writes_much_or_what_was_asked(worlds, tmp_path):
    """Each way to be refused that an address of the page has, and one way to be answered."""
    llama = worlds("llama")
    llama.model.save_pretrained(tmp_path / "model")
    saved = ["--model", str(tmp_path / "model"), "--base", str(llama.directory)]
    process, address = start(saved, tmp_path)
    with httpx.Client(base_url=address, timeout=SECONDS) as client:

        def call(*data):
            reply = client.post("/gradio_api/call/answer", json={"data": list(data)})
            return client.get(f"/gradio_api/call/answer/{reply.json()['event_id']}").text

        assert "event: complete" in call(SECRET, None, 4, 0, 0.0, True)
        assert "event: error" in call(f"{SECRET} " * 3000, None, 4, 0, 0.0, True)
        assert "event: error" in call(SECRET)
        assert "event: error" in call({"a": SECRET}, None, "x", 0, 0.0, True)
        assert "event: error" in call(SECRET, {"a": SECRET}, 4, 0, 0.0, True)
        bad = client.post("/gradio_api/call/answer", content=f'{{"data": ["{SECRET}'.encode())
        assert bad.status_code == 422
        client.post("/gradio_api/upload", files={"files": (SECRET, b"x" * 2_000_000)})
        client.get(f"/gradio_api/file=/etc/{SECRET}")
        client.get("/" + SECRET * 100)
        # every event of the page, given what it does not take
        refused = 0
        for event in client.get("/config").json()["dependencies"]:
            if event["backend_fn"] and event["inputs"]:
                sent = {"data": [SECRET] * len(event["inputs"]), "fn_index": event["id"]}
                sent["session_hash"] = f"visitor{event['id']}"
                reply = client.post("/gradio_api/run/predict", json=sent)
                refused += reply.status_code == 500
        assert refused > 3
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert SECRET not in said and "Traceback" not in said
    lines = said.splitlines()
    assert any(" at " in line for line in lines)  # what failed is told
    assert max(map(len, lines)) < MOST and len(said) < MOST * refused
