"""The bootstrap: its middle is the plain mean, diseases are drawn whole, differences paired."""

from dataclasses import replace

import pytest
import torch

from atmoe.cli.measuring import between, over
from atmoe.data import Example
from atmoe.study.bootstrap import Losses, rate

generator = torch.Generator().manual_seed(5)


def example(i: int, task: str, disease: str) -> Example:
    return Example(
        id=str(i),
        prompt="p",
        answer="a",
        labels={"task": task, "field": "heart"},
        disease=disease,
        source="s",
        kind="k",
    )


EXAMPLES = [example(i, ("define", "treat")[i % 3 == 0], f"d{i // 2}") for i in range(120)]
TOKENS = (20 + 30 * torch.rand(120, generator=generator)).int().tolist()
ROUTER = [t * (2 + x) for t, x in zip(TOKENS, torch.randn(120, generator=generator).tolist())]


def table(**losses) -> dict:
    return Losses({"router": ROUTER, **losses}, TOKENS, EXAMPLES, ("task", "field")).summary()


def test_macro_is_the_mean_over_tasks_of_nats_per_token():
    result = table()["router"]
    for task in ("define", "treat"):
        rows = [i for i, e in enumerate(EXAMPLES) if e.labels["task"] == task]
        assert result["tasks"][task] == pytest.approx(
            sum(ROUTER[i] for i in rows) / sum(TOKENS[i] for i in rows)
        )
    assert result["macro"] == pytest.approx(sum(result["tasks"].values()) / 2)
    assert result["macro_specialties"] == pytest.approx(sum(ROUTER) / sum(TOKENS))


def test_the_interval_is_about_the_standard_error_of_disease_means():
    low, high = table()["router"]["interval"]
    assert low < table()["router"]["macro"] < high
    assert (
        3.0 < (high - low) / (1 / 120**0.5) < 5.5
    )  # ±1.96 standard errors of a spread of about 1, two tasks


def test_a_constant_difference_has_no_width_and_equal_diseases_no_interval():
    worse = table(worse=[x + 0.25 * t for x, t in zip(ROUTER, TOKENS)])["worse"]["minus_router"]
    assert worse["mean"] == pytest.approx(0.25) and worse["interval"] == pytest.approx([0.25, 0.25])
    flat = table(flat=[3.0 * t for t in TOKENS])["flat"]
    assert flat["interval"] == pytest.approx([3.0, 3.0])


def test_one_disease_cannot_be_trusted_more_for_having_many_rows():
    one = Losses(
        {"router": ROUTER},
        TOKENS,
        [example(i, "define", f"d{i % 4}") for i in range(120)],
        ("task",),
    ).summary()
    apart = Losses(
        {"router": ROUTER}, TOKENS, [example(i, "define", f"d{i}") for i in range(120)], ("task",)
    ).summary()
    assert len(one["router"]["interval"]) == 2 and one["router"]["macro"] == pytest.approx(
        apart["router"]["macro"]
    )
    # four diseases, each of one loss
    repeated = [ROUTER[i % 4] / TOKENS[i % 4] * t for i, t in enumerate(TOKENS)]

    def width(examples):
        losses = Losses({"router": repeated}, TOKENS, examples, ("task",))
        low, high = losses.summary()["router"]["interval"]
        return high - low

    assert width([example(i, "define", f"d{i % 4}") for i in range(120)]) > 3 * width(
        [example(i, "define", f"d{i}") for i in range(120)]
    )


def test_one_disease_has_no_interval_and_unlabelled_ones_are_not_counted():
    examples = [example(i, "define", "d") for i in range(119)]
    examples += [replace(example(119, "define", "other"), labels={"field": "heart"})]
    losses = Losses({"router": ROUTER, "base": ROUTER}, TOKENS, examples, ("task", "field"))
    assert losses.topics == 1
    told = losses.summary()["base"]
    assert told["interval"] is None and told["minus_router"] == {"mean": 0.0, "interval": None}
    assert rate([1.0, 0.0], ["d", "d"]) == {
        "mean": 0.5,
        "interval": None,
        "questions": 2,
        "topics": 1,
    }
    assert rate([1.0, 0.0], ["d", "e"])["interval"] == [0.0, 1.0]


def test_where_intervals_rest_on_few_topics_it_is_said():
    assert over(1) == "no intervals over one topic" and between(None) == "–"
    assert "over 3 topics, so few that they are too narrow" in over(3)
    assert over(10) == "intervals over 10 topics"


def test_the_better_gain_is_kept():
    better, worse = [x - t for x, t in zip(ROUTER, TOKENS)], [x + t for x, t in zip(ROUTER, TOKENS)]
    losses = {
        "router": ROUTER,
        "task_expert": worse,
        "task_expert@1": better,
        "field_expert": better,
        "field_expert@1": worse,
    }
    kept = (
        Losses(losses, TOKENS, EXAMPLES, ("task", "field")).keeping_better(("task", "field")).losses
    )
    assert kept == {"router": ROUTER, "task_expert": better, "field_expert": better}
