"""The team: who takes part, decided once a prompt, for all layers."""

from __future__ import annotations

import json
import math
import re
import zlib

import pytest
import torch
from conftest import DEPTH, HIDDEN, LAYERS, LAYOUT, PROMPTS
from safetensors.torch import load_file, save_file

from atmoe import AtMoe, Override, RoutingPlan, Sampling, State, Steering
from atmoe.answer.pieces import whole
from atmoe.errors import AssetError, PlanError
from atmoe.explanation.measure import explain
from atmoe.explanation.sweep import sweep
from atmoe.explanation.units import without
from atmoe.explanation.verdict import leaders, verdict
from atmoe.mixture import store
from atmoe.mixture.config import seal
from atmoe.mixture.planning import first_states
from atmoe.prompt.batch import collate
from atmoe.routing.planner import Members, Planner
from atmoe.routing.router import GroupedRouter, pool_instruction
from atmoe.routing.spelling import Spelling

OTHERS = ["Is lupus inherited?", "cough, fever. what now", "Write a note.", "Who gets gout?"]


@pytest.fixture(scope="module", params=["llama", "gemma3", "llama of before", "llama letters"])
def planned(request, worlds) -> AtMoe:
    family, _, kind = request.param.partition(" ")
    width, pieces = 0 if kind == "of before" else 8, 64 if kind == "letters" else 0
    return worlds(family).planned(width, pieces)


def read_by_hand(model: AtMoe, prompt: str, weight, bias) -> torch.Tensor:
    """A linear of the planner on transformers' own hidden states of the base model, in float64."""
    encoded = model.encode(prompt)
    batch = collate([encoded], pad=0, device="cpu")
    with torch.no_grad():
        states = model.base.base_model(batch.ids, output_hidden_states=True).hidden_states
    logits = bias[0].double()
    for layer in range(DEPTH):
        pooled = pool_instruction(states[layer + 1], batch.instruction)[0].double()
        logits = logits + weight[layer].double() @ pooled
    return logits


def letters_by_hand(spelling: Spelling, text: str) -> torch.Tensor:
    """What is read of letters, by dictionaries and in float64."""
    pieces = set()
    for word in re.findall("[a-z0-9]+", text.lower()):
        pieces.add(f"_{word}_")
        for length in (4, 5):
            grams = zip(*(f"_{word}_"[i:] for i in range(length)))
            pieces |= {"".join(letters) for letters in grams}
    numbers = {zlib.crc32(piece.encode()) % len(spelling.rarity) for piece in pieces}
    counts = {number: float(spelling.rarity[number]) for number in numbers}
    length = math.hypot(*counts.values())
    read = spelling.bias.double().clone()
    for number, count in counts.items():
        read += spelling.weight[number].double() * count / length
    return read


def by_hand(model: AtMoe, prompt: str) -> set[str]:
    """The team."""
    planner = model.router.planner
    if planner.width:
        read = read_by_hand(model, prompt, planner.hidden_weight, planner.hidden_bias)
        read = torch.nn.functional.gelu(read)
        logits = planner.weight[0].double() @ read + planner.bias[0].double()
    else:
        logits = read_by_hand(model, prompt, planner.weight, planner.bias)
    if planner.spelling is not None:
        logits = logits + letters_by_hand(planner.spelling, prompt)
    team = set()
    for (group, experts), floor in zip(LAYOUT.groups, planner.floor.tolist()):
        own = logits[LAYOUT.members(group)]
        asked = 1 / (1 + (-own).exp()) if planner.width else len(experts) * own.softmax(0)
        best = float(asked.max())
        for name, much in zip(experts, asked.tolist()):
            if much >= floor or much == best:
                team.add(f"{group}/{name}")
    return team


def test_the_team_is_what_the_planner_says_of_the_base_models_states(planned):
    teams = []
    for prompt in PROMPTS + OTHERS:
        plan = planned.route(prompt)
        assert set(plan.team) == by_hand(planned, prompt)
        teams.append(plan.team)
    assert len(set(teams)) > 1 and any(len(team) < len(LAYOUT.expert_names) for team in teams)


def test_outside_the_team_shares_are_zero_in_every_layer_and_inside_they_sum_to_one(planned):
    for prompt in PROMPTS:
        plan = planned.route(prompt)
        outside = [name not in plan.team for name in LAYOUT.expert_names]
        assert not plan.weights[:, outside].any()
        for group in LAYOUT.group_names:
            inside = plan.expert_shares[:, LAYOUT.members(group)].sum(1)
            assert torch.allclose(inside, torch.ones_like(inside), atol=1e-6)


