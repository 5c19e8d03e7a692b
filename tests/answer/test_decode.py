"""Decoding: cached is uncached, a row is the row alone, and an answer given up leaves no trace."""

import threading
from functools import partial
from itertools import count

import pytest
import torch
from conftest import LAYERS, LAYOUT, PROMPTS, in_threads, one_hot, random_plan, reference_logits

from atmoe import Record, RoutingPlan, Sampling, Steering
from atmoe.answer.batching import Batching
from atmoe.answer.generation import end_tokens
from atmoe.answer.sampling import MAX_NEW_TOKENS, Chooser
from atmoe.errors import PromptError, SamplingError
from atmoe.mixture.experts import _mixing
from atmoe.mixture.passes import _entered
from atmoe.prompt.template import Prompt, encode_text

CLOSE = dict(rtol=1e-5, atol=1e-5)  # float32
PLANS = [random_plan(0), RoutingPlan.off(LAYOUT), one_hot("reader/expert"), random_plan(1)]


def last_of(generation):
    *_, last = generation
    return last


def scripted(monkeypatch, rows):
    """Have the model answer with these tokens, then end its turn."""
    monkeypatch.setattr(
        Chooser,
        "__call__",
        lambda self, logits, tokens: [
            rows[i][len(t)] if len(t) < len(rows[i]) else 2 for i, t in enumerate(tokens)
        ],
    )


@pytest.mark.parametrize("in_batch", [False, True])
def test_speed_is_of_what_was_decoded_since_the_first_token(model, monkeypatch, in_batch):
    """Of a clock that ticks once a token; the end of the turn is decoded as well."""

    def speed(sampling):
        with monkeypatch.context() as ticking:
            ticking.setattr("time.perf_counter", partial(next, count()))
            if in_batch:
                answering = Batching(model).add(PROMPTS[0], PLANS[0], sampling)
            else:
                answering = model.generate(PROMPTS[:1], PLANS[:1], sampling)
            step = last_of(answering)
        plan = PLANS[0]
        return Record.of(model, PROMPTS[0], Steering(), plan, answering, step).timings

    assert speed(Sampling(5))["decode_tokens_per_s"] == 1
    assert set(speed(Sampling(1))) == {"prefill_s"}  # the prefill gave it
    scripted(monkeypatch, [[7, 7]])
    assert speed(Sampling(5))["decode_tokens_per_s"] == 1
    scripted(monkeypatch, [[]])
    assert set(speed(Sampling(5))) == {"prefill_s"}


# -- equalities, in every family ------------------------------------------------------------------


def test_cached_is_uncached(world, monkeypatch):
    """Every logit that a token was chosen by, recomputed without a cache, padding or neighbours."""
    model, seen, project = world.model, [], world.model.logits
    monkeypatch.setattr(model, "logits", lambda states: seen.append(project(states)) or seen[-1])
    last = last_of(model.generate(PROMPTS, PLANS, Sampling(9)))
    cached = torch.stack(seen, 1)
    for row, prompt in enumerate(PROMPTS):
        prompt, tokens = model.encode(prompt), last.tokens[row]
        chosen = len(tokens) + (last.finish[row] == "stop")
        with torch.inference_mode():
            whole = model.forward(model.collate([prompt], [tokens]), [PLANS[row]])[0][
                0, len(prompt.ids) - 1 :
            ]
        torch.testing.assert_close(cached[row, :chosen], whole[:chosen], **CLOSE)
        assert whole[:chosen].argmax(-1).tolist()[: len(tokens)] == list(tokens)


