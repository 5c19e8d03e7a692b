"""Metrics of faithfulness, against other implementations or the long way."""

import json
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
from atmoe.study.deletion import deletion, orders
from atmoe.study.faithfulness import (
    Judged,
    following,
    judged,
    kendall,
    study,
    summary,
    with_weights_of,
)


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
    record = replace(record, explanation=found)
    other = record_of(model, prompt=PROMPTS[1])
    other = replace(other, explanation=explain(model, other))

    def measured(*records):
        rows = [
            judged(model, r, plan, 2, random.Random(0))
            for r, plan in zip(records, following(records))
        ]
        assert [Judged.from_dict(json.loads(json.dumps(r.to_dict()))).to_dict() for r in rows] == [
            row.to_dict() for row in rows
        ]
        return rows

    rows = measured(record, other)
    for row, plan in zip(rows, (other.plan, record.plan)):
        own, swapped = (
            model.score(row.record.prompt, row.record.answer, [p]).mean()
            for p in (row.record.plan, plan)
        )
        assert row.less_likely == (swapped < own)
    said = summary(rows)["sanity"]
    assert said["less_likely"] == sum(row.less_likely for row in rows) / 2
    assert summary(measured(record, record))["sanity"] == {"explains_worse": 0, "less_likely": 0}
    (alone,) = measured(record)
    assert alone.less_likely is None and summary([alone, alone])["sanity"]["less_likely"] is None
    with pytest.raises(DataError, match="at least two prompts"):
        summary([alone])


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


def test_weights_of_another_plan_beside_the_effects_that_were_measured(worlds):
    model = worlds("llama").planned()
    records = [model.answer(p, sampling=Sampling(max_new_tokens=5)) for p in PROMPTS[:2]]
    own, other = (explain(model, r) for r in records)
    mixed = with_weights_of(own, records[1].plan)
    assert [u.weight for u in mixed.units] == [u.weight for u in other.units]
    assert [u.effect for u in mixed.units] == [u.effect for u in own.units]


def test_groups_are_held_against_their_exact_shapley_values(explained):
    _, record, found = explained

    def told(explanation):
        row = Judged(replace(record, explanation=explanation), {}, None)
        return summary([row, row])["kendall_shapley"]

    as_values = tuple(
        replace(u, weight=found.shapley[u.name], contribution=-found.shapley[u.name])
        for u in found.of("group")
    )
    effects = [u.effect for u in as_values]
    assert told(replace(found, units=(*as_values, *found.of("expert"), *found.of("band")))) == {
        "weight": pytest.approx(1),
        "contribution": pytest.approx(-1),
        "effect": kendall(effects * 2, [u.weight for u in as_values] * 2),
    }
    assert set(told(replace(found, shapley=None)).values()) == {None}


def test_where_effects_lie_adds_up_and_has_intervals(worlds):
    report = study(worlds("llama").model, PROMPTS, sampling=Sampling(max_new_tokens=6))
    parts = [x for groups in report["effect_by_third"].values() for x in groups.values()]
    assert sum(mean for mean, _, _ in parts) == pytest.approx(1, abs=1e-3)
    assert all(low <= mean <= high for mean, low, high in parts) and len(parts) == 9
    for group, (mean, _, _) in report["late_minus_early"].items():
        late, early = (report["effect_by_third"][t][group][0] for t in ("late", "early"))
        assert mean == pytest.approx(late - early, abs=2e-4)
    assert sum(report["verdicts_shuffled"].values()) == report["prompts"]
    assert report["among_several"]["of"] == 2 * report["prompts"]  # everybody has weight here
    agreeing = report["top_expert_agrees"]["all"] * 2 * report["prompts"]
    assert report["among_several"]["agree"] == pytest.approx(agreeing)
    assert report["team_size"] == 6
