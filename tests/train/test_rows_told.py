"""What a training says it was of: the rows that can be read, and no others."""

from dataclasses import replace

import pytest
from test_train import DESCRIBED, EXAMPLES, small_batches  # noqa: F401  # a fixture

from atmoe.data import split
from atmoe.errors import DataError
from atmoe.train import baseline, planning, router, together
from atmoe.train.effects import follow_effects
from atmoe.train.settings import RouterSettings
from atmoe.train.standardised import TrainingRouter
from atmoe.train.team import Team

TRAINING = [e for e in EXAMPLES if split(e) == "train"]
LONG = [replace(e, answer="word " * 600) for e in TRAINING[::4]]
DATA = [*LONG, *(e for e in EXAMPLES if e not in TRAINING[::4])]


def test_every_training_tells_the_rows_that_it_could_read(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(router.loop, "run", lambda **more: {})
    few = RouterSettings(
        instructions=20, fit_steps=5, fit_decays=(0.1,), effect_answers=2, dtype="float32"
    )
    model = llama.planned()
    model.save_pretrained(tmp_path / "model")
    data = (DATA, DESCRIBED)
    reports = [
        planning.train_planner(model, *data, tmp_path / "model", few),
        together.train_together(
            model,
            *data,
            tmp_path / "together",
            together.TogetherSettings(instructions=20, dtype="float32"),
        ),
        baseline.train_xlora(
            model,
            tmp_path / "model",
            str(llama.found.path),
            *data,
            tmp_path / "xlora",
            baseline.XloraSettings(dtype="float32"),
        ),
        router.train_router(model, *data, tmp_path / "model", few),
    ]
    assert {report["stage"] for report in reports} == {"planner", "together", "xlora", "router"}
    told = {report["stage"]: report["training_examples"] for report in reports}
    assert told == dict.fromkeys(told, len(TRAINING) - len(LONG)), told


def test_without_an_answer_that_can_be_read_no_effect_is_measured(llama):
    model, few = llama.planned(), RouterSettings(effect_answers=2)
    router = TrainingRouter(model.router)
    with pytest.raises(DataError, match="None of 8 examples drawn .* could be read; shorten"):
        follow_effects(model, router, LONG, DESCRIBED, few, Team())
