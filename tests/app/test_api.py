"""The endpoints beside the page, called by Gradio's own client."""

import json
import threading

import httpx
import jsonschema
import pytest
from browser import QUESTION, TOKENS
from conftest import LAYOUT
from gradio_client import Client
from gradio_client.exceptions import AppError
from tools.endpoints import NAMES

from app import serving
from app.api import Api
from app.view import REPETITION_PENALTY, sampling_of
from atmoe import Override, Record, State, Steering
from atmoe.answer.batching import Batching
from atmoe.explanation.compare import compare
from atmoe.explanation.drafts import drafted
from atmoe.explanation.measure import explain
from atmoe.many.brief import brief_of

STEERING = Steering((Override(LAYOUT.group_names[0], State.FIXED, 1.0),))


@pytest.fixture(scope="module")
def client(served) -> Client:
    return Client(served[0], verbose=False)


def test_endpoints_have_names_and_parameters_with_defaults_and_the_pages_events_have_none(client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {f"/{name}" for name in NAMES}
    parameters = {p["parameter_name"]: p for p in named["/answer"]["parameters"]}
    names = ["question", "steering", "max_new_tokens", "seed", "temperature", "brief"]
    assert list(parameters) == names
    assert [name for name, p in parameters.items() if not p["parameter_has_default"]] == [
        "question"
    ]
    assert all(endpoint["description"] for endpoint in named.values())


def test_the_model_says_what_it_is(client, served):
    said, model = client.predict(api_name="/models"), served[1]
    assert said["groups"] == {group: list(experts) for group, experts in model.layout.groups}
    assert said["sha256"] == model.info.sha256 and said["layers"] == model.layout.layers


@pytest.mark.parametrize("steering", [Steering(), STEERING])
def test_a_plan_and_an_answer_are_the_librarys(client, served, steering):
    model, sent = served[1], None if steering.untouched else steering.to_dict()
    plan = client.predict(QUESTION, sent, api_name="/route")
    own = steering.apply(model.route(QUESTION))
    assert type(own).from_dict(plan).close_to(own, atol=1e-5)
    data = client.predict(QUESTION, sent, TOKENS, 0, api_name="/answer")
    expected = model.answer(QUESTION, steering, sampling_of(TOKENS, 0, 0))
    record = Record.from_dict(data)
    assert record.answer_tokens == expected.answer_tokens
    assert (record.finish, record.flags) == (expected.finish, expected.flags)


def test_a_steering_may_be_a_link_of_the_page(client, served):
    group = LAYOUT.group_names[0]
    link = f"http://host/?v=2&set={group}:100&q=Another%20question"
    said = client.predict(QUESTION, link, True, api_name="/route")
    assert said == client.predict(QUESTION, STEERING.to_dict(), True, api_name="/route")
    # and as Share copies it, with what stood on the page behind a #
    assert said == client.predict(QUESTION, f"{link}#answers=1.AAAA", True, api_name="/route")
    assert said == client.predict(QUESTION, f"{link}&utm_source=mail", True, api_name="/route")
    twice = f"?v=2&set={group}:100&set={group}:50"
    for broken in ("", "https://example.org/?x=1", "?v=9&set=task:1", "?v=2&sett=task:1", twice):
        with pytest.raises(AppError, match=r"ink .*\[link\]"):
            client.predict(QUESTION, broken, api_name="/route")


def test_a_brief_is_the_same_in_a_few_numbers(client, served):
    sent = (QUESTION, STEERING.to_dict())
    said = client.predict(*sent, True, api_name="/route")
    own = served[1].routed(QUESTION, STEERING)
    assert said == json.loads(json.dumps(brief_of(own, served[1].info.language)))
    group = LAYOUT.group_names[0]
    assert said["shares"][group] == 1 and said["heaviest"][group] in said["team"]


def test_the_penalty_that_no_argument_sets_is_told(client):
    assert client.predict(api_name="/models")["limits"]["repetition_penalty"] == REPETITION_PENALTY
    for endpoint in (Api.answer, Api.explain, Api.drafts, Api.compare):
        assert f"the repetition penalty is {REPETITION_PENALTY:g}, as on" in endpoint.__doc__


def test_the_schema_of_a_steering_takes_what_the_endpoints_take(client):
    schema = client.predict(api_name="/schema")
    jsonschema.validate(STEERING.to_dict(), schema)
    jsonschema.validate({"overrides": []}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"overrides": [{"target": "x", "state": "loud"}]}, schema)
    record = client.predict(QUESTION, None, TOKENS, api_name="/answer")
    jsonschema.validate(record, client.predict("record", api_name="/schema"))


