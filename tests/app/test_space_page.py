"""What `atmoe space` writes, started as a Space starts it: in its folder, with its variables."""

import signal
import time

import pytest
from browser import QUESTION, TOKENS
from commands import run
from gradio_client import Client
from processes import SECONDS, start_page
from spaces import hub_cache, published

from app.view import sampling_of
from atmoe.bench.served import free_port
from atmoe.mixture.replacing import read_config

ENDS_WITHIN = 15
"""Seconds; a host that stops a container waits for thirty."""


@pytest.fixture
def folder(llama, tmp_path, capsys):
    """A Space of a tiny model."""
    model = published(llama, tmp_path / "kitchen")
    run(capsys, "space", str(tmp_path / "space"), "--model", str(model))
    return tmp_path / "space"


def variables(home, port: int) -> dict[str, str]:
    """As the hub sets them for a Space with Gradio, and caches of its own."""
    return {
        "SYSTEM": "spaces",
        "SPACE_ID": "owner/name",
        "SPACE_HOST": "owner-name.hf.space",
        "SPACE_AUTHOR_NAME": "owner",
        "SPACE_TITLE": "AT-MoE Explorer",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_THEME": "huggingface",
        "GRADIO_ALLOW_FLAGGING": "never",
        "CPU_CORES": "2",
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "ATMOE_CACHE": str(home / "cache"),
        "ATMOE_DTYPE": "float32",
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(home / "tmp"),
    }


def test_the_folder_answers_as_the_model_does_is_stopped_at_once_and_starts_again(
    folder, llama, tmp_path, monkeypatch
):
    for name in ("ATMOE_MODEL", "ATMOE_BASE", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    hub_cache(tmp_path / "hf", llama.directory)
    (tmp_path / "tmp").mkdir()
    sealed = read_config(folder / "assets" / "model")[0].sha256
    expected = llama.model.answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0)).answer_tokens
    stored = []
    for _ in range(2):
        port = free_port()
        process, address = start_page(folder / "app.py", folder, variables(tmp_path, port), port)
        try:
            client = Client(address, verbose=False)
            said = client.predict(api_name="/models")
            record = client.predict(QUESTION, None, TOKENS, 0, api_name="/answer")
        finally:
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            log, _ = process.communicate(timeout=SECONDS)
        assert time.monotonic() - began < ENDS_WITHIN
        assert process.returncode == 143 and "app.py: stopped" in log
        assert said["sha256"] == sealed
        assert tuple(record["answer_tokens"]) == tuple(expected)
        stored.append({p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")})
    assert (
        stored[0] and stored[0] == stored[1]
    )  # the second start took what the first had put there
    assert not list((tmp_path / "tmp").glob("atmoe-page-*"))
