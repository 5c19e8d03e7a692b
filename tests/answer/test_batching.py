"""One batch for all: rows that join and leave at any token are what they are alone, bit for bit."""

import random

import pytest
import torch
from conftest import ASSETS, BFLOAT16, LAYOUT, PROMPTS, one_hot, random_plan

from atmoe import AtMoe, Record, RoutingPlan, Sampling, Steering
from atmoe.answer import batching
from atmoe.answer.batching import Batching
from atmoe.answer.engine import Engine, engine_of
from atmoe.answer.even import even_rows
from atmoe.answer.guessing import Guess
from atmoe.answer.leases import Product
from atmoe.answer.past import Past
from atmoe.errors import PlanError, PromptError
from atmoe.mixture.int4 import to_int4
from atmoe.mixture.precision import best

PLANS = [random_plan(0), RoutingPlan.off(LAYOUT), one_hot("reader/expert"), random_plan(1), None]
HOW = [
    Sampling(40),
    Sampling(25, temperature=0.9, top_p=0.9, seed=11),
    Sampling(30, repetition_penalty=1.3),
    Sampling(33, temperature=1.3),
]
ASKED = [(PROMPTS[i % 4], PLANS[i % 5], HOW[i % 3]) for i in range(10)]


def alone(model, asked):
    [(row, steps)] = each_alone(model, [asked])
    return row, steps


def each_alone(model, all_asked):
    """One after another in one batch, which has to find out only once what it rounds alike."""
    batch, rows = Batching(model), []
    for asked in all_asked:
        row = batch.add(*asked)
        rows.append((row, list(row)))
        assert not batch.rows
    batch.close()
    return rows


def come_and_go(model, asked, seed, most=4):
    """Rows that join, are read and are given up at random. → [(asked, row, its steps so far)]"""
    chance, batch, waiting, all_rows = random.Random(seed), Batching(model, most), list(asked), []
    chance.shuffle(waiting)
    while waiting or batch.rows:
        if waiting and len(batch.rows) < most and chance.random() < 0.4:
            all_rows.append((waiting[-1], batch.add(*waiting.pop()), []))
        if batch.rows and chance.random() < 0.05:
            batch.remove(chance.choice(batch.rows))
        batch.step()
        for _, row, steps in all_rows:
            if chance.random() < 0.5:
                steps.extend(row._unread.popleft() for _ in range(len(row._unread)))
    for _, row, steps in all_rows:
        steps.extend(row)
    batch.close()
    return all_rows


# -- the law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("seed", range(2))
def test_rows_that_come_and_go_are_each_alone_bit_for_bit(world, seen, seed, dtype):
    model = world.model
    if dtype is torch.bfloat16:
        model = world.build()
        model.base.to(dtype)
    together = come_and_go(model, ASKED, seed)
    assert (
        sum(row.finish is None for _, row, _ in together) > 0
        and max(len(steps) for _, _, steps in together) > 20
    )
    by_themselves = each_alone(model, [asked for asked, _, _ in together])
    for (_, row, steps), (by_itself, want) in zip(together, by_themselves):
        assert steps == want[: len(steps)] and (row.finish is None or len(steps) == len(want))
        assert row.logp == by_itself.logp[: len(row.tokens)] and len(row.logp) == len(row.tokens)
        for got, exact in zip(seen[row], seen[by_itself]):
            assert torch.equal(got, exact)


@pytest.mark.parametrize("dtype", ["float32", BFLOAT16, "int4"])
def test_shipped_rows_that_come_and_go_are_each_alone_bit_for_bit(medical, seen, dtype):
    model = medical
    if dtype != "float32":
        model = AtMoe.from_pretrained(ASSETS, dtype=best())
    if dtype == "int4":  # on any processor
        to_int4(model.base)
    off = RoutingPlan.off(model.layout)
    asked = [
        (question, plan, sampling)
        for question, plan, sampling in zip(
            PROMPTS + PROMPTS[:2],
            [None, off, random_plan(3, model.layout), None, random_plan(4, model.layout), off],
            [
                Sampling(12),
                Sampling(9, temperature=1.0, seed=5),
                Sampling(10, repetition_penalty=1.1),
                Sampling(7),
                Sampling(8),
                Sampling(11),
            ],
        )
    ]
    together = come_and_go(model, asked, 1)
    by_themselves, batch = each_alone(model, [what for what, _, _ in together]), Batching(model)
    for (what, row, steps), (by_itself, want) in zip(together, by_themselves):
        assert steps == want[: len(steps)]
        assert all(torch.equal(got, exact) for got, exact in zip(seen[row], seen[by_itself]))
        guessed = batch.add(*what, None, [by_itself.tokens])
        assert list(guessed) == want and not batch.rows
        assert all(torch.equal(got, exact) for got, exact in zip(seen[guessed], seen[by_itself]))
    batch.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_with_others_to_guess_from_it_is_the_same_bit_for_bit_in_fewer_steps(
    world, seen, dtype, monkeypatch
):
    model = world.model
    if dtype is torch.bfloat16:
        model = world.build()
        model.base.to(dtype)
    steps, step = [], Engine.step
    monkeypatch.setattr(
        Engine, "step", lambda self, *about: steps.append(len(about[1])) or step(self, *about)
    )
    by_themselves, batch = each_alone(model, ASKED[:6]), Batching(model)
    batch.warm()
    for (prompt, plan, sampling), (by_itself, want) in zip(ASKED, by_themselves):
        needed = len(want) - 1
        own = by_itself.tokens
        wrong = [token + 1 for token in own]
        for others in ([own], [wrong], [wrong, own[:9], own[12:]], [own[:2] * 30]):
            steps.clear()
            row = batch.add(prompt, plan, sampling, None, others)
            assert list(row) == want and row.logp == by_itself.logp and not batch.rows
            assert len(seen[row]) == len(seen[by_itself])
            assert all(torch.equal(a, b) for a, b in zip(seen[row], seen[by_itself]))
            if others == [own] and len(own) > 20:
                assert len(steps) < needed / 3
            if others == [wrong]:
                assert len(steps) <= needed
    batch.close()


