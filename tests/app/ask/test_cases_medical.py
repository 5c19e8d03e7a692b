"""The shipped model's cases, each asked as the page asks: what the menu says of it must be so."""

import pytest
from conftest import ASSETS

from app.cases import read_cases
from app.view import sampling_of
from atmoe import AtMoe
from atmoe.mixture.precision import chosen
from atmoe.mixture.replacing import read_config

CASES = read_cases(ASSETS, read_config(ASSETS)[0].sha256)


def test_seven_are_acceptable_and_two_fail():
    failures = [case for case in CASES if case.failure]
    assert len(CASES) - len(failures) >= 7 and len(failures) == 2
    assert (
        len({case.question for case in CASES}) == len({case.label for case in CASES}) == len(CASES)
    )


@pytest.fixture(scope="module")
def as_the_page_has_it(medical) -> AtMoe:
    """In the precision that `python app.py` takes on this machine: another rounding."""
    return medical if chosen() == "float32" else AtMoe.from_pretrained(ASSETS, None, chosen())


@pytest.mark.parametrize("precision", ["float32", "the page's own"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_answer_is_what_the_menu_says(medical, as_the_page_has_it, case, precision):
    model = medical if precision == "float32" else as_the_page_has_it
    answer = model.answer(case.question, sampling=sampling_of(160, 0, 0)).answer
    assert not case.faults(answer), answer
