"""Many people at a page of its own process: what is counted, and that it is."""

import json

import httpx
import pytest
import uvicorn
from conftest import ROOT, aside, finished

from atmoe.bench import load as loading
from atmoe.bench.load import ASKED, alone, crowd, load, out_of_order
from atmoe.bench.ratios import of_load
from atmoe.bench.served import IDLE_SECONDS, connected
from atmoe.bench.taken import memory
from atmoe.errors import AtMoeError


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(loading, "LEFT_SECONDS", 0)


@pytest.fixture(scope="module")
def trained(worlds, tmp_path_factory):
    """(a tiny model, its base), as a page is started over."""
    world = worlds("llama")
    folder = tmp_path_factory.mktemp("loaded")
    world.build().save_pretrained(folder)
    return folder, str(world.directory)


def test_people_are_answered_as_alone_and_counted(here, trained):
    model, base = trained
    told = aside(load, model, "float32", 4, 3, base)
    assert told["answers"] >= 4 and told["people"] == 4
    assert told["refused"] == told["lost"] == told["other_than_alone"] == 0
    assert not told["refusals"] and told["answers_per_s"] > 0 < told["first_words_s"]["alone"]
    words = told["first_words_s"]
    assert 0 <= words["median"] <= words["most"] and 0 <= words["newcomers"] <= words["most"]
    assert 0 <= words["cores_allow"] < words["newcomers"]  # there is a page around
    assert 0 <= told["out_of_order"] < 1


def test_another_answer_and_a_refusal_are_told(here, served):
    address, _ = served

    async def run():
        async with connected(address) as client:
            expected = await alone(client)
            wrong = dict.fromkeys(ASKED[::2], "another") | {q: expected[q] for q in ASKED[1::2]}
            other = await crowd(client, 2, 2, wrong)  # the second comes after half a second
            refusing = loading.Told()
            assert await loading._ask(client, " ", refusing) is None
            return other, refusing

    told, refusing = finished(run())
    assert told.wrong and {*told.wrong} <= {*ASKED[::2]} and told.answers > len(told.wrong)
    assert len(refusing.refused) == 1 and refusing.first == [None] and not refusing.answers


def test_memory_is_what_the_system_says(here, trained):
    model, base = trained
    took = aside(memory, model, "float32", base)
    assert 100 < took["libraries_mb"] < took["ready_mb"] <= took["peak_mb"] + 1
    assert took["answered_mb"] <= took["peak_mb"] + 1 and took["own_to_weights"] > 0


def test_a_connection_is_given_up_before_the_server_closes_it():
    assert uvicorn.Config("app").timeout_keep_alive > 2 * IDLE_SECONDS


def test_shares_that_a_later_run_is_held_against():
    told = {
        "people": 4,
        "answers": 6,
        "refused": 1,
        "lost": 1,
        "other_than_alone": 3,
        "out_of_order": 0.25,
        "first_words_s": {"newcomers": 5.0, "cores_allow": 4.0},
    }
    shares = {name: ratio["median"] for name, ratio in of_load(told).items()}
    assert shares == {
        "4 people, pairs served in order": 0.75,
        "4 people, served": 0.75,
        "4 people, answered as alone": 0.5,
        "4 people, first words the cores allow to first words": 0.8,
    }
    none = {"first_words_s": {"newcomers": None, "cores_allow": 4.0}}
    nobody = of_load(told | dict.fromkeys(("answers", "refused", "lost"), 0) | none)
    assert list(nobody) == ["4 people, pairs served in order"]


def test_a_stream_that_ends_with_no_answer_is_lost():
    async def cut(request):
        if request.method == "POST":
            return httpx.Response(200, json={"event_id": "1"})
        data = json.dumps([{"answer": "Half an"}])
        return httpx.Response(200, text=f"event: generating\ndata: {data}\n\n")

    async def run(told):
        async with httpx.AsyncClient(
            base_url="http://page", transport=httpx.MockTransport(cut)
        ) as client:
            return await loading._ask(client, "What is gout?", told)

    told = loading.Told()
    assert finished(run(told)) is None and told.lost == ["What is gout?"] and not told.answers


def test_newcomers_waits_are_told_apart():
    told = loading.Told([0.0, 1.0, 2.0, 3.0], [2.0, None, 7.0, 4.0], newcomers={0, 1, 2})
    assert told.waits() == [2.0, 5.0, 1.0] and told.waits(newcomers=True) == [2.0, 5.0]


def test_order_is_of_pairs_that_were_served():
    assert out_of_order([0, 1, 2, 3], [5, 6, None, 9]) == 0
    assert out_of_order([0, 1, 2], [7, 6, 5]) == 1
    assert out_of_order([1, 0, 2], [5, 6, 7]) == pytest.approx(1 / 3)
    assert out_of_order([], []) == 0


def test_without_a_page_it_says_what_to_do(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AtMoeError, match="from the root of a checkout"):
        load(trained[0], "float32", 1, 1)
    (tmp_path / "app.py").write_text("raise SystemExit('no such model')")
    with pytest.raises(AtMoeError, match="did not come up: no such model"):
        memory(trained[0], "float32")
