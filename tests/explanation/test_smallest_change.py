"""The smallest change: the plans on the way, and that the sentence reported is decoded there."""

from dataclasses import replace

import pytest
import torch
from conftest import GROUPS, LAYOUT, PROMPTS, random_plan

from atmoe import Sampling, Steering
from atmoe.answer.pieces import whole
from atmoe.explanation.smallest_change import (
    POINTS,
    _Sentence,
    movable,
    moved,
    smallest_changes,
)
from atmoe.explanation.sweep import sweep
from atmoe.explanation.units import without
from atmoe.explanation.value import Change
from atmoe.routing.plan import RoutingPlan

SAMPLING = Sampling(max_new_tokens=12, repetition_penalty=1.1)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("percent", [0, 11, 50, 93, 100])
def test_a_group_is_moved_to_a_mean_share_and_the_others_keep_their_proportions(group, percent):
    plan = random_plan(4)
    there, column = moved(plan, group, percent), LAYOUT.group_index(group)
    assert float(there.group_shares[:, column].mean()) == pytest.approx(percent / 100, abs=1e-6)
    assert torch.allclose(there.group_shares.sum(1), torch.ones(LAYOUT.layers), atol=1e-6)
    others = [i for i in range(len(GROUPS)) if i != column]
    before, after = (p.group_shares[:, others] for p in (plan, there))
    assert torch.allclose(after[:, 0] * before[:, 1], after[:, 1] * before[:, 0], atol=1e-6)
    assert torch.equal(there.expert_shares, plan.expert_shares)


def test_the_way_begins_at_the_plan_itself_and_moves_one_way():
    plan = random_plan(4)
    own = float(plan.group_shares[:, 0].mean())
    assert moved(plan, "task", 100 * own).close_to(plan, 1e-6)
    shares = torch.stack([moved(plan, "task", p).group_shares[:, 0] for p in range(0, 101, 5)])
    assert (shares.diff(dim=0) >= -1e-6).all()


@pytest.mark.parametrize("tiny", [1e-5, 2e-7, 6e-8, 1e-12, 1e-42])
@pytest.mark.parametrize("percent", [0, 40, 100])
def test_beside_nearly_all_the_others_share_no_more_than_is_left(tiny, percent):
    """What a share of nearly all leaves is told by adding up the others, not by rounding."""
    plan = random_plan(4)
    shares = torch.tensor([[1.0 - 3 * tiny, 2 * tiny, tiny]]).repeat(LAYOUT.layers, 1)
    there = moved(replace(plan, group_shares=shares), LAYOUT.group_names[0], percent)
    torch.testing.assert_close(there.group_shares.sum(1), shares.sum(1), rtol=0, atol=1e-6)
    if percent < 100 and tiny > 1e-40:
        torch.testing.assert_close(there.group_shares[:, 1], 2 * there.group_shares[:, 2])


def test_what_was_dropped_stays_dropped_and_a_group_alone_cannot_move():
    plan = without(random_plan(4), ("field",))
    there = moved(plan, "task", 30)
    assert (there.group_shares[:, 1] == 0).all()
    assert torch.allclose(there.group_shares.sum(1), plan.group_shares.sum(1), atol=1e-6)
    alone = RoutingPlan.choosing(LAYOUT, {}, {"task": 1.0})
    assert not movable(alone, "task", 0) and not movable(alone, "task", 100)
    assert movable(alone, "field", 100) and not movable(alone, "field", 0)
    assert not any(movable(RoutingPlan.off(LAYOUT), g, end) for g in GROUPS for end in (0, 100))


@pytest.mark.parametrize("percent", [0, 20, 55, 70, 95, 100])
def test_where_nobody_else_has_a_share_the_layer_stays_and_the_others_make_up_for_it(percent):
    plan = alone_in(random_plan(4), 2)
    there, held = moved(plan, "task", percent), 2 / LAYOUT.layers
    assert (there.group_shares[:2, 0] == 1).all()
    assert float(there.group_shares[:, 0].mean()) == pytest.approx(max(percent / 100, held))


def alone_in(plan, layers):
    """The plan with all of the first layers' weight on its first group."""
    shares = plan.group_shares.clone()
    shares[:layers] = torch.tensor([1.0, 0.0, 0.0])
    return replace(plan, group_shares=shares)


def test_the_share_told_is_the_one_there_and_who_cannot_move_is_not_told(model):
    told = 0
    for prompt in PROMPTS:
        record = model.answer(prompt, Steering(), SAMPLING)
        record = replace(record, plan=alone_in(record.plan, LAYOUT.layers - 1))
        for change in smallest_changes(model, record):
            if change.to is not None:
                told += 1
                at = moved(record.plan, change.group, 100 * change.to).group_shares
                mean = float(at[:, LAYOUT.group_index(change.group)].mean())
                assert change.to == pytest.approx(mean, abs=1e-5)
                assert change.group != "task" or change.to >= 1 - 1 / LAYOUT.layers - 1e-5
    assert told
    record = replace(record, plan=without(record.plan, ("field", "reader")))
    assert {c.group for c in smallest_changes(model, record)} == {"field", "reader"}


