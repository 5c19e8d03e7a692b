"""The page where others show it: below a path of a proxy, without https, in a frame of a site."""

import re
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from browser import ENDED, QUESTION, expect, expected, share, visit
from conftest import ROOT
from proxy import proxied

from app.launch import launching
from app.page import build
from app.view import sampling_of
from atmoe import Steering
from atmoe.answer.prefill import _Reading

PATH = "/atmoe"
SELECTED = "Selected: press Ctrl+C"


@pytest.fixture(scope="module")
def below(served):
    """(address, model) of the page below a path."""
    demo = build(served[1])
    demo.launch(prevent_thread_lock=True, quiet=True, root_path=PATH, **launching(served[1]))
    with proxied(demo.local_url, PATH) as address:
        yield address, served[1]
    demo.close()


def test_below_a_path_of_a_proxy_it_answers_and_asks_nothing_outside_of_it(browser, below):
    with visit(browser, below) as tab:
        tab.ask()
        first = tab.first.inner_text()
        assert first == expected(tab, Steering())
        group = tab.layout.group_names[0]
        tab.press(group, "End")
        steered, link = tab.steered(), share(tab)
        assert link.startswith(f"{tab.address}?v=2&set={group}:100")
        tab.page.keyboard.press("Escape")
        assert b'"answer"' in tab.downloaded()
        tab.page.wait_for_function("location.search.includes('set=')")
        assert urlsplit(tab.page.url).path == f"{PATH}/"
    with visit(browser, (link, below[1])) as tab:
        expect(tab.second).to_have_text(steered)
        expect(tab.first).to_have_text(first)


def test_without_https_copy_and_share_leave_the_text_selected_and_say_so(browser, served):
    by_name = served[0].replace("127.0.0.1", "page.test"), served[1]
    with visit(browser, by_name) as tab:
        assert not tab.page.evaluate("isSecureContext")
        tab.ask()
        tab.page.locator("#copy-first").click()
        expect(tab.page.locator("#copy-first")).to_have_text(SELECTED)
        selected = tab.page.evaluate("getSelection().toString()")
        assert selected == tab.first.inner_text() == expected(tab, Steering())
        link = share(tab)
        copy = tab.page.locator("[data-part=copy]")
        copy.click()
        expect(copy).to_have_text(SELECTED)
        assert link == tab.page.evaluate(
            "(({value, selectionStart, selectionEnd}) => value.slice(selectionStart, selectionEnd))"
            "(document.activeElement)"
        )


def test_the_dockerfile_copies_what_there_is_and_its_health_check_asks_what_answers(served):
    text = (ROOT / "Dockerfile").read_text("utf-8")
    for line in re.findall("^COPY (.*)$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1]), line
    [check] = re.findall(r"'http://127\.0\.0\.1:7860(/[^']*)'", text)
    with urllib.request.urlopen(served[0].rstrip("/") + check) as answer:
        assert answer.status == 200


def test_a_path_that_is_none_is_refused_at_once():
    words = [sys.executable, "app.py", "--root-path", "atmoe"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "does not begin with /" in done.stderr.splitlines()[-1]


@pytest.fixture
def framed(served):
    """The address of somebody's site that shows the page in a frame which may run scripts only."""
    page = served[0].replace("127.0.0.1", "page.test")
    frame = f'<iframe sandbox="allow-scripts" width="1390" height="930" src="{page}"></iframe>'

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b'<!doctype html><link rel="icon" href="data:,">' + frame.encode())

        def log_message(self, *args):
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://site.test:{site.server_port}/"
    site.shutdown()
    site.server_close()


def test_in_a_frame_without_storage_everything_works_or_says_that_it_cannot(
    browser, served, framed
):
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page, troubles = context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.goto(framed)
    frame = page.frame_locator("iframe")
    # 1. the tour opens, goes on and is closed
    card = frame.get_by_role("dialog", name="Tour")
    expect(card).to_be_visible()
    card.get_by_role("button", name="Next").click()
    card.get_by_role("button", name="Skip").click()
    expect(card).to_have_count(0)
    # 2. storage is refused there
    inside = page.frames[1]
    assert inside.evaluate("(() => { try { return !localStorage } catch { return true } })()")
    # 3. an answer
    frame.get_by_label("Question", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    expect(frame.locator("#first-facts")).to_contain_text(ENDED)
    answer = served[1].answer(QUESTION, sampling=sampling_of(160, 0, 0)).answer
    assert frame.locator("#first .passage").inner_text() == answer
    # 4. a preset of one's own cannot be kept, by either way to keep it
    frame.get_by_role("button", name="Own presets", exact=True).click()
    kept = frame.locator("#panel [data-part=kept]")
    expect(kept).to_contain_text("does not let the page keep presets")
    name = frame.get_by_label("Name of a preset of your own")
    name.fill("mine")
    name.press("Enter")
    expect(kept).to_contain_text("kept nothing")
    name.fill("")
    frame.get_by_role("button", name="Save", exact=True).click()
    expect(kept).to_contain_text("Give the preset a name first")
    page.keyboard.press("Escape")
    # 5. copied or selected; a link
    frame.locator("#copy-first").click()
    expect(frame.locator("#copy-first")).to_have_text(SELECTED)
    frame.locator("#share-button").click()
    link = frame.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile("^http://page.test:.*#answers="))
    frame.locator("[data-part=copy]").click()
    expect(frame.locator("[data-part=copy]")).to_have_text(SELECTED)
    assert not troubles, "\n".join(troubles)
    context.close()


def test_leaving_for_a_slow_place_gets_there_whatever_is_under_way(browser, served, monkeypatch):
    """Gradio would end its streams as one sets out, and load the page anew meanwhile."""
    enter, arrived = _Reading.enter, threading.Event()
    monkeypatch.setattr(_Reading, "enter", lambda *a: (arrived.wait(60), enter(*a))[1])
    with visit(browser, served) as tab:
        tab.question.fill(QUESTION)
        tab.page.keyboard.press("Enter")
        expect(tab.first).to_have_text("…")
        tab.page.wait_for_timeout(1000)  # the server has heard of it
        tab.page.route("**/slow", lambda route: (time.sleep(5), route.fulfill(body="there")))
        tab.page.goto(f"{tab.address}/slow")
        expect(tab.page.get_by_text("there")).to_be_visible()
        arrived.set()