def test_cached_is_uncached_where_a_planner_chose_the_team(worlds, monkeypatch):
    """The router's own plans, and its decision who takes part, made once and kept."""
    model, seen = worlds("llama").planned(), []
    project = model.logits
    monkeypatch.setattr(model, "logits", lambda states: seen.append(project(states)) or seen[-1])
    writing = model.generate(PROMPTS, None, Sampling(6))
    last = last_of(writing)
    cached = torch.stack(seen, 1)
    assert {len(plan.team) for plan in writing.plans} != {len(model.layout.expert_names)}
    for row, prompt in enumerate(PROMPTS):
        prompt, tokens = model.encode(prompt), last.tokens[row]
        chosen = len(tokens) + (last.finish[row] == "stop")
        with torch.inference_mode():
            # without plans: the router reads the prompt, and the planner before it, anew
            logits, [plan], _ = model.forward(model.collate([prompt], [tokens]), None)
        own = writing.plans[row]
        assert plan.team == own.team and plan.close_to(own, atol=1e-5)
        whole = logits[0, len(prompt.ids) - 1 :]
        torch.testing.assert_close(cached[row, :chosen], whole[:chosen], **CLOSE)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(7),
        Sampling(7, temperature=0.9, top_p=0.95, seed=3),
        Sampling(7, repetition_penalty=1.4),
    ],
    ids=["greedy", "sampled", "penalised"],
)
def test_a_row_in_a_batch_is_the_row_alone(world, sampling):
    together = last_of(world.model.generate(PROMPTS, PLANS, sampling))
    for row in range(4):
        alone = last_of(world.model.generate([PROMPTS[row]], [PLANS[row]], sampling))
        assert (together.texts[row], together.tokens[row], together.finish[row]) == (
            alone.texts[0],
            alone.tokens[0],
            alone.finish[0],
        )
    assert len(set(together.tokens)) > 1


def test_the_router_speaks_once_per_layer_and_never_while_decoding(world, monkeypatch):
    model, calls, forward = world.model, [], world.model.router.forward
    monkeypatch.setattr(
        model.router,
        "forward",
        lambda pooled, layer, team: calls.append(layer) or forward(pooled, layer, team),
    )
    generation = model.generate(PROMPTS, None, Sampling(6))
    assert calls == list(range(LAYERS))
    last_of(generation)
    last_of(model.generate(PROMPTS, PLANS, Sampling(6)))
    assert calls == list(range(LAYERS))


def test_routed_in_the_prefill_is_routed_beforehand(world):
    generation = world.model.generate(PROMPTS, None, Sampling(6))
    routed = [world.model.route(p) for p in PROMPTS]
    assert all(a.close_to(b, atol=1e-5) for a, b in zip(generation.plans, routed))
    assert (
        last_of(generation).tokens
        == last_of(world.model.generate(PROMPTS, routed, Sampling(6))).tokens
    )


# -- two users ------------------------------------------------------------------------------------


def test_two_threads_with_opposite_plans_are_each_alone(model):
    plans = [one_hot("task/define"), RoutingPlan.off(LAYOUT)]

    def run(i):
        sampling = Sampling(8, temperature=0.8, seed=i)
        return last_of(model.generate([PROMPTS[1]], [plans[i]], sampling)).tokens

    want, wrong, both = [run(0), run(1)], [], threading.Barrier(2)

    def repeat(i):
        both.wait()
        wrong.extend(i for _ in range(6) if run(i) != want[i])

    in_threads(2, repeat)
    assert not wrong and want[0] != want[1]


def test_two_generations_interleaved_in_one_thread(model):
    want = [last_of(model.generate([PROMPTS[i]], [PLANS[i]], Sampling(6))).tokens for i in (0, 1)]
    steps = list(zip(*(model.generate([PROMPTS[i]], [PLANS[i]], Sampling(6)) for i in (0, 1))))
    n = [min(len(steps), len(w[0])) for w in want]
    assert [steps[-1][i].tokens[0][: n[i]] for i in (0, 1)] == [want[i][0][: n[i]] for i in (0, 1)]


def test_between_steps_the_model_is_free(llama):
    generation = iter(llama.model.generate(PROMPTS, PLANS, Sampling(6)))
    next(generation)
    assert _mixing.get() is None and _entered.get() is None
    want = reference_logits(llama.base(), llama.model, PROMPTS[0])
    assert torch.equal(reference_logits(llama.model.base, llama.model, PROMPTS[0]), want)