def test_shares_in_the_team_are_the_routers_own_proportions(planned):
    """Softmax over members is softmax over all, renormalised."""
    pooled, team = torch.randn(4, HIDDEN), torch.rand(4, 6) > 0.5
    groups = torch.tensor(
        [[True, False, True], [False, True, True], [True] * 3, [False, True, False]]
    )
    team[:, [0, 3, 4]] = True
    all_groups, everybody = planned.router(pooled, 1)
    s, q = planned.router(pooled, 1, Members(groups, team))
    kept = everybody * team
    for group in LAYOUT.group_names:
        columns = LAYOUT.members(group)
        want = kept[:, columns] / kept[:, columns].sum(1, keepdim=True)
        assert torch.allclose(q[:, columns], want, atol=1e-6)
    assert not q[~team].any()
    kept = all_groups * groups
    assert torch.allclose(s, kept / kept.sum(1, keepdim=True), atol=1e-6)
    assert not s[~groups].any()


def test_a_batch_is_planned_as_each_prompt_alone(planned):
    batch = planned.collate([planned.encode(p) for p in PROMPTS])
    with torch.inference_mode():
        _, plans, _ = planned.forward(batch, logits=False)
    for prompt, plan in zip(PROMPTS, plans):
        alone = planned.route(prompt)
        assert plan.team == alone.team and plan.close_to(alone, 1e-5)


def test_the_routers_own_answer_is_the_one_under_its_plan_given(planned):
    """Routed on the way, or by a plan read before: the same tokens."""
    sampling = Sampling(max_new_tokens=8)
    routed = planned.generate(PROMPTS[:2], None, sampling).run()
    plans = [planned.route(p) for p in PROMPTS[:2]]
    assert routed.texts == planned.generate(PROMPTS[:2], plans, sampling).run().texts


def test_leaving_out_one_who_takes_no_part_changes_nothing_to_the_last_bit(planned):
    record = planned.answer(PROMPTS[1], sampling=Sampling(max_new_tokens=6))
    found = explain(planned, record)
    outside = [u for u in found.of("expert") if u.name not in record.plan.team]
    assert outside, "everybody takes part: no test"
    for unit in outside:
        assert unit.weight == unit.contribution == unit.effect == 0
        assert not any(unit.token_effects)
    assert any(u.effect for u in found.of("expert") if u.name in record.plan.team)


def test_the_same_weights_again_cost_nothing_and_score_the_same(planned):
    prompt = planned.encode(PROMPTS[1])
    plan = planned.route(PROMPTS[1])
    off = RoutingPlan.off(LAYOUT)
    outside = next(n for n in LAYOUT.expert_names if n not in plan.team)
    tail = planned.encode_answer("with rest and water")
    once = whole(sweep(planned, prompt, tail, [plan, off]))
    often = whole(sweep(planned, prompt, tail, [plan, off, without(plan, (outside,)), off, plan]))
    assert often.rows == once.rows
    assert torch.equal(often.logp, once.logp[[0, 1, 0, 1, 0]])
    assert torch.equal(often.lead, once.lead[[0, 1, 0, 1, 0]])


def test_one_who_took_no_part_is_called_in_by_a_share(planned):
    plan = planned.route(PROMPTS[1])
    name = next(
        n
        for n in LAYOUT.expert_names
        if n not in plan.team and len(dict(LAYOUT.groups)[n.split("/")[0]]) > 1
    )
    steered = Steering((Override(name, State.FIXED, 0.4),)).apply(plan)
    column, group = LAYOUT.expert_index(name), LAYOUT.members(name.split("/")[0])
    shares = plan.expert_shares.clone()
    shares[:, group] *= 0.6
    shares[:, column] = 0.4
    assert steered.close_to(RoutingPlan(LAYOUT, plan.group_shares, shares))
    assert set(steered.team) == {*plan.team, name}
    logp = planned.score(PROMPTS[1], "with rest", [plan, steered])
    assert not torch.equal(logp[0], logp[1])


def test_one_who_is_off_takes_no_part(planned):
    plan = planned.route(PROMPTS[1])
    gone = plan.team[0]
    steered = Steering((Override(gone, State.OFF),)).apply(plan)
    assert set(steered.team) == set(plan.team) - {gone}


