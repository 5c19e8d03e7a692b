"""Stage 3: which groups take part, and experts that learn on under the router's plan."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from conftest import HIDDEN, LAYOUT
from safetensors.torch import load_file
from test_train import DESCRIBED, EXAMPLES

from atmoe import AtMoe
from atmoe.errors import TrainingError
from atmoe.mixture.store import read_config
from atmoe.routing.planner import Planner
from atmoe.train import rows as rows_module
from atmoe.train.fitting import fit_groups
from atmoe.train.reading import planner_states, routed_shares
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team
from atmoe.train.together import TogetherSettings, train_together

SETTINGS = TogetherSettings(
    group_floor=0.9, instructions=60, answer_tokens=900, learning_rate=3e-3, dtype="float32"
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(rows_module, "STEP_TOKENS", 480)
    monkeypatch.setattr(rows_module, "LENGTHS", (120, 160, 240))


def planned(llama) -> AtMoe:
    """A model whose router gives its groups shares that differ from prompt to prompt."""
    model = llama.planned()
    model.router.group_bias[:, LAYOUT.group_index("field")] += 1.5
    return model


def factors(model: AtMoe) -> list[torch.Tensor]:
    return [p.detach().clone() for line in model.bank.linears.values() for p in (line.A, line.B)]


def test_a_planner_learns_what_the_router_will_give_its_groups(llama):
    model = llama.planned()
    shares, _, kept = routed_shares(model, TrainingRouter(model.router), EXAMPLES, Team())
    for row, example in zip(shares[:5], kept):
        given = model.route(example.prompt).group_shares.mean(0)
        assert torch.allclose(row, given, atol=1e-5)
    states, _ = planner_states(model, 2, EXAMPLES, Team())
    planner = Planner(LAYOUT, HIDDEN, 2)
    fit_groups(planner, states, shares, kept, RouterSettings(fit_steps=400, fit_decays=(0.1,)))
    expected = planner.of_groups(states)
    level = (shares.mean(0) - shares).abs().mean()
    assert (expected - shares).abs().mean() < 0.4 * level
    assert not planner.weight.any() and not planner.bias.any()  # the experts' head is another


def test_experts_and_gains_learn_and_the_heads_stay(llama, tmp_path):
    model = planned(llama)
    before, heads = factors(model), {k: v.clone() for k, v in model.router.state_dict().items()}
    report = train_together(model, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
    assert report["routed"] < report["routed_unchanged"]
    assert any(not torch.equal(a, b) for a, b in zip(before, factors(model)))
    # 1. of the router nothing but gains, and which groups take part
    for name, value in model.router.state_dict().items():
        changed = name == "gain" or name.startswith("planner.group_")
        assert changed != torch.allclose(value, heads[name], atol=1e-6), name
    # 2. groups are left out about where they should be, in every layer
    left, known = report["left_out"], report["left_out_by_shares"]
    assert sum(known.values()) > 0.1 and all(abs(left[g] - known[g]) < 0.2 for g in known)
    absent = [model.route(e.prompt).absent for e in EXAMPLES[:30]]
    assert len(set(absent)) > 1
    # 3. what is saved is what was trained
    read_config(tmp_path)
    loaded = AtMoe.from_pretrained(tmp_path, base=str(llama.found.path), dtype="float32")
    for example in EXAMPLES[:4]:
        assert loaded.route(example.prompt).close_to(model.route(example.prompt), 1e-5)
    assert json.loads((tmp_path / "together.log.json").read_text())["steps"] == report["steps"]
    # 4. a finished run is loaded, not run twice
    again = planned(llama)
    assert train_together(again, EXAMPLES, DESCRIBED, tmp_path, SETTINGS)["steps"] > 0
    assert all(map(torch.equal, factors(again), factors(model)))


def test_without_a_floor_all_groups_take_part(llama, tmp_path):
    model = llama.planned()
    settings = replace(SETTINGS, group_floor=0.0, answer_tokens=200)
    report = train_together(model, EXAMPLES, DESCRIBED, tmp_path, settings)
    assert "left_out" not in report
    assert not any(model.route(e.prompt).absent for e in EXAMPLES[:10])


def test_without_instructions_experts_learn_on_and_who_takes_part_stays(llama, tmp_path):
    model = planned(llama)
    model.router.planner.group_floor.fill_(0.4)
    before, plans = factors(model), [model.route(e.prompt) for e in EXAMPLES[:10]]
    report = train_together(model, EXAMPLES, DESCRIBED, tmp_path, replace(SETTINGS, instructions=0))
    assert "left_out" not in report and report["routed"] < report["routed_unchanged"]
    assert not all(map(torch.equal, before, factors(model)))
    for example, plan in zip(EXAMPLES, plans):
        now = model.route(example.prompt)
        assert now.absent == plan.absent
        assert torch.equal(now.expert_shares > 0, plan.expert_shares > 0)


def test_experts_stay_as_wide_as_they_came_and_ready_ones_at_rest(llama, tmp_path):
    model = llama.planned()
    with torch.no_grad():
        for line in model.bank.linears.values():
            line.A.copy_(line.A.bfloat16().float())
            line.B.copy_(line.B.bfloat16().float())
    ready = "task/treat"
    index = LAYOUT.expert_index(ready)
    before = model.bank.adapter(index)
    described = replace(DESCRIBED, ready={ready: tmp_path}, written={})
    train_together(model, EXAMPLES, described, tmp_path / "out", SETTINGS)
    assert model.bank.adapter(index).same(before)
    for name in LAYOUT.expert_names:
        tensors = load_file(tmp_path / "out" / "experts" / name / "adapter_model.safetensors")
        assert {t.dtype for t in tensors.values()} == {torch.bfloat16}, name


def test_a_router_without_a_planner_is_refused(llama, tmp_path):
    with pytest.raises(TrainingError, match="no planner.*--depth"):
        train_together(llama.build(), EXAMPLES, DESCRIBED, tmp_path, SETTINGS)
