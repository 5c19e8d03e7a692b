"""What the page shows of a job while it runs, and at its end."""

import gradio as gr
import pytest
from gradio.blocks import postprocess_update_dict

from app.following import FIRST, behind, stream
from app.job import Behind, Job, Kind
from app.session import Slot
from app.worker import Worker
from atmoe import AtMoeError


def told(steps, blank=None):
    """All updates of a job; each step is an update."""
    slot = Slot(job=Job(steps))
    say, end = (lambda text: {"note": text}), (lambda step: {"note": f"ended at {step}"})
    return list(stream(Worker(), slot, slot.job, say, dict, end, blank=blank))


def test_the_last_update_says_again_all_that_was_said():
    # Of updates that reach a busy browser together Gradio may show the last one only.
    steps = [{"text": "a"}, {"text": "a b", "chart": 1}, {"text": "a b c"}]
    updates = told(iter(steps), {"old": 0})
    assert updates[:-1] == steps
    last = {"old": 0, "text": "a b c", "chart": 1, "note": f"ended at {steps[-1]}"}
    assert updates[-1] == last


def test_what_was_said_is_whole_though_gradio_takes_the_value_out_of_an_update():
    slot = Slot(job=Job(iter([{"button": gr.update(value="a", visible=True)}, {"text": "b"}])))
    updates = stream(Worker(), slot, slot.job, dict, dict, lambda _: {"note": "ended"})
    for update in updates:
        whole = {part: dict(new) if isinstance(new, dict) else new for part, new in update.items()}
        if "button" in update:
            postprocess_update_dict(gr.Button(), update["button"])
    assert whole == {
        "button": {"value": "a", "visible": True, "__type__": "update"},
        "text": "b",
        "note": "ended",
    }


@pytest.mark.parametrize("error", [AtMoeError("The disk is full."), RuntimeError("secret")])
def test_an_error_is_the_last_word_and_takes_nothing_away(error):
    def steps():
        yield {"text": "a"}
        raise error

    last = told(steps())[-1]
    assert last["text"] == "a"
    assert ("disk is full" in last["note"]) == isinstance(error, AtMoeError)
    assert "secret" not in last["note"]


def test_what_no_longer_counts_says_nothing_more():
    slot = Slot()
    job = Job(iter([{"text": "a"}, {"text": "b"}]))
    slot.job = job
    updates = stream(Worker(), slot, job, dict, dict, lambda _: {"note": "ended"})
    assert next(updates) == {"text": "a"}
    slot.job = None
    assert list(updates) == []


def test_what_is_made_first_is_told_and_taken_back_when_it_goes_on():
    assert set(FIRST) == set(Kind) and behind(None) == ""
    job = Job(iter([{"text": "a"}]))
    slot = Slot(job=job)
    for what in (Kind.UNASKED, None):
        job._queue.put(("waiting", Behind(what)))
    updates = list(
        stream(Worker(), slot, job, lambda text: {"note": text}, dict, lambda _: {"note": "ended"})
    )
    notes = [update["note"] for update in updates if "note" in update]
    assert notes == [
        "Waiting while why an answer came out so is being measured; that goes first.",
        "",
        "ended",
    ]
