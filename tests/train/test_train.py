"""Training: the seed decides, a row trains its own experts alone, interruptions change nothing."""

import itertools
import json
import random
from dataclasses import replace

import pytest
import torch
from conftest import GROUPS, LAYERS, LAYOUT

from atmoe.data import Description, Example
from atmoe.data.sampler import Sampler
from atmoe.errors import DataError, TrainingError
from atmoe.mixture.config import Info
from atmoe.mixture.experts import Adapter, layer_linears
from atmoe.mixture.replacing import read_config
from atmoe.mixture.store import build
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan
from atmoe.routing.planner import Planner
from atmoe.routing.router import GroupedRouter
from atmoe.train import effects as effects_module
from atmoe.train import loop
from atmoe.train import rows as rows_module
from atmoe.train.effects import LEAST, follow_effects, group_effects
from atmoe.train.experts import SHARE, label_weights
from atmoe.train.fitting import fit_heads, fit_planner, label_losses
from atmoe.train.reading import planner_states, pooled_states, routed_shares
from atmoe.train.router import train_router
from atmoe.train.rows import (
    answer_loss,
    batches,
    collate_rows,
    encode_row,
    label_targets,
    training_side,
)
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team

WORDS = {"define": "What is", "treat": "How is one treated who has", "warn": "Who should beware of"}


def example(i: int, task: str, reader: str | None = "lay", **more) -> Example:
    labels = {"task": task, "field": "heart"} | ({"reader": reader} if reader else {})
    return Example(
        id=f"e{i}",
        prompt=f"{WORDS[task]} disease number {i}?",
        answer=f"{task} answer {i} is this.",
        labels=labels,
        disease=f"d{i}",
        source="own",
        kind="own",
        **more,
    )


EXAMPLES = [
    example(i, ("define", "treat", "warn")[i % 3], ("lay", "expert", None)[i % 5 % 3])
    for i in range(60)
]


DESCRIBED = Description("own", GROUPS)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(rows_module, "STEP_TOKENS", 480)
    monkeypatch.setattr(rows_module, "LENGTHS", (120, 160, 240))


@pytest.fixture
def fresh(llama):
    """A model with new adapters (B zero) and a uniform router."""
    base = llama.base()
    generator = torch.Generator().manual_seed(3)
    adapters = [
        Adapter.random(base, layer_linears(base), 2, 4.0, generator) for _ in LAYOUT.expert_names
    ]
    router = GroupedRouter(LAYOUT, base.config.hidden_size, gain=1.5).requires_grad_(False)
    return AtMoe(
        *build(
            base,
            llama.tokenizer,
            adapters,
            router,
            Info("fresh", llama.found.name, llama.found.sha256, max_prompt_tokens=300),
        )
    )


def first_batches(model, seed, count=4):
    return list(
        itertools.islice(batches(model, iter(Sampler(EXAMPLES, seed, "task")), 10**9), count)
    )


def test_the_seed_decides_the_batches(model):
    def ids(seed):
        return [[r.example.id for r in b] for b in first_batches(model, seed)]

    assert ids(1) == ids(1) != ids(2)


def test_examples_that_cannot_be_read_end_the_search(model):
    long = [example(i, "define", also={}) for i in range(3)]
    long = [Example(**{**vars(e), "answer": "word " * 600}) for e in long]
    with pytest.raises(DataError, match="240 tokens together"):
        next(batches(model, iter(Sampler(long, 0, "task")), 100))


def test_examples_without_any_label_are_refused():
    unlabelled = [replace(e, labels={}) for e in EXAMPLES]
    with pytest.raises(DataError, match=r'None of the \d+ training examples has a label.*"labels"'):
        training_side(unlabelled)
    training_side([*unlabelled, *EXAMPLES])


def test_tasks_are_drawn_evenly_whatever_their_size(model):
    uneven = [e for e in EXAMPLES if e.labels["task"] != "warn"] + [example(900, "warn")]
    drawn = list(itertools.islice(iter(Sampler(uneven, 0, "task")), 3000))
    share = sum(e.labels["task"] == "warn" for e in drawn) / len(drawn)
    assert share == pytest.approx(1 / 3, abs=0.03)


