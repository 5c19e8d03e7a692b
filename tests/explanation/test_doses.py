"""Five doses in one batch are the five steerings alone."""

import pytest
from conftest import LAYOUT, PROMPTS

from atmoe import AtMoeError, Layout, Override, Sampling, State, Steering
from atmoe.explanation.doses import DOSES, dosing, targets

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
