"""Words nobody taught: the filter misses no member, and what it lets pass is counted."""

import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from atmoe import AtMoeError
from atmoe.data.schema import Example
from atmoe.flags.untaught import FILE, MOST_BYTES, RATE, Words, base_words, made, untaught
from atmoe.flags.words import key

MODEL = "a" * 64
KEYS = st.sets(st.text(min_size=1, max_size=12), max_size=60)


class Tokens:
    def get_vocab(self):
        return {"Ġthe": 0, "ĠThis": 1, "ĠisX": 2, "▁seen": 3, "Ġof": 4, "heart": 5, "Ġ123": 6}


EXAMPLE = Example(
    "1", "What is supravalvular stenosis?", "A narrowing above valves.", {}, "d", "s", "own"
)


@pytest.fixture
def words() -> Words:
    return made([EXAMPLE], Tokens(), MODEL)


def flagged(words: Words, answer: str, prompt: str = "", **settings) -> list[str]:
    pieces = untaught(words, prompt, answer, **settings)
    assert all(answer[piece.start : piece.end] == piece.text for piece in pieces)
    return [piece.text for piece in pieces]


@given(KEYS)
@settings(deadline=None)
def test_no_member_is_ever_missed(keys):
    words = Words.of(keys, MODEL)
    assert all(words.holds(one) for one in keys) and words.keys == len(keys)


@given(KEYS)
@settings(deadline=None, max_examples=25)
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("model")
    words = Words.of(keys, MODEL)
    words.save(folder)
    again = Words.load(folder, MODEL)
    assert np.array_equal(words.bits, again.bits)
    assert (words.hashes, words.keys, words.model) == (again.hashes, again.keys, again.model)


def test_of_others_no_more_pass_than_the_rate():
    words = Words.of({f"member{n}" for n in range(20_000)}, MODEL)
    passed = sum(words.holds(f"stranger{n}") for n in range(40_000))
    expected = RATE * 40_000
    assert len(words.bits) <= MOST_BYTES and passed <= expected + 4 * expected**0.5
    assert RATE <= 1 / 1000


def test_too_many_words_are_refused():
    with pytest.raises(AtMoeError, match="index fewer texts"):
        Words.of({str(n) for n in range(60_000)}, MODEL)


def test_the_base_knows_its_whole_words():
    assert base_words(Tokens()) == {"the", "this", "isx", "seen"}


def test_made_up_words_are_flagged(words):
    answer = "This is tachysthenosis, a supravalvular tachirrhism."
    assert flagged(words, answer) == ["tachysthenosis", "tachirrhism"]


@pytest.mark.parametrize(
    "answer",
    [
        "The valve's narrowings narrowed.",
        "Supravalvular-stenosis (STENOSIS)",
        "A niece, the mustache.",
        "non-narrowing, nonvalves, prestenosis",
        "qqz at XQZTT and XQZTTs, qrzt7",
        "see https://qwrtz.org/plkmn or qwrtz@plkmn.com",
    ],
)
def test_forms_of_known_words_and_what_is_no_word_are_not(words, answer):
    assert flagged(words, answer) == []


def test_what_was_asked_is_known(words):
    assert flagged(words, "Zorblaxitis heals.", "How does zorblaxitis heal?") == []
    assert flagged(words, "Zorblaxitis heals.") == ["Zorblaxitis"]


def test_half_a_word_at_a_cut_is_not_judged(words):
    assert flagged(words, "the zorblax", cut_off=True) == []
    assert flagged(words, "the zorblax", cut_off=False) == ["zorblax"]
    assert flagged(words, "the zorblax ", cut_off=True) == ["zorblax"]


def test_a_file_of_another_model_or_stemmer_or_form_is_refused(tmp_path, words):
    assert Words.load(tmp_path, MODEL) is None
    words.save(tmp_path)
    with pytest.raises(AtMoeError, match="another model"):
        Words.load(tmp_path, "b" * 64)
    good = (tmp_path / FILE).read_bytes()
    with safetensors.safe_open(tmp_path / FILE, framework="numpy") as opened:
        about = opened.metadata()
    for change, said in (
        ({"stemmer": "another"}, "was made with another"),
        ({"format": "2"}, "not of the format"),
        ({"hashes": "x"}, "no list of words"),
        ({"hashes": "0"}, "out of range"),
    ):
        data = safetensors.numpy.save({"bits": words.bits}, {**about, **change})
        (tmp_path / FILE).write_bytes(data)
        with pytest.raises(AtMoeError, match=said):
            Words.load(tmp_path, MODEL)
    for data in (b"", b"x" * 50, good[:-3], good + b"xx"):
        (tmp_path / FILE).write_bytes(data)
        with pytest.raises(AtMoeError, match="atmoe index"):
            Words.load(tmp_path, MODEL)
    other = safetensors.numpy.save({"bits": words.bits.astype(np.float32)}, about)
    (tmp_path / FILE).write_bytes(other)
    with pytest.raises(AtMoeError, match="right form"):
        Words.load(tmp_path, MODEL)


def test_four_hundred_tokens_take_less_than_20_ms(words):
    answer = ("The narrowing of the valves is zorblaxitis and the stenosis is seen. " * 25)[:1700]
    flagged(words, answer)
    took = []
    for _ in range(5):
        key.cache_clear()
        began = time.process_time()
        untaught(words, "What?", answer)
        took.append(time.process_time() - began)
    assert min(took) < 0.02