def test_an_answer_streams_and_a_question_alone_is_enough(client):
    job = client.submit(QUESTION, api_name="/answer")
    job.result()
    texts = [step["answer"] for step in job.outputs()]
    assert all(texts[-1].startswith(text[:3]) for text in texts) and texts[-1]


def test_who_asks_first_begins_first_however_threads_get_on(served, monkeypatch):
    begun, beginning, go = [], Batching.beginning, threading.Event()

    def logged(self, prompt, *rest, **named):
        begun.append(prompt)
        return beginning(self, prompt, *rest, **named)

    monkeypatch.setattr(Batching, "beginning", logged)
    questions = [f"{number} {QUESTION}" for number in range(40)]
    worker = next(each.worker for each in serving._all if each.model is served[1])
    # the model is busy, so that all wait for it to read their questions, and are let go at once
    held = threading.Thread(target=worker.call, args=(lambda: go.wait(30), True), daemon=True)
    held.start()
    with httpx.Client(base_url=served[0], timeout=30) as http:
        data = [[question, None, 2, 0, 0.0, True] for question in questions]
        asked = [http.post("/gradio_api/call/answer", json={"data": own}) for own in data]
        go.set()
        for reply in asked:
            told = http.get(f"/gradio_api/call/answer/{reply.json()['event_id']}").text
            assert "event: complete" in told
    assert begun == questions


def test_an_explanation_and_a_score_are_the_librarys(client, served):
    model = served[1]
    data = client.predict(QUESTION, None, TOKENS, api_name="/explain")
    record = model.answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0))
    own = explain(model, record)
    said = Record.from_dict(data).explanation
    for unit in own.of("expert"):
        assert said.unit(unit.name).effect == pytest.approx(unit.effect, abs=1e-5)
    assert said.changes is not None and data["verdict"]["sentence"]
    scored = client.predict(QUESTION, "It is", api_name="/score")
    expected = model.score(QUESTION, "It is", [model.route(QUESTION)])[0]
    assert scored["token_logprobs"] == pytest.approx(expected.tolist(), abs=1e-5)


def test_drafts_are_the_librarys(client, served):
    said = client.predict(QUESTION, None, TOKENS, api_name="/drafts")
    [own] = drafted(served[1], [served[1].answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0))])
    assert said == json.loads(json.dumps(own.to_dict()))


def test_two_answers_are_compared(client, served):
    model, sampling = served[1], sampling_of(TOKENS, 0, 0)
    said = client.predict(QUESTION, STEERING.to_dict(), TOKENS, api_name="/compare")
    own = compare(
        model, model.answer(QUESTION, sampling=sampling), model.answer(QUESTION, STEERING, sampling)
    )
    for row, expected in zip(said["comparison"]["logp"], own.logp, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("sent", "endpoint", "told"),
    [
        (("",), "/answer", r"The question is empty.* \[prompt\]"),
        ((QUESTION, {"overrides": [{}]}), "/answer", r"This is not a steering.* \[steering\]"),
        (
            (QUESTION, {"overrides": [{"target": "nobody", "state": "off"}]}),
            "/route",
            r"nobody.* \[steering\]",
        ),
        ((QUESTION, None, 100_000), "/answer", r"1 to 400 tokens.* \[sampling\]"),
        ((QUESTION, None, 4, "x"), "/explain", r"\[sampling\]"),
        ((QUESTION, None, 3.7), "/answer", r"a whole number.* \[sampling\]"),
        ((QUESTION, None, True), "/answer", r"a whole number.* \[sampling\]"),
        ((QUESTION, None, 4, 0, 0, "false"), "/answer", r"brief is true or false.* \[data\]"),
        ((QUESTION, None, "no"), "/route", r"brief is true or false.* \[data\]"),
        (([],), "/schema", r"There is no schema of \[\]"),
        ((QUESTION, ""), "/score", r"\[prompt\]"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_with_a_code(client, sent, endpoint, told):
    with pytest.raises(AppError, match=told):
        client.predict(*sent, api_name=endpoint)


@pytest.mark.parametrize("sent, endpoint, all_", [([], "answer", 6), ([QUESTION], "route", 3)])
def test_a_request_with_too_few_values_is_refused_in_a_sentence(served, sent, endpoint, all_):
    told = httpx.post(f"{served[0]}gradio_api/run/{endpoint}", json={"data": sent})
    assert told.json()["error"] == (
        f"“data” holds {len(sent)} of {all_} values; send them all, in the order in which "
        "/gradio_api/info lists them. [data]"
    )
