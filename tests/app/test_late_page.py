"""In the browser: what the server said of one question and what comes after the next was asked."""

import threading

from browser import QUESTION, WAIT, expect, new

from app.ask import desk

OTHER = "What causes gout?"
PLACES = ("#panel", "#words", "#weights", "#by-layer")


class Held:
    """Calls of a function that wait until they are let go."""

    def __init__(self, monkeypatch, name: str, after: bool):
        """Of one function of the desk.

        Args:
            monkeypatch: of the test.
            name: of the function.
            after: it has computed what it returns, and says it late.
        """
        function, self.on, self.go = getattr(desk, name), False, threading.Event()

        def late(*values, **named):
            said = function(*values, **named)
            if self.on and said:
                self.go.wait(WAIT / 1000)
            return said

        def streaming(*values, **named):
            if self.on:
                self.go.wait(WAIT / 1000)
            return (yield from function(*values, **named))

        monkeypatch.setattr(desk, name, late if after else streaming)

    def release(self) -> None:
        self.on = False
        self.go.set()


def held_text(tab, place: str) -> str:
    """What is there, seen or not."""
    return tab.page.locator(f"#{place} .passage").text_content()


def test_what_was_said_of_the_question_before_is_not_shown_below_the_next_ones(tab, monkeypatch):
    page = tab.page
    ends = Held(monkeypatch, "once_more", after=True)
    streams = Held(monkeypatch, "streamed", after=False)
    tab.press("task", "ArrowUp")
    # 1. the first question's end is said late, and of the next nothing comes yet
    ends.on = True
    tab.ask(QUESTION)
    text = held_text(tab, "first")
    expect(page.locator("#answer")).not_to_have_attribute("data-foreign", "")
    streams.on = True
    tab.question.fill(OTHER)
    page.keyboard.press("Enter")
    expect(page.locator("#first-asked q")).to_have_text(OTHER)
    expect(tab.first).to_have_text("…")
    # the plan on show is still the first question's, and says so
    for place in PLACES:
        expect(page.locator(place)).to_have_attribute("data-foreign", "")
    # 2. it comes: there, and not seen
    page.evaluate("""() => { window.shown = [];
        new MutationObserver(() => window.shown.push(document.querySelector('#first').innerText))
            .observe(document.querySelector('#first'), { childList: true, subtree: true }); }""")
    ends.release()
    page.wait_for_function("document.querySelector('#first .passage').tabIndex === 0")
    assert held_text(tab, "first") == text
    expect(page.locator("#first")).to_have_attribute("data-foreign", "")
    expect(tab.first).to_be_hidden()
    expect(page.locator("#first-facts span").first).to_be_hidden()
    expect(page.locator("#copy-first")).to_be_disabled()
    # 3. of the next one all comes, and all of it is shown
    facts = new(tab.first_facts)
    streams.release()
    expect(facts).to_contain_text("per second")
    tab.steered()
    expect(page.locator("#first-asked q")).to_have_text(OTHER)
    for place in (*PLACES, "#first", "#second", "#first-facts", "#second-facts", "#difference"):
        expect(page.locator(place)).not_to_have_attribute("data-foreign", "")
    expect(tab.first).to_be_visible()
    expect(page.locator("#copy-first")).to_be_enabled()
    expect(page.locator("#copy-second")).to_be_enabled()


def test_whatever_is_told_of_another_answer_than_those_on_show_is_marked(tab):
    """Each place by itself, with what the page had said of another question put back into it."""
    page = tab.page
    tab.press("task", "ArrowUp")
    tab.ask(OTHER)
    tab.steered()
    told = {
        "why": "why-sentence", "compare": "sentences", "difference": "difference",
        "words": "sources", "by-layer": "table", "weights": "thirds",
        "second": "second", "second-facts": "second-facts",
    }  # fmt: skip
    for part in told.values():
        expect(page.locator(f"#{part} [data-of]").first).to_be_attached()
    before = {
        p: page.locator(f"#{p} [data-of]").first.get_attribute("data-of") for p in told.values()
    }
    tab.ask(QUESTION)
    tab.steered()
    for place, part in told.items():
        expect(
            page.locator(f"#{part} [data-of]:not([data-of='{before[part]}'])").first
        ).to_be_attached()
        expect(page.locator(f"#{place}")).not_to_have_attribute("data-foreign", "")
    for place, part in told.items():
        one = page.locator(f"#{part} [data-of]").first
        now = one.get_attribute("data-of")
        # put there until it is judged: what is still measured is drawn over it
        page.wait_for_function(
            """([part, place, of]) => {
                document.querySelector(`#${part} [data-of]`).dataset.of = of;
                return document.getElementById(place).hasAttribute("data-foreign");
            }""",
            arg=[part, place, before[part]],
        )
        one.evaluate("(one, of) => (one.dataset.of = of)", now)
        expect(page.locator(f"#{place}")).not_to_have_attribute("data-foreign", "")