def test_targets_of_one_need_two_needs_and_no_label():
    two = example(1, "define", None, also={"task": "warn"})
    targets, labelled = label_targets(LAYOUT, [example(0, "treat", "expert"), two])
    assert targets.tolist() == [[0, 1, 0, 1, 0, 1], [0.5, 0, 0.5, 1, 0, 0]]
    assert labelled.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_answer_loss_is_over_answer_tokens_alone(fresh):
    batch_rows = [encode_row(fresh, e) for e in EXAMPLES[:3]]
    batch, where, targets = collate_rows(fresh, batch_rows)
    weights = torch.zeros(3, LAYERS, len(LAYOUT.expert_names))
    with torch.no_grad():
        hidden, _, _ = fresh.forward(batch, weights=weights, logits=False)
        loss = float(answer_loss(fresh, hidden, where, targets))
        total, count = 0.0, 0
        for row in batch_rows:  # each alone, the plain way
            ids = torch.tensor([[*row.prompt.ids, *row.answer]])
            logp = fresh.base(input_ids=ids).logits[0].log_softmax(-1)
            for k, token in enumerate(row.answer):
                total, count = total - float(logp[len(row.prompt.ids) + k - 1, token]), count + 1
    assert loss == pytest.approx(total / count, abs=1e-5)
    assert all(row.answer[-1] == fresh.tokenizer.eos_token_id for row in batch_rows)


def test_a_row_trains_its_own_expert_of_each_group_and_no_other(fresh):
    parameters = fresh.bank.parameters_to_train()
    rows = [encode_row(fresh, example(5, "treat", "expert"))]
    weights = label_weights(fresh, [r.example for r in rows])
    assert weights[0, 0].tolist() == [0, SHARE, 0, SHARE, 0, SHARE]
    batch, where, targets = collate_rows(fresh, rows)
    hidden, _, _ = fresh.forward(batch, weights=weights, logits=False)
    answer_loss(fresh, hidden, where, targets).backward()
    moved = torch.zeros(len(LAYOUT.expert_names))
    for linear in fresh.bank.linears.values():
        moved.index_add_(0, linear.expert_of_rank, linear.B.grad.abs().sum(0))
    assert [bool(m) for m in moved] == [False, True, False, True, False, True]
    assert all(p.grad is not None for p in parameters)
    assert all(
        p.grad is None for n, p in fresh.base.named_parameters() if not n.endswith((".A", ".B"))
    )


def run_loop(model, out, stop_after=None):
    parameters = model.bank.parameters_to_train()

    def loss(rows, whole):
        assert rows == whole  # alone, a process computes every row
        batch, where, targets = collate_rows(model, rows)
        hidden, _, _ = model.forward(
            batch, weights=label_weights(model, [r.example for r in rows]), logits=False
        )
        return answer_loss(model, hidden, where, targets), {}

    stream = batches(model, iter(Sampler(EXAMPLES, 4, "task")), 600)
    if stop_after:
        stream = itertools.chain(itertools.islice(stream, stop_after), raising())
    result = loop.run(
        parameters=[{"params": parameters, "lr": 1e-2}],
        batches=stream,
        budget=600,
        loss=loss,
        out=out,
        team=Team(),
        settings={"seed": 4},
        save_every=2,
    )
    return result, [p.detach().clone() for p in parameters]


def raising():
    raise KeyboardInterrupt
    yield


def test_an_interrupted_training_resumes_to_the_same_weights(llama, fresh, tmp_path):
    whole, expected = run_loop(fresh, tmp_path / "whole")
    assert whole["steps"] > 5
    for attempt in (5, None):  # interrupted after the checkpoint of step 4, then to the end
        base = llama.base()
        generator = torch.Generator().manual_seed(3)
        adapters = [
            Adapter.random(base, layer_linears(base), 2, 4.0, generator)
            for _ in LAYOUT.expert_names
        ]
        again = AtMoe(
            *build(base, llama.tokenizer, adapters, GroupedRouter(LAYOUT, 48, 1.5), fresh.info)
        )
        if attempt:
            with pytest.raises(KeyboardInterrupt):
                run_loop(again, tmp_path / "cut", attempt)
        else:
            resumed, got = run_loop(again, tmp_path / "cut")
    assert resumed["steps"] == whole["steps"] and resumed["answer_tokens"] == whole["answer_tokens"]
    assert all(torch.equal(a, b) for a, b in zip(expected, got))
    assert any(p.abs().sum() > 0 for p in got)


def run_nothing(out, settings, **named):
    """A run of one number and no batch."""
    return loop.run(
        parameters=[{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1}],
        batches=iter(()),
        budget=1,
        loss=None,
        out=out,
        settings=settings,
        team=Team(),
        **named,
    )


def test_a_checkpoint_of_other_settings_is_refused(fresh, tmp_path):
    run_loop(fresh, tmp_path)
    with pytest.raises(TrainingError, match="other settings.*--out"):
        run_nothing(tmp_path, {"seed": 5})