def test_who_comes_while_somebody_is_guessed_at_changes_nothing(world):
    model, (first, second) = world.model, ASKED[:2]
    (row, one), (_, other) = each_alone(model, (first, second))
    want, own = (one, other), row.tokens
    batch = Batching(model)
    row = batch.add(*first, None, [own])
    batch.step()
    batch.step()
    assert 3 < len(row.tokens) < len(own)
    other = batch.add(*second, None, [[1, 2, 3]])
    assert list(other) == want[1] and list(row) == want[0]
    batch.close()


def test_a_guess_goes_on_as_the_newest_that_has_most_of_the_end():
    old, new = [1, 2, 3, 4, 5, 6, 7, 8, 9], [7, 2, 3, 4, 50]
    grown: list[int] = []

    def after(tokens, width=3, most=7):
        guess = Guess([old, new, grown])
        for wide in (1, 3)[: (1, 3, 7).index(width)]:
            guess.learn(wide, wide)
        return guess.after(tokens, most)

    assert after([1]) == [2, 3, 4]  # whatever there is, where that is little
    assert after([9, 2, 3, 4]) == [50]  # as much of the end in both: the newest; 1 of 1 to come
    assert after([1, 2, 3, 4]) == [5, 6, 7]
    assert after([9, 9, 3, 4]) == [] == after([8, 9, 9])  # fewer than three alike
    assert after([1, 2, 3], 7, most=6) == [4, 5, 6] and after([1, 2, 3], most=0) == []
    assert after([1, 2, 3], 1) == [4] and after([7, 8, 9]) == []
    grown.extend([1, 2, 3, 70, 71])
    assert after([1, 2, 3]) == [70]
    guess = Guess([old])
    assert guess.after([1], 7) == [2]
    guess.learn(1, 1)
    assert guess.after([1], 7) == [2, 3, 4]
    guess.learn(3, 2)
    assert guess.after([1], 7) == [2]
    guess.learn(0, 0)
    assert guess.after([1], 7) == [2]


def test_a_row_is_what_generate_gives(world):
    rows = each_alone(world.model, ASKED[:5])
    for (prompt, plan, sampling), (row, steps) in zip(ASKED, rows):
        generation = world.model.generate([prompt], None if plan is None else [plan], sampling)
        assert steps == list(generation) and row.plans[0].close_to(generation.plans[0], atol=1e-5)


def test_what_each_token_had_when_it_was_chosen_is_what_it_has_when_it_is_read_again(world):
    ended = set()
    for prompt, plan, sampling in ASKED:
        row, _ = alone(world.model, (prompt, plan, sampling))
        [again], _ = world.model.score_tokens([prompt], [row.tokens], row.plans)
        torch.testing.assert_close(torch.tensor(row.logp), again, rtol=0, atol=1e-4)
        ended.add(row.finish)
    assert "length" in ended


def test_where_no_number_of_rows_is_even_they_take_turns(model, monkeypatch):
    want = [steps for _, steps in each_alone(model, ASKED[:3])]
    sizes, step = [], Engine.step
    monkeypatch.setattr(
        Engine,
        "step",
        lambda self, products, tokens, *others: (
            sizes.append(len(tokens)) or step(self, products, tokens, *others)
        ),
    )
    monkeypatch.setattr(batching, "even_rows", lambda engine, most: 0)
    batch = Batching(model)
    rows = [batch.add(*asked) for asked in ASKED[:3]]
    assert [list(row)[-1].finish for row in rows] == [steps[-1].finish for steps in want] and set(
        sizes
    ) == {1}


