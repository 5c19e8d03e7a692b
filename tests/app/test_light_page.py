"""What the page costs the browser that shows it."""

import pytest
from conftest import PAGE

from app.assets import FOLDER
from app.page import build


@pytest.fixture(scope="module")
def events(worlds) -> list[dict]:
    """All events of the page, as the browser is told of them."""
    return build(worlds(PAGE).build()).config["dependencies"]


def test_no_event_tells_its_status_to_parts_that_show_none(events):
    """Gradio would copy all that each output of each event holds, at each word of an answer."""
    told = [event for event in events if event["backend_fn"] and event["show_progress_on"] != []]
    assert len(events) > 50
    assert {event["api_visibility"] for event in told} <= {"public"}, told


def test_style_sheets_ask_for_nothing_inside():
    """:has() has the whole page styled anew at each change: marks.js tells them instead."""
    sheets = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.css")}
    assert len(sheets) > 5
    assert [name for name, text in sheets.items() if ":has(" in text] == []
