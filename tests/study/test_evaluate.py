"""Evaluation: its numbers are the plain ones, whatever the batches."""

from dataclasses import replace

import pytest
import torch
from conftest import LAYOUT
from samples import EXAMPLES, example

from atmoe.data import Example
from atmoe.errors import AssetError, DataError
from atmoe.routing.plan import RoutingPlan
from atmoe.study.evaluate import PLANS, choose, evaluate, plans_for
from atmoe.train.experts import label_weights


def test_losses_are_those_of_each_example_alone(model):
    result = evaluate(model, EXAMPLES, batch_tokens=400)
    for name in PLANS:
        sums, counts = {"define": 0.0, "treat": 0.0}, {"define": 0, "treat": 0}
        for e in EXAMPLES:
            plan = {
                "base": RoutingPlan.off(LAYOUT),
                "uniform": RoutingPlan.uniform(LAYOUT),
                "router": model.route(e.prompt),
                "label": RoutingPlan.choosing(LAYOUT, e.labels),
            }[name]
            logp = model.score(e.prompt, e.answer, [plan])
            sums[e.labels["task"]] -= float(logp.sum())
            counts[e.labels["task"]] += logp.shape[1]
        tasks = {t: sums[t] / counts[t] for t in sums}
        assert result["nll"][name]["tasks"] == pytest.approx(tasks, abs=1e-4)
        assert result["nll"][name]["macro"] == pytest.approx(sum(tasks.values()) / 2, abs=1e-4)
    assert (
        result["tokens"] == sum(len(model.encode_answer(e.answer)) for e in EXAMPLES)
        and result["examples"] == 9
    )
    assert len({round(result["nll"][name]["macro"], 4) for name in PLANS}) == 4


def test_base_is_the_base_model(model, llama):
    e = EXAMPLES[0]
    ids = torch.tensor([[*model.encode(e.prompt).ids, *model.encode_answer(e.answer)]])
    start = len(model.encode(e.prompt).ids)
    with torch.no_grad():
        logp = llama.base()(input_ids=ids).logits[0].log_softmax(-1)
    plain = -sum(float(logp[k - 1, ids[0, k]]) for k in range(start, ids.shape[1])) / (
        ids.shape[1] - start
    )
    assert evaluate(model, [e])["nll"]["base"]["macro"] == pytest.approx(plain, abs=1e-4)


def test_a_strength_is_a_gain_so_many_times_as_large(llama):
    model = llama.build()
    nll = evaluate(model, EXAMPLES, strengths=[0, 1, 0.6, 0.6])["nll"]
    assert set(nll) == {*PLANS, "router at 0", "router at 1", "router at 0.6"}
    assert nll["router at 1"]["tasks"] == nll["router"]["tasks"]
    assert nll["router at 0"]["macro"] == pytest.approx(nll["base"]["macro"], abs=1e-6)
    plans = [model.route(e.prompt) for e in EXAMPLES]
    with torch.no_grad():
        model.router.gain.mul_(0.6)
    loss = {}
    for e, plan in zip(EXAMPLES, plans):
        logp = model.score(e.prompt, e.answer, [plan])
        total, tokens = loss.get(e.labels["task"], (0.0, 0))
        loss[e.labels["task"]] = total - float(logp.sum()), tokens + logp.shape[1]
    tasks = {task: total / tokens for task, (total, tokens) in loss.items()}
    assert nll["router at 0.6"]["tasks"] == pytest.approx(tasks, abs=1e-4)
    assert abs(nll["router at 0.6"]["macro"] - nll["router"]["macro"]) > 1e-3


def test_a_scorer_that_reads_other_tokens_is_refused(model):
    def scorer(prompts, answers):
        return [torch.zeros(len(model.encode_answer(answer)) + 1) for answer in answers]

    with pytest.raises(AssetError, match="lora scores other tokens"):
        evaluate(model, EXAMPLES, {"lora": scorer})


def test_agreement_and_load_are_the_routers(model):
    result = evaluate(model, EXAMPLES)
    for group in LAYOUT.group_names:
        members, labelled = LAYOUT.members(group), [e for e in EXAMPLES if group in e.labels]
        names = LAYOUT.expert_names[members]
        hits = [
            names[int(model.route(e.prompt).expert_shares[:, members].mean(0).argmax())]
            == f"{group}/{e.labels[group]}"
            for e in labelled
        ]
        assert result["agreement"][group] == pytest.approx(sum(hits) / len(hits))
        read = result["reading"][group]
        assert read["labels"] == len(labelled) and read["wrong"] == 1 - sum(hits) / len(hits)
    assert sum(result["load"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(result["group_shares"].values()) == pytest.approx(1, abs=1e-5)


def test_of_two_needs_the_label_plan_gives_each_half_as_training_does(model):
    one = EXAMPLES[0]
    two = replace(one, also={"task": "treat" if one.labels["task"] == "define" else "define"})
    for rows in ([one], [two]):
        plans = plans_for(model, rows, True)
        trained = label_weights(model, rows, 1 / len(LAYOUT.groups))[0].cpu()
        labelled = [i for i, n in enumerate(LAYOUT.expert_names) if n.split("/")[0] in one.labels]
        assert torch.equal(plans["label"][0].weights[:, labelled], trained[:, labelled])
        alone = plans["task_expert"][0].weights[:, LAYOUT.members("task")]
        assert torch.equal(alone, label_weights(model, rows, 1.0)[0, :, LAYOUT.members("task")])


def test_without_a_label_in_the_first_group_nothing_is_averaged(model):
    rows = [replace(e, labels={"field": "heart"}) for e in EXAMPLES]
    with pytest.raises(DataError, match="No example has a label in the group 'task'"):
        evaluate(model, rows)
    some = [*rows[:3], EXAMPLES[3]]
    report = evaluate(model, some)
    alone = evaluate(model, EXAMPLES[3:4])
    assert report["nll"]["base"]["macro"] == pytest.approx(alone["nll"]["base"]["macro"], abs=1e-5)
    assert report["topics"] == 1 and report["nll"]["base"]["interval"] is None
    assert (
        "macro_specialties"
        not in evaluate(model, [replace(EXAMPLES[0], labels={"task": "define"})])["nll"]["base"]
    )


def test_the_seed_is_that_of_the_intervals(model):
    one, same, other = (evaluate(model, EXAMPLES, seed=seed)["nll"] for seed in (0, 0, 1))
    assert one == same and one["base"]["macro"] == other["base"]["macro"]
    assert one["base"]["interval"] != other["base"]["interval"]


def test_a_limit_is_a_seeded_sample_of_each_task():
    one, again, other = (choose(EXAMPLES, 2, seed) for seed in (1, 1, 2))
    assert one == again and [e.labels["task"] for e in one].count("treat") == 2 and len(one) == 4
    assert other != one or choose(EXAMPLES, 2, 3) != one
    assert choose(EXAMPLES, None, 0) == EXAMPLES and len(choose(EXAMPLES, 100, 0)) == 9
    with pytest.raises(DataError, match="name at least one corpus"):
        choose([], 3, 0)


def test_an_example_that_is_too_long_is_counted_and_left_out(model):
    long = Example(**{**vars(example(1, "define")), "prompt": "word " * 500})
    result = evaluate(model, [long, EXAMPLES[0]])
    assert (result["examples"], result["skipped"]) == (1, 1)
    with pytest.raises(DataError, match="max_prompt_tokens"):
        evaluate(model, [long])
