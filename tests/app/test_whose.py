"""Which answer a part of the page is of: equal for one answer, and different for any two."""

import re
from dataclasses import replace
from itertools import permutations, product
from types import SimpleNamespace

import gradio as gr
import pytest
from conftest import PAGE

from app.ask.desk import AskDesk
from app.compare.desk import CompareDesk
from app.controls import Controls, Setting
from app.desk import AnswerPlace
from app.markup import line
from app.page import build
from app.session import Session
from app.whose import answer_key, plan_key, record_key
from atmoe import Override, Sampling, State, Steering

QUESTIONS = ("How is asthma treated?", "What causes gout?")
SAMPLINGS = (Sampling(6), Sampling(7), Sampling(6, 0.5), Sampling(6, 0.5, seed=2**53 + 1))
STEERINGS = (
    Steering(),
    Steering((Override("task", State.OFF),)),
    Steering((Override("task", State.OFF, scope="late"),)),
    Steering(strength=0.5),
)


def test_two_answers_have_one_key_only_where_all_that_makes_them_is_the_same():
    ways = list(product(QUESTIONS, SAMPLINGS, STEERINGS))
    assert len({answer_key(*way) for way in ways}) == len(ways)
    assert len({plan_key(question, steering) for question, _, steering in ways}) == 8
    # numbers that a file holds in another form are the same numbers
    assert answer_key("a", Sampling(6, 0), Steering()) == answer_key("a", Sampling(6), Steering())
    near = replace(SAMPLINGS[3], seed=2**53)
    assert answer_key("a", near, Steering()) != answer_key("a", SAMPLINGS[3], Steering())


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("steering", STEERINGS)
def test_a_record_has_the_key_of_what_was_asked(worlds, sampling, steering):
    asked = replace(sampling, max_new_tokens=1)
    record = worlds("llama").model.answer(QUESTIONS[0], steering, asked)
    assert record_key(record) == answer_key(QUESTIONS[0], asked, steering)
    assert record_key(type(record).from_dict(record.to_dict())) == record_key(record)
    question, _, under = record_key(record).split(".")
    assert plan_key(QUESTIONS[0], steering) == f"{question}..{under}"
    assert plan_key(QUESTIONS[0]) == f"{question}.."


@pytest.fixture(scope="module")
def page(worlds):
    """The desks of a page, and where both answers stand."""
    fns = [event.fn for event in build(worlds(PAGE).build(scripts=("LATIN",))).fns.values()]
    desks = {type(desk): desk for fn in fns if (desk := getattr(fn, "__self__", None))}
    ask = desks[AskDesk]
    return SimpleNamespace(ask=ask, compare=desks[CompareDesk], area=ask.area)


def of(html: str) -> list[str]:
    """What a part of the page says that it is of."""
    return re.findall(r'data-of="([^"]*)"', html)


def seen(page: dict, place: AnswerPlace) -> tuple[str, list[str]]:
    """The heading's key, and those of what the browser shows below it, as page.js has it."""
    head = (of(page.get(place.asked, "")) or [""])[0]
    parts = (page.get(place.text, ""), page.get(place.facts, ""))
    shown = [part for part in parts if all(own == head for own in of(part))]
    return head, shown


def test_in_whatever_order_frames_arrive_no_answer_is_shown_below_another_ones_heading(page):
    """All frames of a first question, steered, then of a second, in every order."""
    session, area, frames = Session(), page.area, []
    controls = Controls({"task": Setting(State.FIXED, 30)})
    answers = {}
    for number, question in enumerate(QUESTIONS):
        steered = Controls({"task": Setting(State.FIXED, 30 + 40 * number)})
        sent = (steered if number else controls).to_dict() | {"at": number + 1}
        begun = page.ask.ask(session, question, 3, 0, 0, sent)
        first, second = list(page.ask.first(session)), list(page.ask.second(session))
        last = page.ask.say_again(session)
        compared = list(page.compare.compare(session))
        answers[question] = (session.first.record, session.second.record)
        frames.append([begun, *first[1:2], first[-1], second[-1], last, compared[-1]])
    texts = {}
    for routers, own in answers.values():
        texts[record_key(routers)], texts[record_key(own)] = routers, own
    assert len(texts) == 4
    old, new = frames
    tried = 0
    for late in permutations(old, 2):
        for place in range(len(new) + 1):
            on_page: dict = {}
            for update in (*old, *new[:place], *late, *new[place:]):
                told = {part: value for part, value in update.items() if isinstance(value, str)}
                on_page.update(told)
                for each in (area.first, area.second):
                    head, shown = seen(on_page, each)
                    for part in shown:
                        assert set(of(part)) <= {head}
                        if 'tabindex="0"' in part:  # an answer, not the page's own words
                            assert of(part) == [head] and head in texts
                tried += 1
            if place == 0:  # what the last ones said stands in the end, and is shown
                for each in (area.first, area.second):
                    head, shown = seen(on_page, each)
                    assert (
                        len(shown) == 2 and f'data-question="{QUESTIONS[1]}"' in on_page[each.asked]
                    )
    assert tried > 1000
    session.end()


def test_what_is_said_again_at_an_answers_end_is_of_the_question_of_now(page):
    session = Session()
    page.ask.ask(session, QUESTIONS[0], 2, 0, 0, {**Controls().to_dict(), "at": 1})
    list(page.ask.first(session))
    update = page.ask.say_again(session)
    head = of(update[page.area.first.asked])
    assert head == of(update[page.area.first.text]) == of(update[page.area.first.facts])
    assert update[page.area.second.asked] == line("")
    assert update[page.area.second.text] == gr.skip()
    session.end()
