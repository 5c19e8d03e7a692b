"""A question that is read in pieces, while others go on, is the question read at once."""

import pytest
import torch
from conftest import DEPTH, LAYERS, PROMPTS, random_plan

from atmoe import Override, Sampling, State, Steering
from atmoe.answer import pieces
from atmoe.answer.batching import Batching
from atmoe.answer.kept import Kept
from atmoe.answer.pieces import whole
from atmoe.errors import PromptError

OTHER, SAMPLING = (PROMPTS[0], random_plan(0), Sampling(60)), Sampling(25)
LATE = Steering((Override("task", State.FIXED, 0.9, f"{LAYERS - 2}-{LAYERS - 1}"),))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A piece is one layer."""
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 0.0)


def tokens(row) -> list[int]:
    for _ in row:
        pass
    return row.tokens


def test_read_while_another_row_goes_on_both_are_what_they_are_alone(world, seen):
    def logits(row):
        tokens(row)
        return torch.cat(seen[row])

    model, kept = world.planned(), Kept()
    alone, question = Batching(model), PROMPTS[3]
    router = alone.route(question)
    asked = [(question, plan, SAMPLING) for plan in (None, LATE.apply(router))]
    want = [logits(alone.add(*each)) for each in asked]
    other = logits(alone.add(*OTHER))

    batch = Batching(model)
    going, rows, turns = batch.add(*OTHER), [], []
    for each in asked:
        reading, between = batch.beginning(*each, kept), 0
        while True:
            try:
                next(reading)
            except StopIteration as end:
                rows.append(end.value)
                break
            assert not torch.is_inference_mode_enabled()
            batch.step()
            between += 1
        turns.append(between)
    # the planner's layers and all; later those alone where the plans part
    assert turns == [DEPTH - 1 + LAYERS - 1, 1] and kept.reused == LAYERS - 2
    assert len(going.tokens) > sum(turns) and torch.equal(rows[0].plans[0].mixing, router.mixing)
    assert not torch.equal(*want)
    assert all(torch.equal(logits(row), own) for row, own in zip(rows, want))
    assert torch.equal(logits(going), other)


def test_who_reads_has_a_place_until_it_is_given_up(model):
    batch = Batching(model, most=1)
    reading = batch.beginning(PROMPTS[0], None, SAMPLING)
    next(reading)
    assert not batch.rows
    with pytest.raises(RuntimeError, match="All 1 rows are taken"):
        batch.add(*OTHER)
    reading.close()
    assert tokens(batch.add(*OTHER)) == tokens(Batching(model).add(*OTHER))
    with pytest.raises(PromptError):
        whole(batch.beginning(" ", None, SAMPLING))
    assert len(tokens(batch.add(*OTHER))) > 1


def test_the_routers_plan_is_read_in_pieces_as_well(model, monkeypatch):
    batch, plans = Batching(model), []
    for seconds, between in ((0.0, LAYERS - 1), (60.0, 0)):
        monkeypatch.setattr(pieces, "PIECE_SECONDS", seconds)
        assert sum(1 for _ in batch.routing(PROMPTS[1])) == between
        plans.append(whole(batch.routing(PROMPTS[1])))
    assert torch.equal(plans[0].mixing, plans[1].mixing)
    assert plans[0].close_to(model.route(PROMPTS[1]))
