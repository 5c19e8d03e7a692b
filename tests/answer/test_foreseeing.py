"""Who takes part, read by the engine of a person's words alone, is what transformers reads."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from conftest import PROMPTS
from decoding import CLOSE

from atmoe.answer import foreseeing
from atmoe.answer.engine import engine_of
from atmoe.answer.foreseeing import foresee
from atmoe.answer.pieces import whole
from atmoe.mixture.planning import first_reading

LONG = " ".join(PROMPTS)  # longer than the windows of Gemma


@pytest.fixture(scope="module")
def planned(worlds):
    """A model with a planner of each family, made once."""
    return cache(lambda family: worlds(family).planned())


def by_transformers(model, prompt):
    return first_reading(model.base, model.collate([prompt]), model.router.planner)


@pytest.mark.parametrize("words", [PROMPTS[0], "gout", LONG], ids=["question", "word", "long"])
def test_states_and_team_are_those_that_transformers_reads(world, planned, words):
    model = planned(world.family)
    prompt, engine = model.encode(words), engine_of(model)
    for opening in (None, engine.opening):  # read anew, and as kept
        engine.opening = opening
        with torch.inference_mode():
            got, want = whole(foresee(engine, prompt)), by_transformers(model, prompt)
        torch.testing.assert_close(got.states, want.states, **CLOSE)
        assert torch.equal(got.team.experts, want.team.experts)
        assert torch.equal(got.team.groups, want.team.groups)


def test_the_template_is_read_once_and_again_where_another_stands_before_the_words(
    planned, monkeypatch
):
    model, read = planned("llama"), []
    engine = engine_of(model)
    engine.opening, opened = None, foreseeing._opened
    monkeypatch.setattr(
        foreseeing, "_opened", lambda e, ids, *rest: read.append(ids) or opened(e, ids, *rest)
    )
    usual = [model.encode(words) for words in PROMPTS[:2]]
    # one whose words begin sooner, and one before whose words nothing stands
    other, bare = replace(usual[0], start=usual[0].start - 1), replace(usual[0], start=0)
    for prompt in (*usual, other, bare, bare, usual[1]):
        with torch.inference_mode():
            got, want = whole(foresee(engine, prompt)), by_transformers(model, prompt)
        torch.testing.assert_close(got.states, want.states, **CLOSE)
    before = [tuple(prompt.ids[: prompt.start]) for prompt in (usual[0], other, bare, usual[1])]
    assert read == before and before[2] == ()


def test_without_a_planner_nothing_is_read(worlds, monkeypatch):
    model = worlds("qwen2").model
    monkeypatch.setattr(model.router, "planner", None)
    assert whole(foresee(engine_of(model), model.encode("gout"))) == (None, None)