def test_uneven_products_are_found_out(model, monkeypatch):
    """Products that round a row by how many there are or where it stands, as some machines do."""
    engine, step = engine_of(model), Engine.step
    exact = even_rows(engine, 8)

    def uneven(decides):
        def wrong(self, products, tokens, *others):
            def slip(x, product):
                y = product(x)
                return y + 1e-6 * decides(len(y))[:, None]

            return step(self, [lambda x, p=p: slip(x, p) for p in products], tokens, *others)

        return wrong

    def every(value):
        return lambda rows: torch.full((rows,), float(value(rows)))

    for decides, want in (
        (every(lambda rows: 0), exact),
        (every(lambda rows: rows % 4 > 0), max(4, exact)),
        (every(lambda rows: rows), 8),
        (lambda rows: torch.arange(rows).float(), 0),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(Engine, "step", uneven(decides))
            assert even_rows(engine, 8) == want


def test_a_lone_row_that_is_added_up_in_another_order_is_found_out(world, monkeypatch):
    """As oneDNN does on Intel's AMX: bfloat16 hides it in all but a few of thousands of numbers."""
    model = world.build()
    model.base.to(torch.bfloat16)
    engine = engine_of(model)

    def in_order(x, weight, bias, pieces):
        parts = zip(x.float().chunk(pieces, 1), weight.float().chunk(pieces, 1))
        y = sum(a[:, None, :].mul(b).sum(2) for a, b in parts)
        return (y if bias is None else y + bias.float()).to(x.dtype)

    def broken(whole, low):
        """Products in as many pieces as these say of the number of rows."""

        def product(self, x):
            fused = self.fused
            y = in_order(x, fused.clean(), fused.bias, whole(len(x)))
            if self._scale is not None:
                ranks = self.low(x) * self._scale
                for out, rank, B in fused.parts:
                    y[:, out] += in_order(ranks[:, rank], B, None, 1)
            return y

        monkeypatch.setattr(Product, "__call__", product)
        monkeypatch.setattr(
            Product, "low", lambda self, x: in_order(x, self.fused.A, None, low(len(x)))
        )
        return even_rows(engine, 8)

    def same(rows):
        return 1

    def other_if_alone(rows):
        return 1 + (rows == 1)

    assert broken(same, same) == 1
    assert broken(other_if_alone, same) == broken(same, other_if_alone) == 2


def test_a_base_that_the_engine_does_not_know_is_decoded_in_turns(llama):
    want = [steps for _, steps in each_alone(llama.model, ASKED[:3])]
    model = llama.build()
    model.base.config.model_type = "mystery"
    batch = Batching(model)
    rows = [batch.add(*asked) for asked in ASKED[:3]]
    steps = [list(row) for row in rows]
    assert steps == want and {row.engine for row in rows} == {"plain"} and not batch.rows


# -- places ---------------------------------------------------------------------------------------


def test_a_row_that_ends_or_is_given_up_frees_its_place_at_once(model):
    batch = Batching(model, 2)
    short, long = (
        batch.add(PROMPTS[0], PLANS[0], Sampling(2)),
        batch.add(PROMPTS[1], PLANS[1], Sampling(30)),
    )
    with pytest.raises(RuntimeError, match="All 2 rows are taken"):
        batch.add(*ASKED[0])
    batch.step()
    assert short.finish == "length" and batch.rows == [long] and short.past is None
    third = batch.add(*ASKED[2])
    long.close()
    long.close()  # as good as once
    assert batch.rows == [third]
    assert len(list(long)) == 2 and len(list(short)) == 2  # what was decoded stays readable


def test_an_answer_of_one_token_never_takes_a_place(model):
    batch = Batching(model, 1)
    row = batch.add(PROMPTS[0], None, Sampling(1))
    assert [step.finish for step in row] == [("length",)] and not batch.rows
    batch.step()  # of nobody


def test_what_cannot_be_answered_takes_no_place(model):
    batch = Batching(model, 1)
    with pytest.raises(PromptError):
        batch.add("  ")
    with pytest.raises(PlanError):
        batch.add(PROMPTS[0], "no plan")
    assert not batch.rows and list(batch.add(*ASKED[0]))


def test_a_step_that_failed_can_be_made_again(model, monkeypatch):
    want = alone(model, ASKED[0])[1]
    batch = Batching(model)
    row, attend = batch.add(*ASKED[0]), Past.attend
    steps = [next(row), next(row)]
    with monkeypatch.context() as broken:
        broken.setattr(
            Past,
            "attend",
            lambda self, index, *qkv: 1 / 0 if index == 3 else attend(self, index, *qkv),
        )
        with pytest.raises(ZeroDivisionError):
            next(row)
    assert steps + list(row) == want


def test_a_row_makes_a_record(model):
    batch = Batching(model)
    row = batch.add(PROMPTS[0], None, Sampling(5))
    *_, step = row
    record = Record.of(model, PROMPTS[0], Steering(), row.plans[0], row, step)
    assert record.finish == "length" and record.versions["engine"] == "lean"
    assert record.timings["prefill_s"] > 0 and record.timings["decode_tokens_per_s"] > 0
