"""The cases: how they are read and held against answers."""

import json

import pytest

from app.ask.menu import ELSEWHERE, menu
from app.cases import Case, read_cases
from atmoe.errors import AssetError

GOUT = {
    "label": "Gout: cause",
    "question": "What causes gout?",
    "holds": "names uric acid",
    "must": [r"uric acid|urate"],
    "must_not": [r"\bvirus"],
}


MODEL = "a" * 64


def write(folder, cases, model=MODEL):
    data = {"model": {"sha256": model}, "cases": cases}
    text = cases if isinstance(cases, str) else json.dumps(data)
    (folder / "cases.json").write_text(text, "utf-8")
    return folder


def test_cases_lie_beside_the_model_or_there_are_none(tmp_path):
    assert read_cases(tmp_path, MODEL) == ()
    [case] = read_cases(write(tmp_path, [GOUT]), MODEL)
    assert case == Case(
        "Gout: cause", "What causes gout?", "names uric acid", ("uric acid|urate",), (r"\bvirus",)
    )
    [failure] = read_cases(write(tmp_path, [GOUT | {"failure": True}]), MODEL)
    assert failure.failure and not case.failure


def test_cases_of_another_model_are_not_this_ones(tmp_path, caplog):
    assert read_cases(write(tmp_path, [GOUT], "b" * 64), MODEL) == ()
    assert f"is of another model ({'b' * 12}…)" in caplog.text and MODEL in caplog.text
    assert read_cases(write(tmp_path, json.dumps([GOUT])), MODEL) == ()  # as they were written once
    assert "does not say of which model it is" in caplog.text
    for model in (3, None):
        with pytest.raises(AssetError, match="no list of cases"):
            read_cases(write(tmp_path, [GOUT], model), MODEL)


def test_an_answer_is_held_against_every_pattern():
    case = Case("", "", "", ("uric acid", "joint"), (r"\bvirus",))
    assert case.faults("Uric Acid crystals in a JOINT.") == []
    assert case.faults("Uric acid.") == ["lacks 'joint'"]
    assert case.faults("A virus.") == ["lacks 'uric acid'", "lacks 'joint'", r"holds '\\bvirus'"]


@pytest.mark.parametrize(
    "cases",
    [
        "{",
        {"label": "x"},
        [3],
        [{k: v for k, v in GOUT.items() if k != "holds"}],
        [GOUT | {"must": []}],
        [GOUT | {"must": ["("]}],
        [GOUT | {"must_not": [3]}],
        [GOUT | {"question": ""}],
    ],
)
def test_what_is_no_list_of_cases_is_named(tmp_path, cases):
    with pytest.raises(AssetError, match=r"cases\.json is no list of cases"):
        read_cases(write(tmp_path, cases), MODEL)


def test_the_menu_tells_failures_from_the_others_and_reads_no_text_as_markup():
    good = Case("<b>", 'A ${x} {{y}} `z` "q"?', "names it", ("x",))
    bad = Case("Bad", "Why?", "invents a drug", ("x",), failure=True)
    html = menu([bad, good])
    assert "<b><b>" not in html and "${" not in html and "{{" not in html and "`" not in html
    assert html.index("Acceptable answers") < html.index("A &#36;") < html.index("Honest failures")
    assert html.index("Honest failures") < html.index("An honest failure: it invents a drug.")
    assert "Honest failures" not in menu([good])
    assert html.count(ELSEWHERE) == 1 and ELSEWHERE not in menu([], ["Why?"])
