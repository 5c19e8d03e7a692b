"""Where a question lies, and what is flagged in an answer, as HTML. Values made by hand."""

import re
from dataclasses import replace
from html import unescape

import pytest
from conftest import PROMPTS

from app import sources
from app.markup import passage, small_print
from atmoe import AtMoeError, Record, Sampling
from atmoe.flags.finding import NO_VERDICT
from atmoe.flags.flagged import UNTAUGHT
from atmoe.report.words import SEVERAL, flags
from atmoe.sources.value import FAR, NOT_PROOF, SENTENCES, Found, Source

NEAR = Source("Leaflets <1>", "gout & co", "treat", 'https://example.org/?a="b"&c', 0.8)
BARE = Source("", "", "", "", 0.1)


@pytest.mark.parametrize(("familiarity", "far"), [(FAR / 2, True), (0.5, False), (None, False)])
def test_the_sentence_stands_before_the_nearest_and_they_never_without_their_label(
    familiarity, far
):
    html = sources.told(found := Found(familiarity, (NEAR, BARE)))
    assert found.sentence in html and html.index(found.sentence) < html.index("<details")
    assert NOT_PROOF.capitalize() in html and ('class="far"' in html) is far
    assert sources.caution(found) == (SENTENCES[0] if far else "")


def test_an_example_is_a_link_where_it_has_an_address_and_nothing_of_it_is_markup():
    html = sources.listing((NEAR, BARE))
    assert "Leaflets &lt;1&gt; · gout &amp; co · treat ↗</a> (near)" in html
    assert 'href="https://example.org/?a=&quot;b&quot;&amp;c"' in html
    assert html.count("<a ") == html.count('rel="noopener noreferrer"') == 1
    assert "an example without a name (not near)" in html


def test_each_expert_has_a_row_and_what_was_not_measured_says_so():
    html = sources.faces({"task/treat": (NEAR, BARE), "task/warn": ()})
    assert re.findall(r'<th scope="row">(.*?)</th>', html) == ["task/treat", "task/warn"]
    assert html.count(NOT_PROOF.capitalize()) == 1
    assert "not measured" in sources.told(None) and sources.caution(None) == ""


def test_what_an_answer_says_that_its_source_does_not_hold_is_flagged(model):
    source = (
        "RESULTS: In this retrospective study of 40 patients with gout, 12 (30%) had fever; "
        "mortality did not differ between the groups, and the follow-up was 24 months (P=0.2). "
        "METHODS: We assessed the records of all patients who were admitted to one hospital."
    )
    record = model.answer(PROMPTS[0])
    copied = replace(record, prompt=source, answer="12 patients (30%) had fever.")
    assert flags(model.flagged(copied)) == []
    other = model.flagged(replace(copied, answer="17 patients (90%) had fever."))
    said = flags(other)
    assert len(said) == 2 and "17" in said[0] and "90%" in said[1]
    html = small_print("5 words", flags=said)
    assert "flagged: marks, not errors" in html and html.index(NO_VERDICT) < html.index("17")
    assert "flagged" not in small_print("5 words")
    marks = re.findall(r'<span class="flagged" title="([^"]*)">(.*?)</span>', shown(other))
    assert [text for _, text in marks] == ["17", "90"]
    assert [unescape(why) for why, _ in marks] == said
    again = Record.from_json(other.to_json())
    assert again.flags == other.flags and len(other.flags) == 2
    assert flags(record) == [] and "flags" not in replace(record, flags=None).to_dict()
    damaged = other.to_dict()
    damaged["flags"][0]["end"] += 1
    with pytest.raises(AtMoeError, match="what is flagged is not what stands there"):
        Record.from_dict(damaged)


def shown(record):
    return passage(record.answer, record.flags)


def test_words_that_nobody_taught_are_named_once(medical):
    record = medical.answer(PROMPTS[0], sampling=Sampling(8))
    said = replace(
        record, answer="Tachysthenosis is a disease. Treat tachysthenosis early.", finish="stop"
    )
    assert medical.words is not None
    named = flags(medical.flagged(said))
    assert named == [f"{SEVERAL} “Tachysthenosis”, “tachysthenosis”."]
    once = medical.flagged(replace(said, answer="Tachysthenosis is a disease."))
    assert flags(once) == [UNTAUGHT.format("Tachysthenosis")] == [once.flags[0].sentence]
    known = replace(said, answer="Asthma is a disease of the lungs.")
    assert flags(medical.flagged(known)) == []
