"""States and letters, stacked on topics that neither was fitted on."""

from __future__ import annotations

import pytest
import torch
from conftest import LAYOUT

from atmoe.data import Example
from atmoe.routing.planner import Planner
from atmoe.train.fitting import fit_planner, kept_out
from atmoe.train.settings import RouterSettings
from atmoe.train.spelling import fit_both

GROUP, EXPERTS = LAYOUT.groups[0]
HIDDEN, TOPICS = 8, 240
SETTINGS = RouterSettings(fit_steps=200, fit_decays=(0.1,), width=8, pieces=4096)
ENDS = ("carditis", "neuropathy", "carcinoma")


def examples(spelt: bool) -> list[Example]:
    """Topics with names of their own, whose ends tell the label, or do not."""
    made = []
    for i in range(TOPICS):
        expert = i % len(EXPERTS)
        end = ENDS[expert if spelt else i // 7 % len(EXPERTS)]
        name = f"{chr(97 + i % 26)}{chr(97 + i // 26)}x{end}"
        labels = {GROUP: EXPERTS[expert]}
        made.append(Example(str(i), f"What is {name}?", "-", labels, name, "own", "own"))
    return made


def states(told: float) -> torch.Tensor:
    """What a planner reads: noise, and as much of the label."""
    torch.manual_seed(3)
    read = torch.randn(TOPICS, 1, HIDDEN)
    for i in range(TOPICS):
        read[i, 0, i % len(EXPERTS)] += told
    return read


def right(planner: Planner, read: torch.Tensor, rows: list[Example]) -> float:
    """Of topics kept out of the fit."""
    with torch.no_grad():
        asked = planner(read, [e.prompt for e in rows])[:, LAYOUT.members(GROUP)].argmax(1)
    return sum(EXPERTS[a] == e.labels[GROUP] for a, e in zip(asked.tolist(), rows)) / len(rows)


def fitted(told: float, spelt: bool, letters: bool = True) -> tuple[float, dict]:
    """Of topics that nothing was fitted on: how many are read right; and the report."""
    rows, read = examples(spelt), states(told)
    seen = torch.tensor([int(e.id) % 5 > 0 for e in rows])
    train = [e for e, yes in zip(rows, seen) if yes]
    assert kept_out(train).any() and not kept_out(train).all()
    planner = Planner(LAYOUT, HIDDEN, 1, SETTINGS.width, pieces=SETTINGS.pieces * letters)
    report = fit_both(planner, read[seen], train, SETTINGS)
    others = [e for e, yes in zip(rows, seen) if not yes]
    return right(planner, read[~seen], others), report


def test_names_never_met_are_read_by_how_they_end():
    alone, _ = fitted(told=1.0, spelt=True, letters=False)
    both, report = fitted(told=1.0, spelt=True)
    assert alone < 0.75 and both > 0.95
    of_states, of_letters = report["letters"][GROUP]
    assert of_letters > of_states


def test_letters_that_tell_nothing_count_for_little():
    alone, _ = fitted(told=2.5, spelt=False, letters=False)
    both, report = fitted(told=2.5, spelt=False)
    assert both > alone - 0.05
    of_states, of_letters = report["letters"][GROUP]
    assert of_letters < 0.3 * of_states


def test_without_a_topic_to_keep_out_letters_say_nothing():
    rows = [e for e in examples(True) if not kept_out([e]).any()]
    read = states(1.0)[: len(rows)]
    planner = Planner(LAYOUT, HIDDEN, 1, SETTINGS.width, pieces=SETTINGS.pieces)
    assert "letters" not in fit_both(planner, read, rows, SETTINGS)
    plain = Planner(LAYOUT, HIDDEN, 1, SETTINGS.width)
    fit_planner(plain, read, rows, SETTINGS)
    texts = [e.prompt for e in rows]
    with torch.no_grad():
        assert torch.equal(planner(read, texts), plain(read, texts))


def test_what_counts_is_folded_into_the_heads():
    """The planner's logits are α·states + β·letters + c of heads fitted apart."""
    rows, read = examples(True), states(1.0)
    planner = Planner(LAYOUT, HIDDEN, 1, SETTINGS.width, pieces=SETTINGS.pieces)
    report = fit_both(planner, read, rows, SETTINGS)
    plain = Planner(LAYOUT, HIDDEN, 1, SETTINGS.width)
    fit_planner(plain, read, rows, SETTINGS)
    members = LAYOUT.members(GROUP)
    with torch.no_grad():
        mine, theirs = planner.logits(read)[:, members], plain.logits(read)[:, members]
    of_states = report["letters"][GROUP][0]
    apart = mine - of_states * theirs  # the constant, for everybody
    assert apart.std() == pytest.approx(0, abs=2e-3 * float(theirs.abs().max()))
