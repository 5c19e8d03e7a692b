"""An answer on the page: what is said of it as it grows, at its end, and once more after it."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from app.ask.growing import STOPPED, once_more, streamed
from app.ask.words import checked
from app.cases import Case
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
    return SimpleNamespace(worker=Worker(), cohort=None, cases={}, model=worlds("llama").model)


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


ASTHMA = Case("Asthma", "How is asthma treated?", "names a steroid", ("steroid",), ("antibiotic",))


def test_an_answer_to_a_case_is_held_against_what_the_menu_says_of_it(shared, place, record):
    ended, other = Progress(record, ended=True), replace(record, answer="With antibiotics.")
    assert checked(ended, ASTHMA) == ("", "as the menu says of this case, it names a steroid")
    against, borne_out = checked(Progress(other, ended=True), ASTHMA)
    assert "its answer names a steroid. That does not hold of this one" in against
    assert borne_out == ""
    failure = replace(ASTHMA, failure=True)
    assert checked(ended, failure) == (
        "An honest failure, as the menu says: it names a steroid.",
        "",
    )
    assert "does not hold" in checked(Progress(other, ended=True), failure)[0]
    for unknown in (
        Progress(record),
        Progress(replace(other, finish="cancelled"), ended=True),
    ):
        assert checked(unknown, ASTHMA) == ("", "")
    assert checked(ended, None) == ("", "")
    # and on the page: beside the other facts, or as a warning that is read out
    for answer, warned in ((record, False), (other, True)):
        shared.cases = {answer.prompt: ASTHMA}
        _, updates = told(shared, place, iter([Progress(answer, ended=True)]))
        facts = updates[-1][place.facts]
        assert ('class="warns" role="status">The menu says' in facts) is warned
        assert ("as the menu says of this case" in facts) is not warned
