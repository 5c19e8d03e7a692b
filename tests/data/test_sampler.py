"""What the stream of examples may change about one: its words, and its label only with them."""

import json
from itertools import islice

from atmoe.data import Example
from atmoe.data.jsonl import read_jsonl
from atmoe.data.sampler import CLINICIAN, Sampler


def drawn(examples, count=4000):
    return list(islice(iter(Sampler(examples, 0, "task")), count))


def test_rows_of_ones_own_are_drawn_as_they_are_written(tmp_path):
    lines = [
        {
            "prompt": f"{audience} question {i}?",
            "answer": "An answer.",
            "labels": {"task": f"for-{audience}", "audience": audience},
        }
        for i in range(40)
        for audience in ("reference", "professional")
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    written = read_jsonl(tmp_path / "own.jsonl")
    by_id = {e.id: e for e in written}
    assert all(e == by_id[e.id] for e in drawn(written))


def test_a_clinician_asks_for_a_reference_answer_in_other_words():
    examples = [
        Example(
            id=f"{kind} {audience}",
            prompt="What are the treatments for Gout?",
            answer="Rest.",
            labels={"task": "treatment", "audience": audience},
            disease="gout",
            source="NIDDK",
            kind=kind,
            focus="Gout",
        )
        for audience in ("reference", "professional")
        for kind in ("treatment", "information")
    ]
    references = [e for e in drawn(examples) if e.id.endswith("reference")]
    asked = [e for e in references if e.labels["audience"] == "professional"]
    assert abs(len(asked) / len(references) - CLINICIAN) < 0.03
    assert all(e.prompt != examples[0].prompt and "gout" in e.prompt.lower() for e in asked)
