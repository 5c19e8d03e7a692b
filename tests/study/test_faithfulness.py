"""Metrics of faithfulness, against other implementations or the long way."""

import random
import re
from dataclasses import replace

import pandas as pd
import pytest
from conftest import PROMPTS
from samples import record_of
from tools.reports import faithfulness_table

from atmoe import Sampling
from atmoe.errors import DataError
from atmoe.explanation.measure import explain
from atmoe.explanation.units import without
from atmoe.study.faithfulness import deletion, kendall, orders, sanity, study


def test_kendalls_tau_with_ties():
    assert kendall([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(1) and kendall(
        [1, 2, 3], [3, 2, 1]
    ) == pytest.approx(-1)
    assert kendall([1, 1, 1], [1, 2, 3]) is None
    x, y = (
        [12, 2, 1, 12, 2],
        [1, 4, 7, 1, 0],
    )  # the example in SciPy's documentation, which gives its value
    dx = [(a > b) - (a < b) for i, a in enumerate(x) for b in x[i + 1 :]]
    dy = [(a > b) - (a < b) for i, a in enumerate(y) for b in y[i + 1 :]]
    by_hand = sum(a * b for a, b in zip(dx, dy)) / (sum(map(abs, dx)) * sum(map(abs, dy))) ** 0.5
    assert kendall(x, y) == pytest.approx(by_hand) == pytest.approx(-0.4714045)
    ranks = pd.Series([3, 1, 2]).rank()
    assert kendall(ranks, ranks) == pytest.approx(1)


@pytest.fixture(scope="module")
def explained(worlds):
    model = worlds("llama").model
    record = record_of(model)
    return model, record, explain(model, record)


def test_orders(explained):
    _, _, found = explained
    made = orders(found, 3, random.Random(0))
    names = sorted(u.name for u in found.of("expert"))
    assert all(sorted(order) == names for order in made.values()) and len(made) == 6
    assert [found.unit(n).weight for n in made["weight"]] == sorted(
        (u.weight for u in found.of("expert")), reverse=True
    )
    assert made["effect"] == made["reverse"][::-1]


def test_deletion_metrics_are_what_they_say(explained):
    model, record, found = explained
    got = deletion(model, record, found, 8, random.Random(1))

    def p(plan):
        return model.score(record.prompt, record.answer, [plan]).double().mean().exp().item()

    made = orders(found, 8, random.Random(1))
    names = [u.name for u in found.of("expert")]
    full, top = p(record.plan), (1, 2, 3, 5)
    drop = {
        n: sum(full - p(without(record.plan, tuple(o[:k]))) for k in top) / 4
        for n, o in made.items()
    }
    assert got["comprehensiveness"] == pytest.approx(
        (drop["weight"] - min(drop.values())) / (max(drop.values()) - min(drop.values())), abs=1e-4
    )
    keep = {
        n: sum(
            p(without(record.plan, tuple(x for x in names if x not in made[n][:k]))) - full
            for k in top
        )
        / 4
        for n in ("weight", "effect", "reverse")
    }
    assert got["sufficiency"] == pytest.approx(
        (keep["weight"] - min(keep.values())) / (max(keep.values()) - min(keep.values())), abs=1e-4
    )
    assert 0 <= got["percentile"] <= 100


def test_the_order_by_effect_is_not_beaten_by_its_reverse(explained):
    """Were the weights the effects, the first deletions would hurt most: so the percentile says."""
    model, record, found = explained
    as_weights = replace(found, units=tuple(replace(u, weight=10 + u.effect) for u in found.units))
    worst = replace(found, units=tuple(replace(u, weight=10 - u.effect) for u in found.units))

    def rank(explanation):
        return deletion(model, record, explanation, 20, random.Random(0))["percentile"]

    assert rank(as_weights) > 80 > 30 > rank(worst)


def test_sanity_takes_plans_from_others(explained):
    model, record, found = explained
    other = record_of(model, prompt=PROMPTS[1])
    got = sanity(model, [record, other], [found, explain(model, other)])
    assert set(got) == {"explains_worse", "less_likely"}
    assert sanity(model, [record, record], [found, found]) == {
        "explains_worse": 0,
        "less_likely": 0,
    }


def test_the_whole_study(model):
    report = study(model, PROMPTS, random_orders=4, sampling=Sampling(max_new_tokens=6), batch=3)
    assert report["prompts"] == len(PROMPTS) and report["shapley_error"] < 1e-4
    assert sum(report["verdicts"].values()) == len(PROMPTS) and set(
        report["top_expert_agrees"]
    ) == {"task", "reader", "all"}
    assert set(report["kendall"]["weight"]) == {"group", "expert", "band"}
    again = study(model, PROMPTS, random_orders=4, sampling=Sampling(max_new_tokens=6), batch=3)
    assert again | {"seconds": 0} == report | {"seconds": 0}
    with pytest.raises(DataError, match="at least two prompts"):
        study(model, PROMPTS[:1])
    rows = faithfulness_table(report).splitlines()[2:]
    assert (
        "| the expert with most weight is the one whose removal costs most, all groups | "
        f"{report['top_expert_agrees']['all']:.0%} |" in rows
    )
    assert (
        "| Kendall's τ-b of weight and effect, experts, pooled | "
        f"{report['kendall']['weight']['expert']:+.2f} |" in rows
    )
    assert sum(int(n) for n in re.findall(r"” (\d+)", rows[-1])) == report["prompts"]
