"""Many plans over one text: the same log-probabilities as one by one, whatever was shared."""

import pytest
import torch
from conftest import LAYERS, LAYOUT, PROMPTS, one_hot, random_plan, reference_logits

from atmoe import Override, RoutingPlan, State, Steering
from atmoe.answer.pieces import whole
from atmoe.errors import PromptError
from atmoe.explanation.sweep import sweep

ANSWER = "It is treated with the inhaler, and the rest is told by the doctor."


def plans_of(model):
    """The router's plan; the same changed from the first, a middle, the last and no layer on; base;
    one expert; any.
    """
    plan = model.route(PROMPTS[0])

    def drop(scope):
        return Steering((Override("task", State.OFF, None, scope),)).apply(plan)

    return [
        plan,
        drop("all"),
        drop("2-3"),
        drop(str(LAYERS - 1)),
        plan,
        RoutingPlan.off(LAYOUT),
        one_hot("task/treat"),
        random_plan(3),
    ]


def swept(model, plans, answer=ANSWER, **options):
    return whole(
        sweep(model, model.encode(PROMPTS[0]), model.encode_answer(answer), plans, **options)
    )


def test_a_sweep_equals_each_plan_scored_alone(world):
    model = world.model
    plans = plans_of(model)
    alone = torch.cat([model.score(PROMPTS[0], ANSWER, [plan]) for plan in plans])
    assert torch.allclose(swept(model, plans).logp, alone, atol=2e-5)


def test_chunks_change_nothing(model, monkeypatch):
    plans = plans_of(model)
    whole = swept(model, plans).logp
    monkeypatch.setattr("atmoe.explanation.sweep.ROW_TOKENS", 1)
    assert torch.allclose(swept(model, plans).logp, whole, atol=2e-5)


def test_what_is_dropped_wholly_is_the_base_model(llama):
    model = llama.model
    tail = model.encode_answer(ANSWER)
    logits = reference_logits(
        llama.base(), model, PROMPTS[0]
    )  # the base as transformers loads it, no expert near it
    found = swept(model, plans_of(model)).logp[5]
    assert found[0] == pytest.approx(float(logits[-1].log_softmax(-1)[tail[0]]), abs=1e-5)


def test_rows_pay_only_for_layers_that_differ(model):
    plans = plans_of(model)
    differing = [0, LAYERS, LAYERS - 2, 1, 0, LAYERS, LAYERS, LAYERS]
    assert swept(model, plans).rows == pytest.approx(sum(differing) / LAYERS)


def test_progress_goes_from_nothing_to_all(model):
    seen = list(
        sweep(model, model.encode(PROMPTS[0]), model.encode_answer(ANSWER), plans_of(model))
    )
    assert seen == sorted(seen) and 0 < seen[0] < 0.5 and seen[-1] == pytest.approx(1)


def test_others_may_have_their_turn_between_two_layers(model):
    plans = plans_of(model)
    steps = sweep(model, model.encode(PROMPTS[0]), model.encode_answer(ANSWER), plans)
    next(steps)
    other = model.score(PROMPTS[1], ANSWER, [random_plan(8)])
    assert not torch.is_inference_mode_enabled()
    assert torch.equal(whole(steps).logp, swept(model, plans).logp)
    assert torch.equal(other, model.score(PROMPTS[1], ANSWER, [random_plan(8)]))


def test_a_lead_of_nothing_is_what_greedy_decoding_would_choose(model):
    tokens = model.answer(PROMPTS[0]).answer_tokens[:9]

    def look(tail, **options):
        prompt, plan = model.encode(PROMPTS[0]), model.route(PROMPTS[0])
        return whole(sweep(model, prompt, tail, [plan], **options)).lead

    assert look(tokens).abs().max() < 1e-4
    assert look(tokens, choose=lambda logits: -logits).min() > 0.1
    other = list(tokens)
    other[4] = (tokens[4] + 1) % 200
    lead = look(other)[0]
    assert lead[:4].abs().max() < 1e-4 < lead[4]


def test_an_empty_answer_is_refused(model):
    with pytest.raises(PromptError, match="answer is empty, and nothing can be measured"):
        whole(sweep(model, model.encode(PROMPTS[0]), [], [random_plan(1)]))
