"""How often is an answer flagged: counted by hand."""

from dataclasses import replace

import pytest

from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.flags.untaught import made
from atmoe.study.flags import (
    Asked,
    agreement,
    drawn,
    filter_errors,
    keep,
    kept,
    study,
    wilson,
)

DIALOGUE = "Write a note:\n\nDoctor: Any chest pain?\nPatient: Yes, for two weeks.\nDoctor: Okay."
TRAINING = [
    Example(f"q{n}", f"What is illness {n}?", "Chest pain for weeks.", {}, f"d{n}", "s", "own")
    for n in range(3)
]
ASKED = [
    Asked("dialogue", "1", DIALOGUE, "Chest pain.", "Chest pain for 2 weeks.", "stop"),
    Asked("dialogue", "2", DIALOGUE, "Chest pain.", "Denies chest pain for 9 weeks.", "stop"),
    Asked("question", "3", "What is pain?", "Pain.", "Pain is zorblaxitis. Chest.", "stop",
          ("Pain is zorblaxitis.", "Nothing")),
]  # fmt: skip


class Tokens:
    def get_vocab(self):
        return {"Ġdenies": 0, "Ġnote": 1}


def test_counts_by_hand():
    words = made(TRAINING, Tokens(), "a")
    report = study(ASKED, words, TRAINING, Tokens())
    kept_to, untaught = report["kept_to"], report["untaught"]
    assert kept_to["answers"] == 2 and kept_to["findings"] == 2
    assert kept_to["by_source"]["dialogue"]["share"] == 0.5
    counts = {kind: own["findings"] for kind, own in kept_to["by_kind"].items()}
    assert counts == {"number": 1, "unit": 0, "P-value": 0, "name": 0, "negation": 1}
    assert untaught["examples"] == ["zorblaxitis"] and untaught["share"] == pytest.approx(1 / 3)
    assert untaught["words"]["all"] == 4 + 5 + 4 and untaught["words"]["flagged"] == 1
    assert untaught["references"]["share"] == 0
    # of two statements the first is in one of two drafts, the second in none
    assert report["drafts"]["agreement"]["mean"] == 0.25
    assert report["drafts"]["shared_by_none"] == 0.5 and agreement([], 0) is None


def test_a_reference_is_whole_wherever_the_answer_was_cut_off():
    """Of a text that is cut off, the last word may be half of one."""
    words = made(TRAINING, Tokens(), "a")
    text = "It is zorblaxitis"
    one = Asked("question", "1", "What is pain?", text, text, "length")
    untaught = study([one], words, TRAINING, Tokens())["untaught"]
    assert untaught["share"] == 0 and untaught["references"]["share"] == 1


def test_answers_are_kept_for_the_same_run_alone(tmp_path):
    file, made_by = tmp_path / "answers.json", {"model": "a", "seed": 0}
    asked = [replace(one, answer="", finish="", drafts=()) for one in ASKED]
    keep(file, ASKED, made_by)
    assert kept(file, asked, made_by) == ASKED
    with pytest.raises(DataError, match=r"another run \(other model\)"):
        kept(file, asked, {"model": "b", "seed": 0})
    with pytest.raises(DataError, match=r"\(other seed, prompts\); ask for the same"):
        kept(file, asked[:2], {"model": "a", "seed": 1})


def test_the_filter_is_held_against_what_it_must_hold():
    whole = made(TRAINING, Tokens(), "a")
    assert filter_errors(whole, TRAINING, Tokens(), 0)["missed"] == 0
    half = made(TRAINING[:1], Tokens(), "a")
    more = [*TRAINING, Example("x", "What is gout?", "Uric acid.", {}, "x", "s", "own")]
    assert filter_errors(half, more, Tokens(), 0)["missed"] == 3  # gout, uric, acid


def test_what_is_drawn():
    asked = drawn(TRAINING, {"question": 2}, 0)
    assert len(asked) == 2 and {one.kind for one in asked} == {"question"}
    with pytest.raises(DataError, match="name other data"):
        drawn([], {"question": 2}, 0)


def test_wilson_by_hand():
    assert wilson(0, 0) == [0, 1] and wilson(0, 10)[0] == 0
    assert wilson(30, 30) == pytest.approx([0.8865, 1], abs=1e-4)
    assert wilson(5, 10) == pytest.approx([0.2366, 0.7634], abs=1e-4)
