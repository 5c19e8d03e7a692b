"""Several models in one process: what each page is, and how they are asked beside one another."""

import time

import httpx
import pytest
from browser import ENDED, QUESTION, TOKENS, flat, visit
from conftest import PAGE
from gradio.http_server import start_server
from gradio_client import Client
from proxy import proxied

from app.several import Shown, names_of, several
from app.view import sampling_of
from atmoe.answer.batching import Batching
from atmoe.presentation import Page

PATH = "/atmoe"
expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def two_models(worlds, tmp_path_factory):
    """Two models: of another base, with other experts' weights and other words."""
    folder = tmp_path_factory.mktemp("several")
    one = worlds(PAGE).build(scripts=("LATIN",), name="First one")
    two = worlds("qwen3").build(scripts=("LATIN",), name="Second", page=Page(title="The second"))
    return Shown(one, folder), Shown(two, folder)


@pytest.fixture(scope="module")
def both(two_models):
    """The address of two models, and the models."""
    _, _, address, server = start_server(several(two_models))
    yield address, *(each.model for each in two_models)
    server.close()


@pytest.fixture(scope="module")
def both_below(two_models):
    """The same below a path of a proxy."""
    _, _, local, server = start_server(several(two_models, PATH))
    with proxied(local, PATH) as address:
        yield address, *(each.model for each in two_models)
    server.close()


def left_over(tab, address):
    """Troubles but the second page's own address, and a stream's that ends as its page is left."""
    known = (f"asked {address}second/", "Unexpected error Connection")
    return [trouble for trouble in tab.troubles if not trouble.startswith(known)]


def own(model, question=QUESTION):
    """What a model answers, by itself."""
    return flat(model.answer(question, sampling=sampling_of(TOKENS, 0, 0)).answer)


def ask_there(tab, model, question):
    """Ask what another page took over, on the page of that model."""
    tab.tokens(TOKENS)
    tab.page.keyboard.press("Escape")
    tab.question.press("Enter")
    expect(tab.first_facts).to_contain_text(ENDED)
    assert flat(tab.first.inner_text()) == own(model, question)


def test_names_are_an_addresss_and_no_two_alike(worlds):
    model = worlds(PAGE).build(name="Küche & Co")
    plain = worlds(PAGE).build(name="???")
    assert names_of([model, model, plain]) == ["k-che-co", "k-che-co-2", "model"]


def test_the_root_leads_to_the_first_and_each_has_its_own_endpoints(both):
    address, one, two = both
    assert httpx.get(address).headers["location"] == "first-one/"
    for name, model in (("first-one", one), ("second", two)):
        assert Client(f"{address}{name}/", verbose=False).predict(api_name="/models")["sha256"] == (
            model.info.sha256
        )


def test_the_other_answers_the_same_question_beside_and_its_page_takes_the_question_over(
    both, browser
):
    address, one, two = both
    with visit(browser, (f"{address}first-one/", one)) as tab:
        tab.open("Models")
        ask = tab.page.get_by_role("button", name="Ask the other models")
        expect(ask).to_be_disabled()
        tab.ask()
        expect(ask).to_be_enabled()
        tab.open("Models")
        ask.click()
        expect(tab.page.locator("#model-0-facts")).to_contain_text(ENDED)
        for place, model in ((tab.first, one), (tab.page.locator("#model-0 .passage"), two)):
            assert flat(place.inner_text()) == own(model)
        expect(tab.page.locator("#models")).to_contain_text("The router reads")
        # the answers go with their question
        tab.ask("What is gout?")
        expect(tab.page.locator("#model-0")).to_contain_text("will appear here")
        tab.open("Models")
        tab.page.get_by_role("link", name="Open its page").click()
        expect(tab.page.get_by_role("heading", name="The second")).to_be_visible()
        expect(tab.question).to_have_value("What is gout?")
        ask_there(tab, two, "What is gout?")
        tab.troubles[:] = left_over(tab, address)


def test_an_answer_of_the_other_that_was_stopped_says_so(both, browser, monkeypatch):
    address, one, _ = both
    step = Batching.step

    def slow(batching):
        time.sleep(0.05)  # or a tiny model has ended before anybody can stop it
        step(batching)

    with visit(browser, (f"{address}first-one/", one)) as tab:
        tab.ask(tokens=400)
        monkeypatch.setattr(Batching, "step", slow)
        tab.open("Models")
        tab.page.get_by_role("button", name="Ask the other models").click()
        facts = tab.page.locator("#model-0-facts")
        expect(facts).to_contain_text("Still being written")
        tab.page.get_by_role("button", name="Stop them").click()
        expect(facts).to_contain_text("stopped before its end")
        expect(facts).not_to_contain_text("Still being written")


def test_below_a_path_of_a_proxy_each_answers_and_leads_to_the_other(both_below, browser):
    address, one, two = both_below
    assert str(httpx.get(address, follow_redirects=True).url) == f"{address}first-one/"
    with visit(browser, (f"{address}first-one/", one)) as tab:
        tab.ask()
        assert flat(tab.first.inner_text()) == own(one)
        tab.open("Models")
        tab.page.get_by_role("button", name="Ask the other models").click()
        expect(tab.page.locator("#model-0-facts")).to_contain_text(ENDED)
        tab.page.get_by_role("link", name="Open its page").click()
        expect(tab.page.get_by_role("heading", name="The second")).to_be_visible()
        assert tab.page.url.startswith(f"{address}second/")
        ask_there(tab, two, QUESTION)
        tab.troubles[:] = left_over(tab, address)


def test_a_page_alone_offers_no_other_models(tab):
    expect(tab.page.get_by_role("tab", name="Models")).to_have_count(0)
