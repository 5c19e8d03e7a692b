"""What the server holds for each visitor, and when it lets that go."""

import time
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory

import gradio as gr
import pytest
from browser import visit
from gradio.state_holder import SessionState

from app.cohort.desk import CohortState
from app.job import Job
from app.launch import launching
from app.page import build
from app.session import Question, Session
from app.visitors import DRAWN, UNUSED_SECONDS, Visitor, Visitors
from atmoe import Sampling
from atmoe.answer.batching import Batching


@pytest.fixture(scope="module")
def page(worlds) -> gr.Blocks:
    return build(worlds("llama").model)


@pytest.fixture
def held(page):
    """Everybody's sessions, and a clock to be moved."""
    now = [datetime(2026, 1, 1)]
    visitors = Visitors(lambda: now[0])
    visitors.set_blocks(page)

    def later(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)
        visitors.delete_all_expired_state()

    return visitors, later


def state_of(page: gr.Blocks) -> int:
    """The number of the page's one state."""
    [number] = [n for n, block in page.blocks.items() if isinstance(block, gr.State)]
    return number


def test_it_has_all_that_gradios_own_has_but_the_settings(page):
    mine, theirs = Visitor(page), SessionState(page)
    assert vars(mine).keys() - {"_drawn"} == vars(theirs).keys()
    assert not mine.config_values and theirs.config_values
    assert mine.blocks_config.blocks == theirs.blocks_config.blocks
    number = state_of(page)
    assert isinstance(mine[number], Session) and mine[number] is not Visitor(page)[number]
    # a component that changed is kept, for that visitor alone
    other = next(n for n, block in page.blocks.items() if isinstance(block, gr.Radio))
    mine[other] = changed = gr.Radio(["changed"], render=False)
    assert mine[other] is changed and Visitor(page)[other] is page.blocks[other]
    # but of those that are only drawn no more than the last, from which Gradio reads what to send
    last = None
    for kind in (gr.HTML, gr.Plot, gr.Button, gr.Row):
        drawn = next(n for n, block in page.blocks.items() if isinstance(block, kind))
        mine[drawn] = changed_now = kind(render=False)
        assert mine[drawn] is changed_now and mine.blocks_config.blocks[drawn] is page.blocks[drawn]
        assert last is None or mine[last] is page.blocks[last]
        last = drawn
    mine[number] = session = Session()
    assert mine[number] is session and not mine.config_values


def test_a_closed_tab_keeps_its_answers_for_an_hour_and_not_what_can_be_made_again(
    page, held, worlds
):
    visitors, later = held
    session = visitors["a"][state_of(page)]
    session.question = Question("How is asthma treated?", Sampling(4))
    Batching(worlds("llama").model).route(session.question.prompt, session.question.kept)
    later(1)
    assert session.question.kept.bytes
    visitors["a"].is_closed = True
    later(1)
    assert not session.question.kept.bytes and "a" in visitors
    # somebody comes back within the hour, and stays for as long
    later(UNUSED_SECONDS - 10)
    assert visitors["a"][state_of(page)] is session
    later(UNUSED_SECONDS - 10)
    assert "a" in visitors
    later(20)
    assert "a" not in visitors and not visitors.time_last_used


def test_who_waits_leaves_the_line_with_the_tab_and_an_answer_under_way_does_not(page, held):
    visitors, later = held
    session = visitors["a"][state_of(page)]
    under_way, waiting = session.first.job, session.second.job = [
        Job(step for step in range(3)) for _ in range(2)
    ]
    under_way.advance()
    later(1)
    assert not (under_way.cancelled or waiting.cancelled)
    visitors["a"].is_closed = True
    later(1)
    assert waiting.cancelled and not under_way.cancelled


def test_an_open_tab_is_never_let_go_and_a_programs_call_is(page, held):
    visitors, later = held
    session = visitors["open"][state_of(page)]
    assert not visitors["program"].state_data
    later(2 * UNUSED_SECONDS)
    assert "program" not in visitors
    assert visitors["open"][state_of(page)] is session


def test_what_goes_takes_its_folder_and_its_jobs_along(page, held, tmp_path):
    visitors, later = held
    session = visitors["a"][state_of(page)]
    session.tab(CohortState).folder = TemporaryDirectory(dir=tmp_path)
    session.first.job = Job(iter(()))
    visitors["a"].is_closed = True
    later(UNUSED_SECONDS + 1)
    assert session.first.job.cancelled and not list(tmp_path.iterdir())


def test_a_launched_page_hears_that_a_tab_was_closed(browser, worlds):
    model = worlds("llama").model
    page = build(model)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    try:
        visitors = page.state_holder
        assert isinstance(visitors, Visitors)
        with visit(browser, (address, model)) as tab:
            tab.ask("How is asthma treated?")
            [visitor] = [v for v in visitors.session_data.values() if v.state_data]
            kept = visitor[state_of(page)].question.kept
            assert kept.bytes and not visitor.is_closed and not visitor.config_values
        deadline = time.monotonic() + 60
        while kept.bytes and time.monotonic() < deadline:
            time.sleep(0.1)
        assert visitor.is_closed and not kept.bytes
        # of the ninety components that Gradio makes for one question
        blocks = visitor.blocks_config.blocks
        changed = [block for n, block in blocks.items() if block is not page.blocks.get(n)]
        assert not any(isinstance(block, DRAWN) for block in changed) and len(changed) < 10
    finally:
        page.close()
