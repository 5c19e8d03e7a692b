"""Settings and questions of one visitor that reach the server in another order than they left."""

from types import SimpleNamespace

import gradio as gr
import pytest
from conftest import LAYOUT, PAGE

from app.ask.desk import AskDesk
from app.controls import Controls, Setting
from app.markup import message
from app.page import build
from app.session import Question, Session
from app.steer import desk as steering
from app.steer.desk import SteerDesk
from app.view import sampling_of
from atmoe import RoutingPlan, State

QUESTION = "How is asthma treated?"


@pytest.fixture(scope="module")
def page(worlds):
    """What the page calls when someone steers or asks, and where it says what is refused."""
    fns = [event.fn for event in build(worlds(PAGE).build(scripts=("LATIN",))).fns.values()]
    desks = {type(desk): desk for fn in fns if (desk := getattr(fn, "__self__", None))}
    steer_desk = desks[SteerDesk]
    return SimpleNamespace(
        steer=steer_desk.steer,
        put=steer_desk.put,
        again=steer_desk.again,
        draw=steer_desk.draw,
        plot=steer_desk.area.weights.group_plot,
        routed=desks[AskDesk].routed,
        ask=desks[AskDesk].ask,
        message=steer_desk.shared.message,
    )


def sent(at: int, percent: float | None = None, **more):
    settings = {} if percent is None else {"task": Setting(State.FIXED, percent)}
    return Controls(settings).to_dict() | {"at": at} | more


def test_of_two_settings_the_newer_counts_though_it_is_heard_first(page):
    session = Session()
    page.steer(session, sent(2, 100))
    said = page.steer(session, sent(1, 20))
    assert session.controls.settings["task"].percent == 100 and session.heard == 2
    assert said == {page.message: gr.skip()}


def test_a_refusal_of_an_older_setting_is_not_told_over_a_newer_one(page):
    session, impossible = Session(), sent(1, 120)
    page.steer(session, sent(2, 100))
    assert page.steer(session, impossible) == {page.message: gr.skip()}
    assert session.heard == 2
    assert "between 0% and 100%" in page.steer(session, impossible | {"at": 3})[page.message]
    assert session.controls.settings["task"].percent == 100 and session.heard == 3


def test_what_is_sent_again_after_a_refusal_does_not_take_the_refusal_away(page):
    session = Session()
    assert page.steer(session, sent(1, 100, again=True))[page.message] == gr.skip()
    assert session.controls.settings["task"].percent == 100
    assert page.steer(session, sent(2, 100, again=False))[page.message] == message("")


@pytest.mark.parametrize("at, percent", [(1, 100), (2, 20), (3, 20)])
def test_a_question_heard_after_a_newer_setting_is_asked_under_that(page, at, percent):
    session = Session()
    page.steer(session, sent(2, 100))
    page.ask(session, QUESTION, 4, 0, 0, sent(at, 20))
    assert session.question.prompt == QUESTION
    assert session.controls.settings["task"].percent == percent
    session.end()


def test_a_number_that_is_none_counts_as_the_first(page):
    session = Session()
    for at in (None, "7", [1]):
        page.steer(session, sent(0, 50) | {"at": at})
        assert session.heard == 0 and session.controls.settings["task"].percent == 50


def test_what_was_sent_before_the_page_put_something_there_changes_it_no_more(page):
    session = Session()
    page.steer(session, sent(1, 20))
    page.put(session, Controls({"task": Setting(State.OFF, 0)}))
    assert page.steer(session, sent(2, 100)) == {page.message: gr.skip()}
    assert session.controls.settings["task"].state is State.OFF
    page.steer(session, sent(session.heard + 1, 100))
    assert session.controls.settings["task"].percent == 100


def test_a_question_sent_before_the_page_put_something_there_is_asked_under_that(page):
    session = Session()
    page.put(session, Controls({"task": Setting(State.OFF, 0)}))
    page.ask(session, QUESTION, 4, 0, 0, Controls().to_dict())
    assert session.controls.settings["task"].state is State.OFF


def empty(figure) -> bool:
    return [note.text for note in figure.layout.annotations] == ["Filled in once you ask"]


def test_no_picture_of_a_question_stays_once_another_models_record_took_its_place(page):
    session = Session()
    page.ask(session, QUESTION, 4, 0, 0, sent(0))
    drawing = page.routed(session)
    next(drawing)
    session.stop()
    session.question = None
    assert empty(list(drawing)[-1][page.plot])
    assert empty(page.again(session)[page.plot])


def test_a_picture_that_took_longer_than_its_question_stood_is_not_shown(page, monkeypatch):
    session, plan = Session(), RoutingPlan.uniform(LAYOUT)
    session.question = Question(QUESTION, sampling_of(4, 0, 0), plan)
    assert not empty(page.draw(session)[page.plot])
    drawn = steering.group_figure

    def slowly(*values):
        session.question = None
        return drawn(*values)

    monkeypatch.setattr(steering, "group_figure", slowly)
    assert page.draw(session) == {page.plot: gr.skip()}
