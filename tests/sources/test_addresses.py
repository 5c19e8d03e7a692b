"""Addresses of public pages: read from corpora, and nothing that a page could not link to."""

import json

import pytest

from atmoe.data import medquad, pubmedqa
from atmoe.data.jsonl import read_jsonl
from atmoe.errors import DataError
from atmoe.schema import address_of
from atmoe.sources.facts import topic_of

MEDQUAD = """<?xml version="1.0"?><Document id="1" source="GARD"{url}><Focus>Glooma</Focus>
<QAPairs><QAPair pid="1"><Question qtype="information">What is (are) Glooma ?</Question>
<Answer>Glooma is a mood that comes and goes with the weather.</Answer></QAPair></QAPairs>
</Document>"""


@pytest.mark.parametrize(
    "address", ["https://example.org/a?b=c#d", "http://www.ninds.nih.gov/disorders/ramsay2.htm"]
)
def test_an_address_stays_as_it_is(address):
    assert address_of(f" {address} ") == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https://user:word@example.org",
        'https://example.org/"x',
        "https://example.org/<b>",
        "https://example.org/a b",
        "https://example.org/\u202e",
        "https://[::1",
        "https://example.org/" + "a" * 500,
    ],
)
def test_what_cannot_be_linked_to_is_none(address):
    assert address_of(address) == ""


@pytest.mark.parametrize(
    "url, want",
    [
        (' url="https://example.org/glooma"', "https://example.org/glooma"),
        (' url="javascript:1"', ""),
        ("", ""),
    ],
)
def test_medquad_names_its_page(tmp_path, url, want):
    folder = tmp_path / "2_GARD_QA"
    folder.mkdir()
    (folder / "1.xml").write_text(MEDQUAD.format(url=url))
    [example] = medquad.read(tmp_path, 50)
    assert example.address == want and topic_of(example) == "Glooma"


def test_an_article_is_named_by_its_headings_and_never_by_its_question(tmp_path):
    (tmp_path / "data").mkdir()
    article = {
        "QUESTION": "Does gloom follow rain?",
        "CONTEXTS": ["It rained and people were asked."],
        "LONG_ANSWER": "Gloom did not follow rain here.",
        "MESHES": ["Adult", "Humans", "Mood Disorders", "Retrospective Studies", "Rain"],
    }
    other = article | {"MESHES": ["Humans"]}
    (tmp_path / "data/ori_pqal.json").write_text(json.dumps({"17": article, "18": other}))
    one, two = pubmedqa.read(tmp_path, 50)
    assert one.address == "https://pubmed.ncbi.nlm.nih.gov/17/"
    assert (topic_of(one), topic_of(two)) == ("Mood Disorders; Rain", "PubMed 18")


def test_ones_own_examples_may_name_a_page(tmp_path):
    file = tmp_path / "own.jsonl"
    line = {"prompt": "How is soup made?", "answer": "Of water and leeks."}
    rows = [line | {"topic": "soup", "address": "https://example.org/soup"}, line]
    file.write_text("\n".join(map(json.dumps, rows)))
    one, two = read_jsonl(file)
    assert (topic_of(one), one.address) == ("soup", "https://example.org/soup")
    assert (topic_of(two), two.address) == ("", "")
    file.write_text(json.dumps(line | {"address": "soup.html"}))
    with pytest.raises(DataError, match="line 1: the address 'soup.html' .*https://"):
        read_jsonl(file)
