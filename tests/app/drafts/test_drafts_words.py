"""What the tab "Drafts" says: numbers of the drafts, and nothing about right or wrong."""

import re

from app.drafts import words
from atmoe.explanation.drafts import Drafts
from atmoe.report.words import NO_WORDS, agreement

ANSWER = "Asthma narrows the airways of the lungs.\n- Inhalers relax <airway> muscles."
SHARING = "Asthma narrows the airways of both lungs."
OTHER = "Gout is a painful arthritis."


def drafts(*texts: str, answer: str = ANSWER) -> Drafts:
    return Drafts(answer, texts, tuple(range(len(texts))), {"temperature": 0.7}, ended=True)


def test_the_sentence_holds_the_number_and_how_many_statements_are_greyed():
    made = drafts(SHARING, SHARING, SHARING, SHARING, OTHER)
    said = agreement(made)
    assert f"{made.agreement:.2f}" in said and made.agreement == 0.4
    assert "recurs in 2.0 of 5 drafts" in said and "(1 of 2 statements)" in said
    assert "need not be right" in said
    assert "(0 of 1 statement)" in agreement(drafts(OTHER, answer=OTHER))
    assert NO_WORDS in agreement(drafts(OTHER, answer="…"))


def test_what_most_drafts_lack_is_greyed_and_says_how_many_hold_it():
    html = words.answer(drafts(SHARING, SHARING, SHARING, SHARING, OTHER))
    greyed = re.findall(r'<span class="greyed" title="([^"]*)">(.*?)</span>', html)
    assert greyed and {why for why, _ in greyed} == {"recurs in none of 5 drafts"}
    said = "".join(text for _, text in greyed)
    assert "Inhalers relax &lt;airway&gt; muscles." in said and "narrows" not in said


def test_every_draft_is_shown_and_escaped():
    html = words.texts(drafts("<b>one</b>", "two"))
    assert "Draft 2 of 2" in html and "&lt;b&gt;one" in html and "<b>" not in html


def test_progress_counts_words_as_everything_else_does():
    assert words.progress(drafts("- Rest\n- tea", "1. Sleep")).endswith(" times: 3 words so far")
