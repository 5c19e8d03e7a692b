"""Five doses in one batch are the five steerings alone."""

from dataclasses import replace

import pytest
from conftest import LAYOUT, PROMPTS

from atmoe import AtMoeError, Layout, Override, Sampling, State, Steering
from atmoe.explanation.doses import DOSES, called_in, dosing, targets

SAMPLING = Sampling(10, repetition_penalty=1.1)


@pytest.mark.parametrize("target", ["task", "reader/lay"])
def test_each_dose_is_that_steering_alone(model, target):
    for prompt in PROMPTS[:3]:
        record = model.answer(prompt, Steering(), SAMPLING)
        *growing, last = dosing(model, record, target)
        alone = [
            model.answer(prompt, Steering((Override(target, State.FIXED, dose),)), SAMPLING)
            for dose in DOSES
        ]
        assert last.answers == tuple(other.answer for other in alone) and last.ended
        assert (
            not any(response.ended or response.logp for response in growing)
            and growing[-1].answers == last.answers
        )
        if last.logp is not None:
            logp = [
                float(model.score(prompt, record.answer, [other.plan]).mean()) for other in alone
            ]
            assert last.logp == pytest.approx(logp, abs=1e-5)


def test_an_expert_of_a_group_that_takes_no_part_calls_it_in_at_any_dose(model):
    """At one and the same share; the others' are the router's at each dose."""
    plan = model.route(PROMPTS[0])
    groups = plan.group_shares.clone()
    groups[:, 2] = 0.0
    absent = replace(plan, group_shares=groups / groups.sum(1, keepdim=True))
    steered = [
        Steering((Override("reader/lay", State.FIXED, dose),)).apply(absent) for dose in DOSES
    ]
    shares = [float(plan.group_shares[0, 2]) for plan in steered]
    assert shares == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert called_in(absent, "reader/lay")
    assert not called_in(absent, "task/treat") and not called_in(absent, "reader")


def test_only_what_leaves_something_to_take_the_rest_is_offered(model):
    assert targets(LAYOUT) == (
        "task",
        "field",
        "reader",
        "task/define",
        "task/treat",
        "task/warn",
        "reader/lay",
        "reader/expert",
    )
    assert targets(Layout.of(2, {"only": ("a", "b")})) == ("only/a", "only/b")
    with pytest.raises(AtMoeError, match="nothing is left"):
        next(dosing(model, model.answer(PROMPTS[0], Steering(), SAMPLING), "field/heart"))
