"""Every unit of the table is one where it follows a number, in each way that it is written."""

import re
from itertools import product

import pytest

from atmoe.flags.kept_to import findings
from atmoe.flags.numbers import numbers_of, table


def written(form: str) -> list[str]:
    """A form with and without each letter that may be left out ("packs?": packs, pack)."""
    parts = re.findall(r"(.)(\?)?", form)
    choices = [(letter, "") if optional else (letter,) for letter, optional in parts]
    return ["".join(word) for word in product(*choices)]


FORMS = [
    (unit, word) for unit, all_ in table()["units"].items() for f in all_ for word in written(f)
]


@pytest.mark.parametrize(("unit", "word"), FORMS)
def test_a_unit_is_read_after_its_number(unit, word):
    assert word.replace(" ", "").isalpha() or word == "%"  # else a mark that no text has
    for text in (f"About 12 {word}.", f"About 12-{word} then"):
        [number] = numbers_of(text)
        assert number.unit == unit, text


def test_no_way_of_writing_is_two_units():
    assert len({word for _, word in FORMS}) == len(FORMS)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "He smokes 12 packs a day.",
            "The answer says 12 packs; the source has twelve cigarettes.",
        ),
        ("Smokes 12 cigarettes.", None),
        ("Pressure 120 mm.", "The answer says 120 mm; the source has 120 mm Hg."),
        ("Pressure 120 mmHg.", None),
    ],
)
def test_a_unit_is_held_against_the_sources_own(said, expected):
    prompt = (
        "Doctor: Do you smoke?\nPatient: Yes, twelve cigarettes a day.\n"
        "Doctor: Your pressure is 120 mm Hg.\nPatient: I see."
    )
    assert [f.sentence for f in findings(prompt, said)] == ([expected] if expected else [])