def changes_of(model, prompt=PROMPTS[0], sampling=SAMPLING):
    record = model.answer(prompt, Steering(), sampling)
    return record, smallest_changes(model, record)


def test_the_sentence_reported_is_decoded_there_and_not_nearer(model):
    checked = 0
    for prompt in PROMPTS:
        record, found = changes_of(model, prompt)
        assert [c.group for c in found] == list(GROUPS)
        for c in found:
            assert c.share == pytest.approx(
                float(record.plan.group_shares[:, LAYOUT.group_index(c.group)].mean())
            )
            ends = [moved(record.plan, c.group, end) for end in (0, 100)]
            if c.to is None:
                decoded = [answer(model, prompt, plan, len(record.answer_tokens)) for plan in ends]
                assert decoded == [record.answer_tokens] * 2
                continue
            checked += 1
            there = answer(
                model, prompt, moved(record.plan, c.group, 100 * c.to), len(record.answer_tokens)
            )
            assert (
                there[: c.at] == record.answer_tokens[: c.at]
                and there[c.at] != record.answer_tokens[c.at]
            )
            assert model.tokenizer.decode([there[c.at]]) == c.token_after and c.after != c.before
            nearer = 100 * c.to + (POINTS + 1) * (1 if c.to < c.share else -1)
            if abs(nearer - 100 * c.share) < abs(100 * c.to - 100 * c.share):
                assert (
                    answer(
                        model,
                        prompt,
                        moved(record.plan, c.group, nearer),
                        len(record.answer_tokens),
                    )
                    == record.answer_tokens
                )
    assert checked >= 3


def answer(model, prompt, plan, tokens):
    sampling = replace(SAMPLING, max_new_tokens=tokens)
    return model.generate([prompt], [plan], sampling).run().tokens[0]


def test_of_a_drawn_answer_the_greedy_one_is_looked_at(model):
    drawn = model.answer(PROMPTS[0], Steering(), replace(SAMPLING, temperature=1.5, seed=3))
    greedy = model.answer(PROMPTS[0], Steering(), replace(SAMPLING, max_new_tokens=80))
    assert drawn.answer_tokens != greedy.answer_tokens[:12]
    for c in smallest_changes(model, drawn):
        assert greedy.answer.startswith(c.before[:20])


def test_the_penalty_on_repeated_words_is_part_of_the_choice(model):
    """Read under the plan's own choices, every token of a penalised greedy answer leads."""
    from atmoe.explanation.smallest_change import _chooser

    strong = replace(SAMPLING, repetition_penalty=1.8)
    record = model.answer(PROMPTS[0], Steering(), strong)
    prompt = model.encode(PROMPTS[0])

    def read(choose):
        steps = sweep(model, prompt, record.answer_tokens, [record.plan], choose=choose)
        return whole(steps).lead.max()

    assert read(_chooser(strong, prompt, record.answer_tokens)) < 1e-3 < read(None)


def test_a_sentence_that_ends_earlier_is_another_one(worlds):
    """Held to the answers of plans a point further on the way, each decoded by itself."""
    model, ended = worlds("qwen3").model, 0
    sampling = Sampling(max_new_tokens=8, repetition_penalty=1.0)

    def decoded(plan):
        return model.generate([PROMPTS[2]], [plan], sampling).run().tokens[0]

    plan = random_plan(816)
    record = model.answer(PROMPTS[2], Steering(), sampling)
    record = replace(record, plan=plan, answer_tokens=tuple(decoded(plan)))
    for c in smallest_changes(model, record):
        there = decoded(moved(plan, c.group, 100 * c.to))
        ended += c.before.startswith(c.after)
        assert there[: c.at] == decoded(plan)[: c.at] != there[: c.at + 1]
        assert c.token_after == model.tokenizer.decode(there[c.at : c.at + 1])
        for percent in range(round(100 * c.share), round(100 * c.to), 2 if c.to > c.share else -2):
            if abs(percent - 100 * c.to) > POINTS:
                assert decoded(moved(plan, c.group, percent)) == decoded(plan)
    assert ended == 3


def test_where_an_answer_ends_another_token_is_none(model):
    """A change whose answer ends within the sentence is told, with nothing in the token's place."""
    plan, tokens = random_plan(4), tuple(model.tokenizer("Rest helps.").input_ids)
    sentence = _Sentence(model, model.encode(PROMPTS[0]), plan, "Rest helps.", tokens, None)
    change = sentence.beside(Change("task", 0.5, "Rest helps."), 20, tokens[:4], "Rest")
    assert (change.after, change.at, change.token_after) == ("Rest", 4, "")
    assert change.token_before == model.tokenizer.decode(tokens[4:5])
    same = sentence.beside(Change("task", 0.5, "Rest helps."), 20, (*tokens, 5), "Rest helps.")
    assert same.to is None