def test_a_team_of_one_is_that_adapter_alone_in_peft(worlds):
    """One group, one member: all the weight there, whatever the in-group heads would say."""
    world = worlds("llama")
    router = GroupedRouter(LAYOUT, HIDDEN, depth=DEPTH)
    router.load_state_dict(world.router(torch.ones(LAYERS)).state_dict(), strict=False)
    router.group_weight.data.zero_()
    router.group_bias.data.copy_(torch.tensor([60.0, -60.0, -60.0]))  # task alone
    router.planner.bias.data[0, LAYOUT.expert_index("task/treat")] = 50.0
    model = world.build(router=router.requires_grad_(False))
    plan = model.route(PROMPTS[0])
    assert [n for n in plan.team if n.startswith("task/")] == ["task/treat"]
    peft = world.peft()
    peft.set_adapter("task-treat")
    encoded, tail = model.encode(PROMPTS[0]), model.encode_answer("with rest")
    ids = torch.tensor([[*encoded.ids, *tail]])
    with torch.no_grad():
        logits = peft(ids).logits[0, len(encoded.ids) - 1 : -1].log_softmax(-1)
    want = logits.gather(1, torch.tensor(tail)[:, None])[:, 0]
    assert torch.allclose(model.score(PROMPTS[0], "with rest", [plan])[0], want, atol=1e-5)


def test_saved_and_loaded_it_plans_the_same(planned, worlds, tmp_path):
    planned.save_pretrained(tmp_path / "m")
    again = AtMoe.from_pretrained(tmp_path / "m", base=str(planned_base(planned, worlds)))
    for prompt in PROMPTS:
        assert again.route(prompt).to_dict() == planned.route(prompt).to_dict()


def planned_base(model: AtMoe, worlds):
    """Where that model's base lies."""
    for family in ("llama", "gemma3"):
        world = worlds(family)
        if world.found.sha256 == model.info.base_sha256:
            return world.found.path
    raise AssertionError


def test_a_planner_that_reads_as_many_layers_as_there_are_is_refused(worlds, tmp_path):
    world = worlds("llama")
    model = world.planned()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "router.safetensors")
    tensors["planner.hidden_weight"] = torch.zeros(LAYOUT.layers, 8, HIDDEN)
    save_file(tensors, tmp_path / "router.safetensors")
    seal(tmp_path, LAYOUT, model.info)
    with pytest.raises(AssetError, match="planner reads 5 of 5 layers.*train it again"):
        store.load_router(tmp_path, LAYOUT, world.base())


def test_one_floor_of_before_is_every_groups(worlds, tmp_path):
    model = worlds("llama").planned()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "router.safetensors")
    tensors["planner.floor"] = torch.tensor([0.5])
    tensors["planner.group_floor"] = torch.tensor([0.75])
    save_file(tensors, tmp_path / "router.safetensors")
    seal(tmp_path, LAYOUT, model.info)
    again = AtMoe.from_pretrained(tmp_path, base=str(worlds("llama").found.path))
    assert again.router.planner.floor.tolist() == [0.5, 0.5, 0.5]
    assert again.router.planner.group_floor.tolist() == [0.75, 0.75, 0.75]
    assert [again.route(p).team for p in PROMPTS] == [model.route(p).team for p in PROMPTS]


def test_a_floor_lets_in_whoever_is_as_likely_asked_for():
    """Two needs are two yeses; somebody of each group takes part, however unlikely."""
    planner = Planner(LAYOUT, HIDDEN, 1, width=3)
    assert planner.team(torch.zeros(1, 1, HIDDEN), ["gout"]).experts.all()  # untaught
    asked = torch.tensor([[0.9, 0.8, 0.1, 0.2, 0.25, 0.24]])
    planner.bias.data.copy_(asked.logit())
    team = planner.team(torch.zeros(1, 1, HIDDEN), ["gout"])
    assert team.experts.tolist() == [[True, True, False, True, True, False]]
    planner.floor.fill_(0.85)
    team = planner.team(torch.zeros(1, 1, HIDDEN), ["gout"])
    assert team.experts.tolist() == [[True, False, False, True, True, False]]
    planner.floor.copy_(torch.tensor([0.05, 0.85, 0.2]))  # each group has its own
    team = planner.team(torch.zeros(1, 1, HIDDEN), ["gout"])
    assert team.experts.tolist() == [[True, True, True, True, True, True]]
    planner.floor.copy_(torch.tensor([0.7, 0.05, 0.25]))
    team = planner.team(torch.zeros(1, 1, HIDDEN), ["gout"])
    assert team.experts.tolist() == [[True, True, False, True, True, False]]


