"""How events are run: which of them wait in Gradio's queue, and how many at once."""

from __future__ import annotations

from typing import Any

AT_ONCE = 512
"""Of each kind of event, so many run at once for Gradio, each on a thread that mostly sleeps: the
worker is who lets them wait, for it can say how many are before them. Gradio's own queue would
refuse them without a word of ours."""
QUIET: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "show_progress_on": [],
}
"""Of every event: no endpoint of its own, no spinner. Gradio would tell each of an event's outputs,
and of all events before, at each word of an answer how far it is, though no spinner is shown: more
work for the browser than all else."""
UNQUEUED: dict[str, Any] = {**QUIET, "queue": False}
"""Of events that are over at once."""
LAST_WINS: dict[str, Any] = {**UNQUEUED, "trigger_mode": "always_last"}
"""The same, where of several on their way only the last counts."""


def streaming(name: str) -> dict[str, Any]:
    """Of an event that goes on for a while.

    Args:
        name: events of one name share the places.
    """
    return {
        **QUIET,
        "trigger_mode": "always_last",
        "concurrency_limit": AT_ONCE,
        "concurrency_id": name,
    }
