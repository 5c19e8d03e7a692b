"""The index of the shipped model: small, its own, and it finds what is named."""

import gzip
import json

import pytest
from conftest import ASSETS

from atmoe.sources.index import FACTS, MOST_BYTES

INDEX = ASSETS / "index"


@pytest.mark.parametrize(
    "question, topic, task",
    [
        ("How is gout treated?", "Gout", "treatment"),
        ("How is asthma treated?", "Asthma", "treatment"),  # so short that its rank is low
        ("my dad was told he has afib, what can they do for him??", "Atrial Fibrillation", ""),
        ("What are the genetic changes related to Bloom syndrome ?", "Bloom syndrome", "causes"),
        ("tx T2DM", "diabetes", ""),
    ],
)
def test_what_is_named_is_found(medical, question, topic, task):
    found = medical.found(question, medical.route(question))
    assert not found.far and len(found.nearest) == 5
    own = [s for s in found.nearest if topic.lower() in s.topic.lower()]
    assert own and (not task or own[0].task == task)
    assert all(s.address.startswith("http") for s in found.nearest)


@pytest.mark.parametrize(
    "line",
    [
        "Wie macht man einen guten Apfelkuchen?",
        "good morning, how do you do",
        "while (i < 10) { i++; }",
        "Beat the eggs with the sugar and bake for half an hour",
        "Who won the chess tournament last year?",
    ],
)
def test_what_is_no_question_for_it_is_flagged(medical, line):
    assert medical.found(line, medical.route(line)).far


def test_it_is_small_and_holds_names_alone():
    assert sum(file.stat().st_size for file in INDEX.iterdir()) <= MOST_BYTES
    facts = json.loads(gzip.decompress((INDEX / FACTS).read_bytes()))
    assert len(facts["source"]) == 12_035
    assert max(map(len, facts["topics"])) <= 300
    assert {"PubMedQA", "MTS-Dialog", "GARD", "GHR"} <= set(facts["sources"])
    assert all(address.startswith("http") for address in facts["addresses"])
