"""The tab that every page test drives, and where things are on the page."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.compare.words import BESIDE
from app.view import sampling_of
from atmoe import Steering
from atmoe.steering.reference import Beside

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
expect = playwright.expect

BROWSERS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]
"""The first that is there: the shell has no window to draw, which is a tenth of a test's time."""
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]
LAUNCH = {"executable_path": next((p for p in BROWSERS if p.exists()), None), "args": QUIET}
QUESTION = "How is asthma treated?"
TOKENS = 12
WAIT = 1000 * int(os.environ.get("ATMOE_PAGE_SECONDS", 180))
ENDED = re.compile("per second|given before")
KEPT = "sessionStorage.getItem('atmoe-left-1' + location.pathname)"
"""What the page left in its tab."""
STEERED = """(ended) => {
  const said = document.querySelector("#second .passage")?.innerText ?? "";
  const facts = document.querySelector("#second-facts")?.textContent ?? "";
  const moving = document.querySelector("#bench[data-moving]");
  const whole = !moving && said !== "…" && new RegExp(ended).test(facts);
  const [before, since] = window.steeredSince ?? [null, 0];
  if (!whole || said !== before) window.steeredSince = [whole ? said : null, performance.now()];
  return whole && said === before && performance.now() - since > 300 && [said];
}"""
"""The steered answer, read at one moment, and the same for a while: a control that moved begins it
again as soon as the server has heard of it."""
expect.set_options(timeout=WAIT)


