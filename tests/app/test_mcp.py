"""The endpoints as tools of an MCP server, called by the protocol's own client over HTTP."""

import ast
import json

import pytest
from browser import QUESTION, TOKENS
from conftest import finished
from tools.endpoints import NAMES

from app.view import sampling_of
from atmoe.explanation.measure import explain
from atmoe.explanation.verdict import verdict
from atmoe.many.brief import brief_of

mcp = pytest.importorskip("mcp")


def asked(address: str, *calls: tuple[str, dict]) -> list:
    """What a server's tools are, and what it answers to these calls."""
    from mcp.client.streamable_http import streamable_http_client

    async def talk() -> list:
        url = f"{address.partition('?')[0]}gradio_api/mcp/"
        async with (
            streamable_http_client(url) as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            return [tools, *[await session.call_tool(name, given) for name, given in calls]]

    return finished(talk())


def test_each_endpoint_is_a_tool_that_says_what_it_takes(served):
    [tools] = asked(served[0])
    assert {tool.name for tool in tools} == set(NAMES)
    answer = next(tool for tool in tools if tool.name == "answer")
    assert answer.inputSchema["required"] == ["question"]
    assert "often wrong" in answer.description
    for name, parameter in answer.inputSchema["properties"].items():
        assert parameter.get("description"), name


def test_tools_answer_as_the_library_does(served):
    address, model = served
    given = {"question": QUESTION, "brief": True}
    _, route, answer, explanation = asked(
        address,
        ("route", given),
        ("answer", given | {"max_new_tokens": TOKENS}),
        ("explain", given | {"max_new_tokens": TOKENS}),
    )
    record = model.answer(QUESTION, sampling=sampling_of(TOKENS, 0, 0))
    assert said(route) == json.loads(
        json.dumps(brief_of(model.routed(QUESTION), model.info.language))
    )
    assert said(answer) == json.loads(json.dumps(brief_of(record, model.info.language)))
    own = verdict(explain(model, record))
    assert said(explanation)["verdict"] == str(own.level)
    assert len(json.dumps(said(explanation))) < 4000  # of a context


def test_what_cannot_be_is_a_sentence_to_the_model(served):
    _, refused = asked(served[0], ("answer", {"question": ""}))
    assert refused.isError and "The question is empty" in refused.content[0].text


def said(result) -> dict:
    """What a tool said, read: Gradio writes values as Python does."""
    assert not result.isError, result
    return ast.literal_eval(result.content[0].text)
