"""Weight, contribution and effect: each is what its definition says, computed here the long way."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import GROUPS, LAYERS, LAYOUT, PROMPTS, random_plan, reference_logits
from samples import record_of

from atmoe import AtMoeError, Override, Record, RoutingPlan, Sampling, State, Steering
from atmoe.answer.pieces import whole
from atmoe.errors import PromptError
from atmoe.explanation.measure import NEUTRAL, NEUTRAL_PLANS, explain, neutral, opening
from atmoe.explanation.shapley import shapley_values
from atmoe.explanation.spans import sentence_spans
from atmoe.explanation.units import units_of, without
from atmoe.explanation.value import Explanation


@pytest.fixture(scope="module")
def explained(worlds):
    model = worlds("llama").model
    record = record_of(model)
    return model, record, explain(model, record)


def mean_logp(model, record, plan):
    return model.score(record.prompt, record.answer, [plan]).double().mean().item()


def test_the_units_are_groups_experts_and_groups_in_bands():
    assert units_of(LAYOUT) == (
        "task",
        "field",
        "reader",
        "task/define",
        "task/treat",
        "task/warn",
        "field/heart",
        "reader/lay",
        "reader/expert",
        *(f"{g}@{band}" for g in GROUPS for band in ("early", "middle", "late")),
    )


def test_effects_in_a_batch_are_effects_one_by_one(explained):
    model, record, found = explained
    full = mean_logp(model, record, record.plan)
    assert found.logp == pytest.approx(full, abs=1e-5)
    for unit in found.units:
        steering = Steering(
            (Override(unit.name.partition("@")[0], State.OFF, None, unit.band or "all"),)
        )
        assert unit.effect == pytest.approx(
            full - mean_logp(model, record, steering.apply(record.plan)), abs=1e-5
        ), unit.name
        assert unit.ratio == pytest.approx(math.exp(unit.effect))
        assert sum(unit.token_effects) / len(record.answer_tokens) == pytest.approx(
            unit.effect, abs=1e-9
        )


def test_what_is_read_first_is_the_whole_explanation_of_groups_and_experts(explained):
    model, record, found = explained
    first = whole(opening(model, record))
    assert not first.complete and found.complete
    assert first.units == found.of("group") + found.of("expert") and not first.of("band")
    assert (first.logp, first.base_logp, first.sentences) == (
        found.logp,
        found.base_logp,
        found.sentences,
    )
    assert first.floor is None is first.shapley and first.rows < found.rows
    assert Explanation.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_the_noise_floor_is_what_plans_cost_in_which_no_part_gained_or_lost(explained):
    model, record, found = explained
    plans = [neutral(record.plan, seed) for seed in range(NEUTRAL_PLANS)]
    costs = [abs(found.logp - mean_logp(model, record, plan)) for plan in plans]
    assert found.floor == pytest.approx(max(costs), abs=1e-5) and found.floor > 0
    before, most = record.plan, ((1 + NEUTRAL) / (1 - NEUTRAL)) ** 2
    for plan in plans:
        assert torch.allclose(before.group_shares.sum(1), plan.group_shares.sum(1), atol=1e-6)
        for group in GROUPS:
            own = LAYOUT.members(group)
            sums = [p.expert_shares[:, own].sum(1) for p in (before, plan)]
            assert torch.allclose(*sums, atol=1e-6)
        ratio = plan.weights / before.weights
        assert 1 / most < float(ratio.min()) < 1 < float(ratio.max()) < most
    off = record_of(model, RoutingPlan.off(LAYOUT))
    assert explain(model, off).floor == 0


def test_weights_are_shares_of_the_routing_weight(explained):
    _, record, found = explained
    assert sum(u.weight for u in found.of("group")) == pytest.approx(1, abs=1e-5)
    for u in found.of("group"):
        assert u.weight == pytest.approx(
            float(record.plan.group_shares[:, LAYOUT.group_index(u.name)].mean())
        )
        assert u.weight == pytest.approx(
            sum(e.weight for e in found.of("expert") if e.group == u.name), abs=1e-6
        )
    late = record.plan.group_shares[range(LAYERS * 2 // 3, LAYERS), 0].mean()
    assert found.unit("task@late").weight == pytest.approx(float(late))


def test_contribution_is_the_size_of_the_update_beside_the_layers_own(llama, explained):
    """By running the base under the full plan, keeping what enters each linear, and applying
    PEFT's factors by hand.
    """
    model, record, found = explained
    inputs = {}
    hooks = [
        linear.register_forward_hook(
            lambda module, given, out, name=name: inputs.__setitem__(name, given[0])
        )
        for name, linear in model.bank.linears.items()
    ]
    batch = model.collate([model.encode(record.prompt)], [record.answer_tokens])
    with torch.inference_mode():
        model.forward(batch, [record.plan], logits=False)
    for hook in hooks:
        hook.remove()
    adapters = [model.bank.adapter(e) for e in range(len(LAYOUT.expert_names))]
    mixing = model.weights_of([record.plan], 1)[0]
    for unit in (*found.of("group"), *found.of("expert"), found.unit("reader@early")):
        by_layer = torch.zeros(LAYERS)
        for name, linear in model.bank.linears.items():
            x, update = inputs[name][0], 0
            for e, expert in enumerate(LAYOUT.expert_names):
                own = expert == unit.name or (
                    "/" not in unit.name and LAYOUT.group_names[LAYOUT.group_of[e]] == unit.group
                )
                if own and name in adapters[e].factors:
                    a, b = adapters[e].factors[name]
                    update = update + mixing[linear.layer, e] * adapters[e].scaling * (
                        x @ a.T @ b.T
                    )
            if torch.is_tensor(update):
                by_layer[linear.layer] += (
                    update.norm(dim=-1) / linear.linear(x).norm(dim=-1)
                ).mean()
        where = range(LAYERS // 3) if unit.band else range(LAYERS)
        assert unit.contribution == pytest.approx(float(by_layer[list(where)].mean()), rel=1e-3), (
            unit.name
        )


def test_shapley_values_add_up_from_the_base_model_to_the_answer(explained, llama):
    model, record, found = explained
    assert abs(sum(found.shapley.values()) - (found.logp - found.base_logp)) < 1e-4
    whole = torch.cat(
        [torch.tensor(model.encode(record.prompt).ids), torch.tensor(record.answer_tokens)]
    )
    with torch.inference_mode():
        logits = llama.base()(input_ids=whole[None]).logits[0]  # transformers alone
    start = len(whole) - len(record.answer_tokens)
    base = logits[start - 1 : -1].log_softmax(-1).gather(1, whole[start:, None]).mean()
    assert found.base_logp == pytest.approx(float(base), abs=1e-5)


@pytest.mark.parametrize("off", [("field",), ("field", "reader"), ("task", "field", "reader")])
def test_a_group_that_takes_no_part_has_a_shapley_value_of_0_and_not_of_rounding(llama, off):
    steering = Steering(tuple(Override(group, State.OFF) for group in off))
    found = explain(llama.model, llama.model.answer(PROMPTS[1], steering, Sampling(9)))
    assert {group: found.shapley[group] for group in off} == dict.fromkeys(off, 0.0)
    assert sum(found.shapley.values()) == pytest.approx(found.logp - found.base_logp, abs=1e-6)
    if len(off) < 3:
        assert found.shapley["task"] != 0


def test_shapley_values_are_the_mean_gain_over_all_orders():
    names = ("a", "b", "c")
    rng = torch.Generator().manual_seed(2)
    f = {
        gone: float(torch.rand((), generator=rng))
        for k in range(4)
        for gone in itertools.combinations(names, k)
    }
    gains = {name: [] for name in names}
    for order in itertools.permutations(names):
        absent = list(names)
        for name in order:
            before = f[tuple(n for n in names if n in absent)]
            absent.remove(name)
            gains[name].append(f[tuple(n for n in names if n in absent)] - before)
    assert shapley_values(names, f) == pytest.approx(
        {name: sum(g) / len(g) for name, g in gains.items()}
    )


def test_what_is_off_already_has_no_effect_and_all_off_is_the_base(model):
    plan = without(model.route(PROMPTS[0]), ("task",))
    found = explain(model, record_of(model, plan))
    assert (
        found.unit("task").weight
        == found.unit("task").effect
        == found.unit("task").contribution
        == 0
    )
    nothing = explain(model, record_of(model, RoutingPlan.off(LAYOUT)))
    assert nothing.logp == nothing.base_logp and all(u.effect == 0 for u in nothing.units)
    alone = explain(model, record_of(model, Steering(strength=0).apply(model.route(PROMPTS[0]))))
    assert alone.unit("task").weight and found.mixed and not nothing.mixed and not alone.mixed


def test_any_plan_can_be_explained_in_every_family(world):
    model = world.model
    record = record_of(model, random_plan(5))
    found = explain(model, record)
    plan = without(record.plan, ("reader/lay",))
    assert found.unit("reader/lay").effect == pytest.approx(
        found.logp - mean_logp(model, record, plan), abs=2e-5
    )
    logits = reference_logits(world.base(), model, record.prompt)
    first = float(logits[-1].log_softmax(-1)[record.answer_tokens[0]])
    everything = model.score(record.prompt, record.answer, [RoutingPlan.off(LAYOUT)])[0]
    assert float(everything[0]) == pytest.approx(
        first, abs=1e-4
    ) and found.base_logp == pytest.approx(float(everything.mean()), abs=2e-5)


def test_sentences_hold_every_token_once(explained):
    _, record, found = explained
    assert [s.text for s in found.sentences] == [
        "It is treated with the inhaler.",
        "The rest is told by the doctor (he knows).",
        "Ask!",
    ]
    assert [s.start for s in found.sentences] == [
        0,
        *(s.end for s in found.sentences[:-1]),
    ] and found.sentences[-1].end == len(record.answer_tokens) == len(found.tokens)
    for sentence in found.sentences:
        unit, effect = found.mattered_most(sentence)
        own = {
            u.name: sum(u.token_effects[sentence.start : sentence.end])
            / (sentence.end - sentence.start)
            for u in found.of("group")
        }
        assert effect == pytest.approx(max(own.values())) and own[unit.name] == max(own.values())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One line", ["One line"]),
        ("A list:\n- first thing\n- second thing", ["A list:", "- first thing", "- second thing"]),
        ('He said "Stop." Then he left. Gone.', ['He said "Stop."', "Then he left.", "Gone."]),
        ("See Dr. Who at 3.5 mg. Fine.", ["See Dr. Who at 3.5 mg.", "Fine."]),
    ],
)
def test_sentences_end_where_a_reader_says(model, text, parts):
    spans = sentence_spans(model.tokenizer, model.encode_answer(text))
    assert [s.text for s in spans] == parts


def test_an_explanation_survives_json(explained):
    _, record, found = explained
    assert Explanation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    whole = replace(record, explanation=found)
    assert Record.from_json(whole.to_json()).explanation == found
    assert (
        Record.from_dict(
            {k: v for k, v in record.to_dict().items() if k != "explanation"}
        ).explanation
        is None
    )
    for broken in ({}, {**found.to_dict(), "units": [{}]}, {**found.to_dict(), "layers": 0}):
        with pytest.raises(AtMoeError, match="no explanation"):
            Explanation.from_dict(broken)


def test_what_cannot_be_explained_is_told_so(model):
    with pytest.raises(AtMoeError, match="made by the model 'other'"):
        explain(model, replace(record_of(model), model={"name": "other", "sha256": "0"}))
    with pytest.raises(PromptError, match="answer is empty, and nothing can be measured"):
        explain(model, replace(record_of(model), answer_tokens=(), answer=""))
