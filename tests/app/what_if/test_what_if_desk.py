"""The tab "What if" without a browser: what is told while the five answers grow."""

from dataclasses import replace

from conftest import PAGE

from app.markup import line, passage
from app.page import build
from app.session import Question, Session
from app.what_if.desk import WhatIfDesk, WhatIfState
from app.whose import record_key
from atmoe import Sampling
from atmoe.explanation.doses import dosing

QUESTION, SAMPLING = "How is asthma treated?", Sampling(4)


def test_words_are_counted_of_the_answer_on_show(worlds, monkeypatch):
    model = worlds(PAGE).build(scripts=("LATIN",))
    fns = [event.fn for event in build(model).fns.values()]
    desks = (getattr(fn, "__self__", None) for fn in fns)
    desk = next(desk for desk in desks if isinstance(desk, WhatIfDesk))
    answers = ("one", "one two", "one two three", "one two three four", "and so on to six words")

    def growing(*args):
        for response in dosing(*args):
            yield replace(response, answers=answers)

    monkeypatch.setattr("app.what_if.desk.dosing", growing)
    session = Session(Question(QUESTION, SAMPLING))
    session.first.record = model.answer(QUESTION, sampling=SAMPLING)
    session.tab(WhatIfState).shown = 4
    desk.ask(session, model.layout.group_names[0])
    _, shown, *_ = desk.run(session)
    assert shown == {
        desk.area.progress: line("Answering at 5 shares: 6 words"),
        desk.area.answer: passage(answers[4], of=record_key(session.first.record)),
    }
    session.end()
