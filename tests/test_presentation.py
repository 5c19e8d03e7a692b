"""What a model says of itself: read from a description, kept in atmoe.json, neutral otherwise."""

import hashlib
import json
from dataclasses import replace

import pytest
from conftest import ASSETS

from atmoe.data.description import MEDICAL, Description
from atmoe.errors import AssetError, DataError
from atmoe.mixture.config import CONFIG, digest_of, parsed, write_config
from atmoe.mixture.replacing import read_config
from atmoe.presentation import Page, page_of

TARGETS = ("diet", "diet/vegan", "diet/any")
OWN = {
    "title": "Kitchen",
    "ask": "Ask for a recipe",
    "examples": ["How do I bake bread?"],
    "presets": {"Vegan": {"diet/vegan": 80}, "No diet": {"diet": False}},
}


def test_a_bare_off_of_yaml_and_a_share_are_read():
    page = page_of(OWN, TARGETS)
    assert page.presets == {"Vegan": {"diet/vegan": 80.0}, "No diet": {"diet": "off"}}
    assert page_of(page.to_dict(), TARGETS) == page and page_of({}, TARGETS) == Page()
    assert Page().to_dict() == {}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "page"),
        ({"titel": "x"}, "page.titel"),
        ({"title": " "}, "page.title"),
        ({"title": "x" * 61}, "page.title"),
        ({"warning": 3}, "page.warning"),
        ({"examples": "one"}, "page.examples"),
        ({"examples": [""]}, "page.examples.0"),
        ({"presets": {"A": {"diet": 101}}}, "page.presets.A.diet"),
        ({"presets": {"A": {"diet": "on"}}}, "page.presets.A.diet"),
        ({"presets": {"A": {"diet": float("nan")}}}, "page.presets.A.diet"),
        ({"presets": {"A": {"diet/fish": 3}}}, "sets 'diet/fish', which there is not"),
    ],
)
def test_what_is_none_is_named_in_a_description_and_in_a_model(tmp_path, value, named):
    with pytest.raises(ValueError, match=named):
        page_of(value, TARGETS)
    described = {"groups": {"diet": ["vegan", "any"]}, "page": value}
    (tmp_path / "own.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=named):
        Description.load(tmp_path / "own.json")
    config = json.loads((ASSETS / CONFIG).read_text()) | {"page": value}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(AssetError):
        parsed(tmp_path / CONFIG)


def test_the_shipped_model_says_what_its_description_says():
    info, _ = read_config(ASSETS)
    assert info.page == Description.load(MEDICAL).page != Page()


def test_other_words_make_no_other_model(tmp_path):
    info, layout, hashes = parsed(ASSETS / CONFIG)
    without = {k: v for k, v in json.loads((ASSETS / CONFIG).read_text()).items() if k != "page"}
    plain = (json.dumps(without, indent=1) + "\n").encode()
    assert info.sha256 == hashlib.sha256(plain).hexdigest() == digest_of(plain)
    write_config(tmp_path / CONFIG, [ASSETS], layout, replace(info, page=Page(title="Another")))
    again, _, same = parsed(tmp_path / CONFIG)
    assert again.sha256 == info.sha256 and again.page.title == "Another" and same == hashes
    write_config(tmp_path / CONFIG, [ASSETS], layout, replace(info, language="de"))
    assert parsed(tmp_path / CONFIG)[0].sha256 != info.sha256