class Tab:
    """One visitor: a context of its own, and where things are on the page."""

    def __init__(self, browser, served, width=1400, height=900, tour=False, goto=True, **context):
        self.address, self.model = served
        self.layout, self.troubles = self.model.layout, []
        self.context = browser.new_context(viewport={"width": width, "height": height}, **context)
        if not tour:  # as of somebody who has closed it
            self.context.add_init_script(
                "try { localStorage.setItem('atmoe-tour-1', 'closed') } catch {}"
            )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.troubles.append(said.text) if said.type == "error" else None,
        )
        self.page.on(
            "request",
            lambda sent: (
                None
                if sent.url.startswith((self.address.partition("?")[0], "data:", "blob:"))
                else self.troubles.append(f"asked {sent.url}")
            ),
        )
        if goto:
            self.page.goto(self.address)
        self.first, self.second = (
            self.page.locator("#first .passage"),
            self.page.locator("#second .passage"),
        )
        self.first_facts, self.second_facts = (
            self.page.locator("#first-facts"),
            self.page.locator("#second-facts"),
        )
        self.badge, self.message = (
            self.page.locator("#badge"),
            self.page.locator("#message .message"),
        )
        self.question = self.page.get_by_label("Question", exact=True)
        if goto:
            expect(self.question).to_be_visible(timeout=WAIT)

    def tokens(self, count: int) -> None:
        """Set the longest answer."""
        self.page.get_by_role("button", name="Settings").click()
        self.page.get_by_label("number input for Longest answer, tokens").fill(str(count))
        self.page.keyboard.press("Tab")
        expect(self.page.get_by_label("range slider for Longest answer, tokens")).to_have_value(
            str(count)
        )
        self.page.get_by_role("button", name="Settings").click()

    def ask(self, question: str = QUESTION, tokens: int = TOKENS) -> None:
        """Ask and wait for the router's whole answer."""
        self.tokens(tokens)
        facts = new(self.first_facts)
        self.question.fill(question)
        self.page.keyboard.press("Enter")
        expect(facts).to_contain_text(ENDED)

    def stop(self) -> None:
        """Stop all answers; one that has ended already is left alone."""
        stop = self.page.get_by_role("button", name="Stop", exact=True)
        stop.evaluate("(button) => button.click()")

    def share(self, group: str):
        return self.page.get_by_label(f"range slider for {group} share, %")

    def press(self, group: str, *keys: str) -> None:
        """Move a group's slider by keyboard."""
        self.share(group).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def state(self, target: str, name: str):
        """One of the three states of a group or an expert, in its group's menu."""
        self.experts(target.partition("/")[0])
        place = self.page.get_by_role("group", name=target, exact=True)
        return place.get_by_label(name, exact=True)

    def lock(self, target: str):
        """A lock, in its group's menu."""
        self.experts(target.partition("/")[0])
        return self.page.get_by_role("button", name=f"Lock {target}", exact=True)

    def experts(self, group: str) -> None:
        """Open a group's menu: its states, and its experts' shares."""
        button = self.page.get_by_role("button", name=re.compile(rf"\d experts? in {group}"))
        if button.get_attribute("aria-expanded") != "true":
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")

    def downloaded(self) -> bytes:
        """The record, from the place where it is kept."""
        self.open("Keep")
        with self.page.expect_download() as download:
            self.page.locator("#download").click()
        return Path(download.value.path()).read_bytes()

    def presets(self) -> None:
        """Open the menu of one's own presets."""
        button = self.page.get_by_role("button", name="Own presets", exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()

    def segment(self, expert: str):
        """An expert in its group's row."""
        return self.page.locator(f'.segment[data-lead="{expert}"]')

    def open(self, name: str) -> None:
        """Bring one of the things below the answers into their common place."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def steered(self) -> str:
        """The steered answer under the controls as they are, once it has ended."""
        return self.page.wait_for_function(STEERED, arg=ENDED.pattern).json_value()[0]


@contextmanager
def visit(browser, served, **size):
    tab = Tab(browser, served, **size)
    yield tab
    assert not tab.troubles, "\n".join(tab.troubles)
    if (
        not tab.page.is_closed()
    ):  # whatever the page hides or marks as another answer's is seen no more
        expect(tab.page.locator("[data-foreign]")).to_have_count(0, timeout=20_000)
    tab.context.close()


def expected(tab: Tab, steering: Steering) -> str:
    """What the library answers when nobody else asks."""
    return tab.model.answer(QUESTION, steering, sampling_of(TOKENS, 0, 0)).answer


def new(facts):
    """The small print of an answer that comes from now on, in its place."""
    facts.evaluate(
        "(place) => place.querySelectorAll('span').forEach((old) => (old.dataset.old = 1))"
    )
    return facts.locator("span:not([data-old])")


def flat(text: str) -> str:
    return " ".join(text.split())


def cell(tab: Tab, row: int, layer: int, plot: str = "groups-map"):
    return tab.page.locator(f'#{plot} .cell-grid [data-row="{row}"][data-layer="{layer}"]')


def middle(tab: Tab, *where) -> tuple[float, float]:
    box = cell(tab, *where).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(tab: Tab, start: tuple, end: tuple) -> None:
    """With the mouse, from one cell to another."""
    cell(tab, *start).scroll_into_view_if_needed()
    tab.page.mouse.move(*middle(tab, *start))
    tab.page.mouse.down()
    tab.page.mouse.move(*middle(tab, *end), steps=4)
    tab.page.mouse.up()


def picked(tab: Tab):
    return tab.page.locator("#cells [data-part=picked]")


def bar(tab: Tab, name: str):
    return tab.page.locator("#cells").get_by_role("button", name=name, exact=True)


def listed(tab: Tab):
    """What is changed, as the list beside the controls says it."""
    return tab.page.locator("#panel [data-part=changes] li:has(button) > span")


def keep(tab: Tab, name: str) -> None:
    tab.presets()
    tab.page.get_by_label("Name of a preset of your own").fill(name)
    tab.page.keyboard.press("Enter")


def share(tab: Tab) -> str:
    """Open the overlay of Share. → the link in it"""
    tab.page.locator("#share-button").click()
    link = tab.page.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile("^http"))
    return link.input_value()


def choose(tab: Tab, label: str, option: str) -> None:
    """Pick from a dropdown."""
    tab.page.get_by_label(label, exact=True).click()
    tab.page.get_by_role("option", name=option, exact=True).click()


def third(tab: Tab, kind: Beside) -> str:
    """Ask for a third answer in its tab, wait for its end. → its text"""
    tab.open("Compare")
    choose(tab, "A third answer", BESIDE[kind].name)
    facts = new(tab.page.locator("#third-facts"))
    tab.page.get_by_role("button", name="Answer with this too").click()
    expect(facts).to_contain_text("per second")
    return tab.page.locator("#third .passage").inner_text()
