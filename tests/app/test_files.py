"""What a browser fetches to open the page, over the page's own server."""

import gzip
import re
from pathlib import Path

import brotli
import gradio
import httpx
import pytest
from conftest import finished
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from app.files import FOREVER, Files

GRADIOS = Path(gradio.__file__).parent / "templates" / "frontend"
WAYS = {"br": brotli.decompress, "gzip": gzip.decompress}


def raw(address: str, path: str, encoding: str, **headers: str) -> httpx.Response:
    """A response whose content is as it came, compressed."""
    with httpx.Client(base_url=address) as client:
        request = client.build_request(
            "GET", path, headers={"accept-encoding": encoding, **headers}
        )
        response = client.send(request, stream=True)
        response.as_it_came = b"".join(response.iter_raw())
        response.close()
        return response


@pytest.fixture(scope="module")
def home(served) -> str:
    return served[0].partition("?")[0]


@pytest.fixture(scope="module")
def script(home) -> str:
    """The path of a script that the page names."""
    return re.search(r"assets/[\w-]+\.js", httpx.get(home).text)[0]


@pytest.mark.parametrize("encoding", WAYS)
def test_the_page_is_a_fraction_of_its_size_on_its_way_and_the_same(home, encoding):
    plain = raw(home, "", "identity")
    packed = raw(home, "", encoding)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == encoding
    assert int(packed.headers["content-length"]) == len(packed.as_it_came)
    assert len(packed.as_it_came) < len(plain.as_it_came) / 5
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert "cache-control" not in packed.headers  # what is set may be another one tomorrow

    def same(page: bytes) -> bytes:
        """Each visitor's page has a few names of its own."""
        return re.sub(rb"[0-9a-z]{10,}", b"", page)

    assert same(WAYS[encoding](packed.as_it_came)) == same(plain.as_it_came)


@pytest.mark.parametrize("encoding", WAYS)
def test_a_script_is_gradios_own_and_need_not_be_asked_for_again(home, script, encoding):
    own = (GRADIOS / script).read_bytes()
    for _ in range(2):  # compressed, and out of memory
        packed = raw(home, script, encoding)
        assert packed.headers["content-encoding"] == encoding
        assert WAYS[encoding](packed.as_it_came) == own
        assert packed.headers["cache-control"] == FOREVER
        assert packed.headers["content-type"].partition(";")[0].endswith("/javascript")
    assert raw(home, script, "identity").as_it_came == own


def test_a_part_of_a_file_is_that_part(home, script):
    part = raw(home, script, "br", range="bytes=2-9")
    assert part.status_code == 206
    assert part.as_it_came == (GRADIOS / script).read_bytes()[2:10]


@pytest.fixture
def asked() -> list[str]:
    """The paths that an app of a few lines was asked for."""
    return []


@pytest.fixture
def client(asked):
    """That app behind the layer."""
    kinds = {
        "/": HTMLResponse("<p>a</p>" * 100),
        "/gone": HTMLResponse("<p>gone</p>", 404),
        "/words": PlainTextResponse("a" * 1000),
        "/packed": HTMLResponse(b"as it is", headers={"content-encoding": "zstd"}),
        "/assets/index-DphvyggB.js": Response(b"a" * 1000, media_type="text/javascript"),
        "/assets/plain.js": Response(b"a" * 1000, media_type="text/javascript"),
        "/file=/assets/index-DphvyggB.js": Response(b"b" * 1000, media_type="text/javascript"),
    }

    async def app(scope, receive, send):
        asked.append(scope["path"])
        await kinds.get(scope["path"], Response(status_code=404))(scope, receive, send)

    layered = httpx.ASGITransport(Files(app))
    return lambda: httpx.AsyncClient(transport=layered, base_url="http://page")


def got(client, path: str, encoding: str = "br", method: str = "GET") -> httpx.Response:
    async def ask():
        async with client() as session:
            return await session.request(method, path, headers={"accept-encoding": encoding})

    return finished(ask())


def test_only_what_is_asked_for_by_its_hash_is_kept(client, asked):
    name = "/assets/index-DphvyggB.js"
    for _ in range(3):
        assert got(client, name).text == "a" * 1000
    assert asked == [name]
    # what somebody uploaded under that name is not it
    assert got(client, f"/file={name}").text == "b" * 1000
    assert got(client, name).text == "a" * 1000
    for path in ("/assets/plain.js", "/words", "/"):
        asked.clear()
        assert len({got(client, path).text for _ in range(2)}) == 1
        assert asked == [path, path]


@pytest.mark.parametrize(
    ("path", "encoding", "method"),
    [
        ("/words", "br", "GET"),
        ("/gone", "br", "GET"),
        ("/", "identity", "GET"),
        ("/", "br;q=0, gzip;q=0.0", "GET"),
        ("/", "br", "POST"),
        ("/assets/plain.js", "br", "GET"),
    ],
)
def test_all_else_is_passed_on(client, path, encoding, method):
    assert "content-encoding" not in got(client, path, encoding, method).headers


def test_what_is_compressed_already_is_left_alone(client):
    assert got(client, "/packed").headers["content-encoding"] == "zstd"


def test_a_missing_file_is_asked_for_again(client, asked):
    missing = "/assets/index-Missing0.js"
    assert [got(client, missing).status_code for _ in range(2)] == [404, 404]
    assert asked == [missing] * 2


def test_the_better_way_is_taken(client):
    assert got(client, "/", "gzip, deflate, br").headers["content-encoding"] == "br"
    assert got(client, "/", "br;q=0, gzip").headers["content-encoding"] == "gzip"
