"""The guided minute for first visitors: its button, its words, and the script that shows them.

Everything happens in the browser (assets/app/tour.js): who closed it is remembered there and
nowhere else.
"""

from __future__ import annotations

import json

import gradio as gr

from app.assets import text_of

STEPS = (
    (
        "question",
        "Ask",
        "{ask} and press Enter.",
    ),
    (
        "first",
        "Read",
        "The router's answer appears here, word by word, above what was measured of it. It is "
        "often wrong: a research demo, never advice.",
    ),
    (
        "steer",
        "Steer",
        "Experts answer together, each with a share. Give one a larger share, and your own answer "
        "appears beside the router's.",
    ),
    (
        "tabs",
        "Why",
        "Here stand the shares layer by layer, and what each expert's removal did to the answer. A "
        "share is not an effect: the tabs keep the two apart.",
    ),
)
"""(id of what is spoken of, title, words) of each step; {ask} is the model's own."""
CASES = " “Cases that were checked” holds questions whose answers we read, and some that fail."
"""What the first step says besides, where there are cases."""


def build_tour_button() -> gr.Button:
    """What opens the tour again."""
    return gr.Button("Tour", size="sm", scale=0, min_width=60, elem_id="tour-button")


def wire_tour(page: gr.Blocks, ask: str, with_cases: bool) -> None:
    """Show it to whoever comes for the first time, and on the button.

    Args:
        page: whose.
        ask: what to do with the question box, in the model's words.
        with_cases: it offers cases.
    """
    steps = [dict(zip(("anchor", "title", "words"), step)) for step in STEPS]
    steps[0]["words"] = steps[0]["words"].format(ask=ask) + CASES * with_cases
    source = text_of("tour.js").rstrip().removesuffix(";")
    page.load(None, js=f"() => ({source})({json.dumps(steps)})", api_visibility="private")