def test_a_group_of_which_several_are_asked_for_takes_part():
    planner = Planner(LAYOUT, HIDDEN, 1, width=3, group_floor=0.9)
    planner.group_bias.data.copy_(torch.tensor([[0.1, 0.5, 0.4]]).log())
    for asked, takes in ((0.9, True), (0.1, False)):
        planner.bias.data.copy_(torch.tensor([[0.9, asked, 0.1, 0.9, 0.9, 0.1]]).logit())
        assert planner.team(torch.zeros(1, 1, HIDDEN), ["gout"]).groups.tolist() == [
            [takes, True, True]
        ]


def test_a_floor_of_before_lets_in_whoever_has_that_much_of_an_equal_share():
    planner = Planner(LAYOUT, HIDDEN, 1, floor=1.5)
    asked = torch.tensor([[0.5, 0.3, 0.2, 1.0, 0.74, 0.26]])
    planner.bias.data.copy_(asked.log())
    nothing = torch.zeros(1, 1, HIDDEN)
    assert planner.team(nothing, ["gout"]).experts.tolist() == [
        [True, False, False, True, True, False]
    ]
    planner.floor.fill_(0.5)
    assert (
        planner.team(nothing, ["gout"]).experts.all()
        and planner.team(nothing, ["gout"]).groups.all()
    )
    planner.group_bias.data.copy_(torch.tensor([[0.5, 0.3, 0.2]]).log())
    for floor, groups in (
        (0.75, [True, True, False]),
        (0.0, [True] * 3),
        (3, [True, True, False]),
    ):
        planner.group_floor.fill_(floor)
        assert planner.team(nothing, ["gout"]).groups.tolist() == [groups]


def test_the_team_is_in_the_json_and_must_agree_with_the_shares(planned):
    plan = planned.route(PROMPTS[1])
    data = json.loads(json.dumps(plan.to_dict()))
    assert data["team"] == list(plan.team)
    assert RoutingPlan.from_dict(data).to_dict() == data
    old = {k: v for k, v in data.items() if k != "team"}  # of before there were teams
    assert RoutingPlan.from_dict(old).team == plan.team
    with pytest.raises(PlanError, match="team and its shares disagree"):
        RoutingPlan.from_dict(data | {"team": data["team"][1:]})


@pytest.fixture(scope="module")
def grouped(worlds) -> AtMoe:
    """A model of which some prompts leave a group out."""
    model = worlds("llama").planned()
    batch = model.collate([model.encode(prompt) for prompt in PROMPTS + OTHERS])
    states = first_states(model.base, batch, DEPTH)
    planner = model.router.planner
    torch.manual_seed(5)
    planner.group_weight.normal_(std=0.2).div_(states.std(0)[:, None])
    planner.group_bias.sub_(torch.einsum("lgh,lh->g", planner.group_weight, states.mean(0)))
    planner.group_floor.fill_(0.75)
    return model


def one_left_out(model: AtMoe) -> tuple[str, RoutingPlan, str]:
    """A prompt, its plan, and a group of two or more experts that takes no part in it."""
    for prompt in PROMPTS + OTHERS:
        plan = model.route(prompt)
        for group in plan.absent:
            if len(dict(LAYOUT.groups)[group]) > 1:
                return prompt, plan, group
    raise AssertionError("every group takes part: no test")


def test_a_group_takes_part_where_enough_is_expected_of_it(grouped):
    planner = grouped.router.planner
    absent, called_in = [], 0
    for prompt in PROMPTS + OTHERS:
        logits = read_by_hand(grouped, prompt, planner.group_weight, planner.group_bias)
        expected = logits.softmax(0)
        plan = grouped.route(prompt)
        asked = [name.split("/")[0] for name in by_hand(grouped, prompt)]
        several = torch.tensor([asked.count(name) > 1 for name in LAYOUT.group_names])
        called_in += int((several & (expected < 0.75 / 3)).sum())
        # Two of three take part, and whoever has several in the team.
        out = (expected < 0.75 / 3) & (expected == expected.min()) & ~several
        assert plan.absent == tuple(n for n, o in zip(LAYOUT.group_names, out) if o)
        assert not plan.group_shares[:, out].any()
        assert torch.allclose(plan.group_shares.sum(1), torch.ones(LAYERS), atol=1e-6)
        assert not {n.split("/")[0] for n in plan.team} & {*plan.absent}
        absent.append(plan.absent)
    assert len(set(absent)) > 1 and called_in