def test_standardising_a_router_changes_no_share(model):
    router = TrainingRouter(model.router)
    states = 3 * torch.randn(11, LAYERS, 48) + torch.linspace(-5, 5, 48)
    before = [t.clone() for t in router(states, slice(None))]
    router.standardise(states)
    for old, new in zip(before, router(states, slice(None))):
        assert torch.allclose(old, new, atol=1e-4)
    for old, new in zip(before, router.plain()(states, slice(None))):
        assert torch.allclose(old, new, atol=1e-4)


def test_the_states_a_router_is_fitted_on_are_those_it_reads(model):
    router = TrainingRouter(model.router)
    states, kept = pooled_states(model, router, EXAMPLES[:7], Team())
    s, q = router(states, slice(None))
    for i, e in enumerate(kept):
        plan = model.route(e.prompt)
        assert torch.allclose(s[i], plan.group_shares, atol=1e-5) and torch.allclose(
            q[i], plan.expert_shares, atol=1e-5
        )


def test_the_warm_start_learns_the_labels(fresh):
    router = TrainingRouter(fresh.router)
    states, kept = pooled_states(fresh, router, EXAMPLES, Team())
    router.standardise(states)
    wanted = label_targets(LAYOUT, kept)
    before = label_losses(LAYOUT, router(states, slice(None))[1], *wanted, 0.0).mean().item()
    decays = fit_heads(router, states, kept, RouterSettings(fit_steps=150, fit_decays=(0.1, 300.0)))
    assert decays == dict.fromkeys(
        LAYOUT.group_names, 0.1
    )  # the other shrinks the heads to nothing
    q = router(states, slice(None))[1].mean(1)[:, LAYOUT.members("task")]
    assert (
        label_losses(LAYOUT, router(states, slice(None))[1], *wanted, 0.0).mean().item()
        < 0.5 * before
    )
    assert (q.argmax(-1) == wanted[0][:, :3].argmax(-1)).float().mean() > 0.9


def test_each_group_is_fitted_as_if_alone_with_the_decay_that_suits_it(fresh):
    """With labels drawn by lot, only a heavy decay keeps the heads from learning them by heart."""
    rng = random.Random(0)
    drawn = [
        example(i, ("define", "treat", "warn")[i % 3], rng.choice(("lay", "expert")))
        for i in range(300)
    ]
    router = TrainingRouter(fresh.router)
    states, kept = pooled_states(fresh, router, drawn, Team())
    router.standardise(states)
    start = {k: v.clone() for k, v in router.state_dict().items()}
    settings = RouterSettings(fit_steps=150, fit_decays=(0.1, 300.0))
    decays = fit_heads(router, states, kept, settings)
    assert decays["task"] == 0.1 and decays["reader"] == 300.0
    both = router.expert_weight.detach().clone()
    for group, decay in decays.items():
        router.load_state_dict(start)
        fit_heads(router, states, kept, replace(settings, fit_decays=(decay,)))
        assert torch.equal(
            both[:, LAYOUT.members(group)], router.expert_weight[:, LAYOUT.members(group)]
        )


def test_the_router_is_trained_written_and_sealed(llama, tmp_path):
    fresh = llama.build()
    fresh.save_pretrained(tmp_path)
    before = [p.clone() for linear in fresh.bank.linears.values() for p in (linear.A, linear.B)]
    settings = RouterSettings(
        instructions=40, fit_steps=30, answer_tokens=300, effect_answers=6, dtype="float32"
    )
    report = train_router(fresh, EXAMPLES, DESCRIBED, tmp_path, settings)
    read_config(tmp_path)  # every hash fits what was written
    assert (
        report["steps"] > 0
        and json.loads((tmp_path / "router.log.json").read_text())["settings"]["seed"] == 0
    )
    assert fresh.router.gain.ne(1.5).any() and fresh.router.group_weight.abs().sum() > 0
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path))
    assert loaded.router.planner.depth == LAYERS - 1  # as deep as so few layers bear
    # no group is left out yet, so that what is told as agreement is of groups that take part
    plans = [loaded.route(e.prompt) for e in EXAMPLES]
    assert not any(plan.absent for plan in plans) and report["agreement_refined"]
    teams = {loaded.route(e.prompt).team for e in EXAMPLES[:20]}
    assert len(teams) > 1 and all("field/heart" in team for team in teams)
    assert len(report["effect_shares"]["task"]) == settings.effect_rounds
    after = [p for linear in fresh.bank.linears.values() for p in (linear.A, linear.B)]
    assert all(map(torch.equal, before, after))  # the experts stay frozen
    weights = fresh.router.group_weight.clone()
    again = train_router(
        fresh, EXAMPLES, DESCRIBED, tmp_path, settings
    )  # a finished run is loaded, not run twice
    assert again["steps"] == report["steps"] and torch.equal(weights, fresh.router.group_weight)


