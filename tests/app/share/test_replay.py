"""A downloaded record restores what it was made of; what differs is named."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import LAYOUT, PROMPTS
from mutations import mutated

from app.controls import Controls, Setting
from app.job import Job
from app.session import Question, Session
from app.share.replay import judgement, opened
from app.share.replay_desk import ReplayDesk
from atmoe import AtMoeError, Layout, Sampling, State, Steering
from atmoe.explanation.response import Response
from atmoe.report.words import FROM_LINK
from atmoe.steering.reference import Beside

CONTROLS = Controls(
    {"task": Setting(State.FIXED, 30, True), "reader/lay": Setting(State.OFF, 50)}, 1.5, "late"
)
SAMPLING = Sampling(8, temperature=0.9, seed=4, repetition_penalty=1.1)


@pytest.fixture(scope="module")
def made(worlds):
    """Both records, and what the download writes."""
    model = worlds("llama").model
    router, steered = (
        model.answer(PROMPTS[1], steering, SAMPLING) for steering in (Steering(), CONTROLS.steering)
    )
    return (
        router,
        steered,
        {
            "router": router.to_dict(),
            "steered": steered.to_dict(),
            "controls": CONTROLS.to_dict(),
            "comparison": None,
        },
    )


@pytest.fixture
def sha256(made):
    """Of the model here, which made them."""
    return made[0].model["sha256"]


def test_a_download_restores_question_settings_controls_and_locks(made, sha256):
    router, steered, data = made
    replay = opened(json.dumps(data), LAYOUT, sha256)
    assert replay.controls == CONTROLS and replay.sampling == SAMPLING
    assert (
        replay.router.to_dict() == router.to_dict()
        and replay.steered.to_dict() == steered.to_dict()
    )
    alone = opened(
        json.dumps(data | {"steered": None, "controls": Controls().to_dict()}), LAYOUT, sha256
    )
    assert alone.steered is None and alone.controls == Controls()


def test_the_answers_steering_counts_where_the_controls_say_another(made, sha256):
    *_, data = made
    replay = opened(json.dumps(data | {"controls": Controls().to_dict()}), LAYOUT, sha256)
    assert replay.controls.steering == CONTROLS.steering


def edited(data: dict, **fields) -> dict:
    return data | {"router": data["router"] | fields}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: "",
        lambda d: "{",
        lambda d: "[]",
        lambda d: "null",
        lambda d: "[" * 100_000,
        lambda d: json.dumps({"router": d["router"]}),
        lambda d: json.dumps(d["router"]),
        lambda d: json.dumps(d | {"controls": None}),
        lambda d: json.dumps(edited(d, prompt=7)),
        lambda d: json.dumps(edited(d, prompt="Another question?")),
        lambda d: json.dumps(edited(d, seed="x")),
        lambda d: json.dumps(edited(d, sampling={"beams": 4})),
        lambda d: json.dumps(
            edited(d, sampling=d["router"]["sampling"] | {"max_new_tokens": 1000})
        ),
    ],
)
def test_what_is_no_such_record_is_refused_in_a_sentence(made, sha256, spoil):
    with pytest.raises(AtMoeError, match=r"\.$"):
        opened(spoil(made[2]), LAYOUT, sha256)


def test_doses_and_a_third_answer_come_back_and_older_downloads_have_neither(made, sha256):
    _, steered, data = made
    assert (
        opened(json.dumps(data), LAYOUT, sha256).beside is None
        and opened(json.dumps(data), LAYOUT, sha256).router.response is None
    )
    response = Response("task/warn", tuple("abcde"), None, True)
    held = edited(data, response=response.to_dict()) | {
        "beside": {"kind": "random", "record": steered.to_dict()}
    }
    replay = opened(json.dumps(held), LAYOUT, sha256)
    assert (
        replay.router.response == response
        and replay.beside[0] is Beside.RANDOM
        and replay.beside[1].answer == steered.answer
    )
    other = steered.to_dict() | {"prompt": "Another question?"}
    for spoiled in (
        {"beside": {"kind": "dance", "record": steered.to_dict()}},
        {"beside": {"kind": "base"}},
        {"beside": 7},
        {"beside": {"kind": "base", "record": other}},
        edited(data, response=response.to_dict() | {"target": "task/dance"}),
        edited(data, response=response.to_dict() | {"target": "field/heart"}),
    ):  # alone in its group: it has no share to be given
        with pytest.raises(AtMoeError, match=r"\.$"):
            opened(json.dumps(held | spoiled), LAYOUT, sha256)


def test_a_record_of_another_model_is_refused(made, sha256):
    with pytest.raises(AtMoeError, match="other groups, experts or layers"):
        opened(json.dumps(made[2]), Layout.of(3, {"task": ("treat",)}), sha256)


def test_identical_and_all_as_it_was(made, model):
    router, *_ = made
    again = model.answer(PROMPTS[1], Steering(), SAMPLING)
    assert judgement("The answer", router, again) == (
        "The answer came out identical, token by token. Model, base, seed 4, library "
        "versions and precision are as they were."
    )
    beside = replace(
        again, versions=again.versions | {"engine": "lean"}
    )  # someone else had the copy of the weights meanwhile
    assert "are as they were" in judgement(
        "The answer", replace(router, versions=router.versions | {"engine": "lean, folded"}), beside
    )
    assert "engine (lean then" in judgement(
        "The answer",
        replace(router, answer_tokens=(1,), versions=beside.versions),
        replace(again, versions=again.versions | {"engine": "lean, folded"}),
    )
    stopped = replace(router, answer_tokens=router.answer_tokens[:3], finish="cancelled")
    assert "identical, token by token as far as the record goes" in judgement(
        "The answer", stopped, again
    )
    assert "stopped before its end" in judgement(
        "The answer", router, replace(again, finish="cancelled")
    )


def test_what_differs_is_named(made):
    router, steered, _ = made
    then = replace(
        router,
        answer="Rest and drink",
        answer_tokens=(1, 2, 3),
        model={"name": "m", "sha256": "a" * 64},
        versions=router.versions | {"torch": "1.0", "dtype": "bfloat16"},
    )
    now = replace(router, answer="Rest and sleep well", answer_tokens=(1, 2, 4), plan=steered.plan)
    said = judgement("The answer", then, now)
    farthest = 100 * (router.plan.weights - steered.plan.weights).abs().max()
    assert (
        "The answer differs: after 2 equal words the record has “drink”, this one “sleep”." in said
    )
    lists = (replace(then, answer="- Rest\n- drink"), replace(now, answer="- Rest\n- sleep"))
    assert "after 1 equal word the record has “drink”, this one “sleep”" in judgement("A", *lists)
    assert f"differ by up to {farthest:.2g} points" in said
    assert f"the model (sha256 aaaaaaaaaaaa then, {router.model['sha256'][:12]} now)" in said
    assert (
        f"torch (1.0 then, {router.versions['torch']} now)" in said
        and "the precision (bfloat16 then, float32 now)" in said
    )
    assert "the base" not in said
    four = {"dtype": "int4", "computed_in": "bfloat16"}
    said = judgement("The answer", replace(then, versions=router.versions | four), now)
    assert "the precision (int4 then, float32 now)" in said
    assert "what all but the base's weights are in (bfloat16 then, float32 now)" in said


def test_a_spoilt_download_is_one_or_a_sentence(made, sha256):
    """Whatever is wrong with it is found before anything of it is shown."""
    rng = random.Random(1)
    for _ in range(300):
        text = json.dumps(mutated(made[2], rng))
        try:
            opened(text, LAYOUT, sha256)
        except AtMoeError as error:
            assert "\n" not in str(error) and str(error).endswith(".")


def test_a_link_is_not_answered_again_before_both_its_answers_are_read(made):
    router, _, _ = made
    shared = SimpleNamespace(message="message", model=None, worker=None)
    desk = ReplayDesk(shared, None, None, None)
    session = Session(question=Question(PROMPTS[1], SAMPLING))
    by_link = router.versions | {"engine": f"lean{FROM_LINK}"}
    session.first.record = replace(router, versions=by_link)
    session.second.job = Job(iter(()))  # its weights are on the way
    assert "steered answer is still being read; press again then" in desk.again(session)["message"]
