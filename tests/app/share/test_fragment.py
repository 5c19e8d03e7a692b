"""A link's answers come back as they were; what is no link's is refused before it is built."""

import base64
import json
import random
import zlib
from dataclasses import replace

import pytest
from conftest import PROMPTS
from mutations import mutated

from app.controls import Controls, Setting
from app.share.fragment import MOST_BYTES, MOST_CHARACTERS, from_fragment, to_fragment
from app.share.link import LinkError
from atmoe import Sampling, State, Steering

CONTROLS = Controls({"task": Setting(State.FIXED, 30, True)}, 1.5, "late")
SAMPLING = Sampling(8, temperature=0.9, seed=4, repetition_penalty=1.1)


@pytest.fixture(scope="module")
def records(worlds):
    model = worlds("llama").model
    return [
        model.answer(PROMPTS[1], steering, SAMPLING) for steering in (Steering(), CONTROLS.steering)
    ]


def inside(fragment: str) -> dict:
    """What a fragment packs, read by hand."""
    packed = fragment.removeprefix("#answers=1.")
    return json.loads(zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))))


def packed(raw: bytes) -> str:
    zipped = zlib.compress(raw, 9)
    return "#answers=1." + base64.urlsafe_b64encode(zipped).decode().rstrip("=")


def test_question_settings_and_both_answers_come_back(records):
    router, steered = records
    held = from_fragment(to_fragment(router, steered, CONTROLS))
    assert held.prompt == PROMPTS[1] and held.sampling == SAMPLING
    assert held.controls == CONTROLS.to_dict()
    assert held.model == router.model
    for given, record in ((held.router, router), (held.steered, steered)):
        assert (given.tokens, given.finish) == (record.answer_tokens, record.finish)
        assert given.versions == record.versions and given.base == record.base
    assert from_fragment(to_fragment(router, None, CONTROLS)).steered is None


def test_an_answers_text_is_nowhere_but_in_its_tokens(records):
    router, steered = records
    assert "answer" not in inside(to_fragment(router, steered, CONTROLS))["router"]


@pytest.mark.parametrize("other", ["", "#", "#how-to-read", "#answer=1.x"])
def test_another_place_on_the_page_is_none_of_ours(other):
    assert from_fragment(other) is None


def test_two_answers_of_400_tokens_fit_and_what_does_not_is_left_out(records):
    draw = random.Random(3)
    long = [
        replace(record, answer_tokens=tuple(draw.randrange(49_000) for _ in range(400)))
        for record in records
    ]
    assert 3_000 < len(to_fragment(*long, CONTROLS)) < 6_000
    endless = replace(
        records[0], prompt="".join(chr(draw.randrange(33, 5000)) for _ in range(9_000))
    )
    assert to_fragment(endless, None, CONTROLS) == ""


def cut(fragment: str) -> list[str]:
    return [fragment[:n] for n in range(len("#answers="), len(fragment))]


def test_a_link_cut_off_anywhere_is_refused(records):
    for part in cut(to_fragment(*records, CONTROLS)):
        with pytest.raises(LinkError, match=r"\.$"):
            from_fragment(part)


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#answers=2.eJx", "of version 2"),
        ("#answers=1.%00", "broken"),
        ("#answers=1.eJx", "broken"),
        ("#answers=1." + "A" * MOST_CHARACTERS, "characters"),
        (packed(b" " * (MOST_BYTES + 1)), "bytes"),
        (packed(b"0" * 11_000_000), "bytes"),  # a bomb: 11 MB in 15,000 characters
        (packed(b"[" * 60_000), "broken"),
        (packed(b"\xff\xfe"), "broken"),
        (packed(b"9" * 60_000), "broken"),
        (packed(b'{"seed": NaN}'), "broken"),
        (packed(b"null"), "not what a link holds"),
        (packed(b"{}"), "not what a link holds"),
    ],
)
def test_what_is_no_links_is_refused_in_a_sentence(fragment, said):
    with pytest.raises(LinkError, match=said) as refusal:
        from_fragment(fragment)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "spoil",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"prompt": 7},
        {"prompt": "\ud800"},
        {"model": {"name": "m"}},
        {"sampling": {"beams": 4}},
        {"sampling": {"max_new_tokens": 9000}},
        {"router": None},
        {"router": {"tokens": [-1], "finish": "stop", "versions": {}}},
        {"router": {"tokens": ["1"], "finish": "stop", "versions": {}}},
        {"router": {"tokens": [1] * 9, "finish": "length", "versions": {}}},  # its limit is 8
        {"router": {"tokens": [1], "finish": "cancelled", "versions": {}}},
        {"router": {"tokens": [1], "finish": "stop", "versions": {"torch": 2}}},
    ],
)
def test_a_wrong_type_or_size_is_refused(records, spoil):
    data = inside(to_fragment(*records, CONTROLS)) | spoil
    with pytest.raises(LinkError, match=r"\.$"):
        from_fragment(packed(json.dumps(data).encode()))


def test_a_spoilt_link_is_one_or_a_sentence(records):
    rng = random.Random(2)
    data = inside(to_fragment(*records, CONTROLS))
    for _ in range(300):
        try:
            held = from_fragment(packed(json.dumps(mutated(data, rng)).encode()))
        except LinkError as error:
            assert "\n" not in str(error) and str(error).endswith(".")
        else:
            assert isinstance(held.router.tokens, tuple) and held.sampling.max_new_tokens <= 400