def test_a_group_left_out_has_no_weight_no_effect_and_no_say_in_the_verdict(grouped):
    prompt, plan, group = one_left_out(grouped)
    record = grouped.answer(prompt, sampling=Sampling(max_new_tokens=6))
    found = explain(grouped, record)
    own = [u for u in found.units if u.group == group]
    assert len(own) > 3
    for unit in own:
        assert unit.weight == unit.contribution == unit.effect == 0
        assert not any(unit.token_effects or ())
    assert set(leaders(found)) == {
        name for name, experts in LAYOUT.groups if len(experts) > 1 and name not in plan.absent
    }
    assert verdict(found).groups == len(leaders(found))


def test_a_share_of_an_expert_calls_its_group_in(grouped):
    prompt, plan, group = one_left_out(grouped)
    name = f"{group}/{dict(LAYOUT.groups)[group][0]}"
    called = Steering((Override(name, State.FIXED, 0.6),)).apply(plan)
    by_hand = (Override(group, State.FIXED, 1 / 3), Override(name, State.FIXED, 0.6))
    assert called.close_to(Steering(by_hand).apply(plan))
    assert Steering((Override(name, State.FIXED, 0.6),)).apply(called).close_to(called)
    column = LAYOUT.expert_index(name)
    assert torch.allclose(called.weights[:, column], torch.tensor(0.6 / 3))
    assert name in called.team and group not in called.absent
    logp = grouped.score(prompt, "with rest", [plan, called])
    assert not torch.equal(logp[0], logp[1])
    # What was said of the group itself stands.
    for said in (Override(group, State.OFF), Override(group, State.ROUTER)):
        kept = Steering((said, Override(name, State.FIXED, 0.6))).apply(plan)
        assert group in kept.absent
    # And what others were given.
    others = [g for g in LAYOUT.group_names if g != group]
    rest = tuple(Override(g, State.FIXED, share) for g, share in zip(others, (0.5, 0.4)))
    full = Steering((*rest, Override(name, State.FIXED, 0.6))).apply(plan)
    assert torch.allclose(full.group_shares[:, LAYOUT.group_index(group)], torch.tensor(0.1))
    all_given = (rest[0], Override(others[1], State.FIXED, 0.5))
    none = Steering((*all_given, Override(name, State.FIXED, 0.6))).apply(plan)
    assert group in none.absent  # nothing is left for it


def test_leaving_groups_out_is_saved_and_a_batch_is_each_alone(grouped, worlds, tmp_path):
    batch = grouped.collate([grouped.encode(p) for p in PROMPTS])
    with torch.inference_mode():
        _, plans, _ = grouped.forward(batch, logits=False)
    for prompt, plan in zip(PROMPTS, plans):
        alone = grouped.route(prompt)
        assert plan.absent == alone.absent and plan.close_to(alone, 1e-5)
    grouped.save_pretrained(tmp_path / "m")
    again = AtMoe.from_pretrained(tmp_path / "m", base=str(planned_base(grouped, worlds)))
    for prompt in PROMPTS + OTHERS:
        plan = grouped.route(prompt)
        assert again.route(prompt).to_dict() == plan.to_dict()
        assert RoutingPlan.from_dict(plan.to_dict()).absent == plan.absent
    # A router of before groups could take no part: they all do.
    tensors = load_file(tmp_path / "m" / "router.safetensors")
    old = {k: v for k, v in tensors.items() if not k.startswith("planner.group_")}
    assert len(old) == len(tensors) - 3
    save_file(old, tmp_path / "m" / "router.safetensors")
    router = store.load_router(tmp_path / "m", LAYOUT, worlds("llama").base())
    assert not router.planner.group_floor.any() and not router.planner.group_weight.any()


def test_a_record_of_before_names_the_experts_of_a_group_that_is_off(planned):
    plan = planned.route(PROMPTS[1])
    off = Steering((Override(LAYOUT.group_names[0], State.OFF),)).apply(plan)
    data = off.to_dict()
    assert set(data["team"]) < set(plan.team)
    assert RoutingPlan.from_dict(data | {"team": list(plan.team)}).close_to(off)
