"""An answer on the page: what is said of it as it grows, at its end, and once more after it."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from app.ask.growing import STOPPED, once_more, streamed
from app.desk import AnswerPlace
from app.job import Job
from app.session import Progress, Session, Slot
from app.worker import Worker
from atmoe import Sampling


@pytest.fixture(scope="module")
def record(worlds):
    given = worlds("llama").model.answer("How is asthma treated?", sampling=Sampling(6))
    return replace(given, answer="With inhaled steroids.")


@pytest.fixture
def shared(worlds):
    """What an answer's place needs of the page."""
    return SimpleNamespace(worker=Worker(), cohort=None, model=worlds("llama").model)


@pytest.fixture
def place():
    with gr.Blocks():
        return AnswerPlace(gr.HTML(), gr.HTML())


def told(shared, place, steps):
    session, slot = Session(), Slot(job=Job(steps))
    return slot, list(streamed(shared, session, slot, slot.job, place))


def test_what_is_said_once_more_is_what_was_said_last(shared, place, record):
    half = replace(record, answer=record.answer[:3], finish="cancelled")
    slot, updates = told(shared, place, iter([Progress(half), Progress(record, ended=True)]))
    again = once_more(shared, slot, place)
    assert again == {part: updates[-1][part] for part in (place.text, place.facts)}
    assert again[place.text] != updates[0][place.text]


def test_an_answer_stopped_on_its_way_is_said_once_more_as_far_as_it_came(shared, place, record):
    half = replace(record, answer=record.answer[:3], finish="cancelled")

    def steps():
        yield Progress(half)
        slot.job.cancel()

    slot = Slot(job=Job(steps()))
    updates = list(streamed(shared, Session(), slot, slot.job, place))
    again = once_more(shared, slot, place)
    assert again == {part: updates[-1][part] for part in (place.text, place.facts)}
    assert slot.record.answer == half.answer


def test_nothing_is_said_of_what_goes_on_or_is_not_there(shared, place, record):
    assert once_more(shared, Slot(), place) == {}
    assert once_more(shared, Slot(record=record), place) == {}  # a record that was opened
    job = Job(iter([Progress(replace(record, finish="cancelled"))]))
    going = Slot(job=job, record=replace(record, finish="cancelled"), shown=Progress(record))
    assert going.going and once_more(shared, going, place) == {}
    slot, updates = told(shared, place, iter([]))
    assert updates[-1][place.text] == place.say(STOPPED)[place.text]
    assert once_more(shared, slot, place) == {}
    slot, _ = told(shared, place, iter([Progress(record, ended=True)]))
    slot.clear()
    assert once_more(shared, slot, place) == {}