def test_an_answer_given_up_leaves_no_trace(model):
    want = last_of(model.generate(PROMPTS, PLANS, Sampling(6))).tokens
    iterator = iter(model.generate(PROMPTS, PLANS[::-1], Sampling(6)))
    next(iterator), next(iterator)
    iterator.close()
    assert last_of(model.generate(PROMPTS, PLANS, Sampling(6))).tokens == want


def test_a_generation_is_decoded_once(model):
    generation = model.generate(PROMPTS[:1], None, Sampling(3))
    last_of(generation)
    with pytest.raises(RuntimeError, match="call generate again"):
        next(iter(generation))


# -- steps ----------------------------------------------------------------------------------------


def test_steps_grow_by_one_token_until_the_limit(model, monkeypatch):
    scripted(monkeypatch, [[10, 11, 12, 13], [20], [30, 31], []])
    steps = list(model.generate(PROMPTS, PLANS, Sampling(3)))
    assert [s.tokens for s in steps] == [
        ((10,), (20,), (30,), ()),
        ((10, 11), (20,), (30, 31), ()),
        ((10, 11, 12), (20,), (30, 31), ()),
    ]
    assert [s.finish for s in steps] == [
        (None, None, None, "stop"),
        (None, "stop", None, "stop"),
        ("length", "stop", "stop", "stop"),
    ]


def test_every_token_that_ends_a_turn_ends_it(model, monkeypatch):
    assert model.tokenizer.eos_token_id in end_tokens(model)
    monkeypatch.setattr(model.base.generation_config, "eos_token_id", [2, 17])
    scripted(monkeypatch, [[10, 17, 11]])
    last = last_of(model.generate(PROMPTS[:1], None, Sampling(9)))
    assert last.tokens == ((10,),) and last.finish == ("stop",)


def test_a_character_is_held_back_until_all_its_bytes_are_there(model, monkeypatch):
    tokens = encode_text(model.tokenizer, " a🙂ß!")
    scripted(monkeypatch, [tokens])
    texts = [s.texts[0] for s in model.generate(PROMPTS[:1], None, Sampling(30))]
    assert texts == ["a", "a", "a", "a", "a🙂", "a🙂", "a🙂ß", "a🙂ß!", "a🙂ß!"]


def test_special_tokens_are_not_shown(model, monkeypatch):
    scripted(
        monkeypatch,
        [[*encode_text(model.tokenizer, "yes"), 1, *encode_text(model.tokenizer, " no")]],
    )
    assert last_of(model.generate(PROMPTS[:1], None, Sampling(30))).texts == ("yes no",)


# -- sampling -------------------------------------------------------------------------------------


def test_a_seed_says_it_all(model):
    def run(seed):
        sampling = Sampling(8, temperature=1.2, seed=seed)
        return last_of(model.generate(PROMPTS, PLANS, sampling)).tokens

    first = run(5)
    torch.manual_seed(999)  # the global random stream is not its business
    assert run(5) == first and run(6) != first


def test_greedy_has_no_use_for_a_seed(model):
    a, b = (last_of(model.generate(PROMPTS, PLANS, Sampling(6, seed=s))).tokens for s in (1, 2))
    assert (
        a
        == b
        == last_of(model.generate(PROMPTS, PLANS, Sampling(6, temperature=1.0, top_p=1e-9))).tokens
    )
    assert (
        a == last_of(model.generate(PROMPTS, PLANS, Sampling(6, temperature=0.01, seed=7))).tokens
    )


NINE = Prompt((9,), 0, 1)
"""A prompt of one token."""


def draws(sampling, logits, prompt=NINE, tokens=()):
    choose = Chooser(sampling, [prompt])
    return [choose(torch.tensor([logits]), [list(tokens)])[0] for _ in range(400)]


def test_top_p_keeps_the_nucleus():
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3, *[1e-9] * 6]).log().tolist()
    assert set(draws(Sampling(temperature=1, top_p=0.7), logits)) == {1, 3}
    assert set(draws(Sampling(temperature=1), logits)) == {0, 1, 2, 3}
    share = draws(Sampling(temperature=1), logits).count(1) / 400
    assert abs(share - 0.5) < 0.08
    assert abs(draws(Sampling(temperature=2), logits).count(1) / 400 - 0.5**0.5 / 1.868) < 0.08