def test_a_planner_learns_who_is_asked_for(fresh):
    """Against the labels: both of two needs take part, and hardly anybody else."""
    twofold = [
        replace(
            example(i, "define"),
            prompt=f"What is disease {i}, and how is one treated who has it?",
            also={"task": "treat"},
        )
        for i in range(60, 90)
    ]
    states, kept = planner_states(fresh, 2, EXAMPLES + twofold, Team())
    planner = Planner(LAYOUT, states.shape[-1], 2, width=16)
    fit_planner(planner, states, kept, RouterSettings(fit_steps=200, fit_decays=(0.1,)))
    team = planner.team(states, [e.prompt for e in kept]).experts
    targets, _ = label_targets(LAYOUT, kept)
    wanted = targets[:, LAYOUT.members("task")] > 0
    found = team[:, LAYOUT.members("task")]
    assert (found & wanted).sum() / wanted.sum() > 0.95
    assert (found & ~wanted).sum() / (~wanted).sum() < 0.1


def test_the_shares_that_agreement_is_taken_of_are_the_routers(llama):
    model = llama.planned()
    _, shares, kept = routed_shares(model, TrainingRouter(model.router), EXAMPLES[:7], Team())
    for row, e in zip(shares, kept):
        plan = model.route(e.prompt)
        assert torch.allclose(row, plan.expert_shares.mean(0), atol=1e-5)


def test_what_groups_cost_is_what_scoring_without_them_says(llama, monkeypatch):
    monkeypatch.setattr(effects_module, "TOKENS", 9)
    model = llama.planned()
    row = encode_row(model, EXAMPLES[4])
    plan = model.route(EXAMPLES[4].prompt)
    effects = group_effects(model, row, plan)
    thirds = {"early": range(1), "middle": range(1, 3), "late": range(3, 5)}
    text = model.tokenizer.decode(row.answer[:9])
    assert model.encode_answer(text) == list(row.answer[:9])
    for g in range(len(LAYOUT.group_names)):
        for third in thirds.values():
            shares = plan.group_shares.clone()
            shares[list(third), g] = 0
            gone = RoutingPlan(LAYOUT, shares, plan.expert_shares)
            full, less = model.score(EXAMPLES[4].prompt, text, [plan, gone]).mean(1)
            for layer in third:
                assert effects[layer, g] == pytest.approx(max(float(full - less), LEAST), abs=1e-5)


def test_group_heads_come_to_give_the_shares_of_the_effects(llama, monkeypatch):
    """On average exactly, as of every softmax regression whose biases are free; and by prompt."""
    model = llama.planned()
    router = TrainingRouter(model.router)
    states, _ = pooled_states(model, router, EXAMPLES, Team())
    router.standardise(states)
    measured = []
    whole = effects_module._measured
    monkeypatch.setattr(
        effects_module, "_measured", lambda *a: measured.append(whole(*a)) or measured[-1]
    )
    settings = RouterSettings(
        effect_answers=30, effect_rounds=1, effect_decay=0.0, fit_learning_rate=2e-2
    )
    drawn = Sampler(EXAMPLES, settings.seed + 5, DESCRIBED.main_group, DESCRIBED.rows)
    row = encode_row(model, next(iter(drawn)))
    model.router = router.plain()
    before, plain = model.route(row.prompt.text), router.plain().state_dict()
    means = follow_effects(model, router, EXAMPLES, DESCRIBED, settings, Team())
    read, targets = measured[0]
    given, _ = router(read, slice(None))
    assert torch.allclose(given.mean(0), targets.mean(0), atol=0.02)
    assert (given - targets).abs().mean() < 0.8 * (targets.mean(0) - targets).abs().mean()
    # of the square roots of what is measured again by hand
    model.router.load_state_dict(plain)
    effects = group_effects(model, row, before) ** 0.5
    assert torch.allclose(targets[0], effects / effects.sum(1, keepdim=True), atol=1e-4)
    for group, mean in zip(LAYOUT.group_names, targets.mean((0, 1)).tolist()):
        assert means[group] == [pytest.approx(mean, abs=1e-4)]