def test_repetition_penalty_counts_what_was_typed_and_answered_alone():
    logits = [0.0, 1.5, 0.0, 2.0, -1.0, 0.0]
    penalised = Sampling(repetition_penalty=2)
    typed, framed = (
        Prompt((5, 3, 5), 1, 2),
        Prompt((3, 5, 3), 1, 2),
    )  # token 3 as a word, token 3 as template
    assert draws(Sampling(), logits, typed)[0] == 3
    assert draws(penalised, logits, typed)[0] == 1 and draws(penalised, logits, framed)[0] == 3
    assert draws(penalised, logits, framed, [3])[0] == 1


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"max_new_tokens": 0}, "between 1 and"),
        ({"max_new_tokens": MAX_NEW_TOKENS + 1}, "between 1 and"),
        ({"max_new_tokens": 1.5}, "a whole number"),
        ({"max_new_tokens": None}, "a whole number"),
        ({"max_new_tokens": float("nan")}, "whole number"),
        ({"max_new_tokens": float("inf")}, "whole number"),
        ({"temperature": -0.1}, "or between 0.01 and 2"),
        ({"temperature": 2.1}, "or between"),
        ({"temperature": float("nan")}, "or between"),
        ({"temperature": 1e-30}, "or between"),
        ({"temperature": "1"}, "must be a number"),
        ({"top_p": 0}, "above 0"),
        ({"top_p": 1.1}, "at most 1"),
        ({"top_p": float("nan")}, "above 0"),
        ({"top_p": None}, "must be a number"),
        ({"seed": -1}, "from 0 up"),
        ({"seed": 2**63}, "from 0 up"),
        ({"seed": 1.5}, "a whole number"),
        ({"seed": "x"}, "whole number"),
        ({"repetition_penalty": 0.9}, "between 1 and 2"),
        ({"repetition_penalty": float("inf")}, "between 1 and 2"),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(SamplingError, match=sentence):
        Sampling(**settings)


def test_whole_numbers_and_fractions_mean_the_same(model):
    """transformers refuses a temperature of 1 where it wants 1.0; a slider gives 3.0 tokens."""
    a = last_of(
        model.generate(
            PROMPTS[:1],
            None,
            Sampling(3.0, temperature=1, top_p=0.9, repetition_penalty=2, seed=2**63 - 1),
        )
    )
    b = last_of(model.generate(PROMPTS[:1], None, Sampling(3, 1.0, 0.9, 2**63 - 1, 2.0)))
    assert a.tokens == b.tokens and len(a.tokens[0]) <= 3


def test_what_is_longer_than_the_base_reads_is_refused_and_what_fills_it_is_answered(
    model, monkeypatch
):
    plan, rows = model.route(PROMPTS[0]), [PROMPTS[0]]
    read = len(model.encode(PROMPTS[0]).ids)
    monkeypatch.setattr(model.base.config, "max_position_embeddings", read + 5)
    filled = model.answer(PROMPTS[0], sampling=Sampling(5))
    assert len(filled.answer_tokens) == 5 and model.score(PROMPTS[0], "four", [plan]).shape[1] <= 5
    batching = Batching(model, 1)
    for ask in (
        lambda: model.answer(PROMPTS[0], sampling=Sampling(6)),
        lambda: model.generate(rows, [plan], Sampling(6)),
        lambda: batching.add(PROMPTS[0], plan, Sampling(6)),
        lambda: model.score(PROMPTS[0], "an answer that is longer than that", [plan]),
    ):
        with pytest.raises(PromptError, match=f"more than the {read + 5} that this base reads"):
            ask()
    monkeypatch.setattr(model.base.config, "max_position_embeddings", read)
    with pytest.raises(PromptError, match=f"shorten it to at most {read - 1}"):
        model.route(PROMPTS[0])
