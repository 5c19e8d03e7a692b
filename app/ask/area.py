"""The question box, the settings, and where the two answers stand. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.ask.menu import menu
from app.assets import text_of
from app.cases import Case
from app.desk import AnswerPlace
from app.following import Update
from app.inputs import unrefusing
from app.markup import line, message, notice
from app.steer.desk import UNTOUCHED
from app.view import MAX_TEMPERATURE, MAX_TOKENS, REPETITION_PENALTY
from app.wording import FIRST, SECOND
from atmoe import Sampling
from atmoe.presentation import NEUTRAL, Page

UNASKED = (
    "Ask above: the router shares out weight among named experts, layer by layer, and the answer "
    "given under its shares stands here."
)

WHICH_ANSWER = """<div role="group" aria-label="Which answer is shown">
<button type="button" data-show="router" aria-pressed="true">Router</button>
<button type="button" data-show="yours" aria-pressed="false">Yours</button>
<button type="button" data-show="difference" aria-pressed="false" aria-label="Difference">±</button>
</div>"""
"""On a narrow screen one answer is shown at a time."""


@dataclass(frozen=True)
class Settings:
    """How the next question is answered."""

    max_tokens: gr.Slider
    temperature: gr.Slider
    seed: gr.Number

    @property
    def parts(self) -> list[Component]:
        """All three."""
        return [self.max_tokens, self.temperature, self.seed]

    def showing(self, sampling: Sampling) -> Update:
        """These settings, put there by the page."""
        return {
            self.max_tokens: sampling.max_new_tokens,
            self.temperature: sampling.temperature,
            self.seed: sampling.seed,
        }


@dataclass(frozen=True)
class QuestionBox:
    """Where a person asks.

    Attributes:
        answer: asks.
        stop: stops whatever is being answered.
        message: a sentence that must not be missed.
    """

    question: gr.Textbox
    answer: gr.Button
    stop: gr.Button
    message: gr.HTML
    settings: Settings


@dataclass(frozen=True)
class AskArea:
    """The components.

    Attributes:
        first: the router's answer.
        second: the steered one.
    """

    box: QuestionBox
    first: AnswerPlace
    second: AnswerPlace


def build_question_box(
    settings: Settings, cases: Sequence[Case] = (), page: Page = NEUTRAL
) -> QuestionBox:
    """The question box, empty.

    Args:
        settings: built elsewhere on the page.
        cases: questions to choose from; where there are none, nor examples, nothing is offered.
        page: what the model says of itself.
    """
    with gr.Row(elem_id="ask"):
        question = gr.Textbox(
            label="Question",
            show_label=False,
            container=False,
            lines=1,
            max_lines=8,
            scale=5,
            elem_id="question",
            placeholder=f"{page.ask}. Enter sends.",
        )
        answer = gr.Button(
            "Answer", variant="primary", scale=0, min_width=110, elem_id="answer-button"
        )
        stop = gr.Button("Stop", scale=0, min_width=80, interactive=False)
        if cases or page.examples:
            gr.HTML(
                html_template=menu(cases, page.examples),
                js_on_load=text_of("cases.js"),
                apply_default_css=False,
                elem_id="cases",
            )
    place = gr.HTML(message(""), elem_id="message", padding=False)
    return QuestionBox(question, answer, stop, place, settings)


def build_settings() -> Settings:
    """How questions are answered, behind a button; they lie over the page."""
    with gr.Column(elem_id="settings", scale=0):
        # No accordion: it builds its controls as it opens, and forgets what is typed too soon.
        gr.Button("Settings", size="sm", elem_id="settings-button")
        with gr.Column(elem_id="settings-body"):
            return _build_settings()


def build_first() -> AnswerPlace:
    """Where the router's answer will stand."""
    return _build_answer(FIRST, "first", UNASKED)


def build_second() -> AnswerPlace:
    """Where the steered answer will stand."""
    return _build_answer(SECOND, "second", UNTOUCHED)


def _build_settings() -> Settings:
    gr.Markdown(
        "Used from the next question on, for both answers. Words already used are held back a "
        f"little (repetition penalty {REPETITION_PENALTY})."
    )
    return Settings(
        max_tokens=unrefusing(gr.Slider)(
            1,
            MAX_TOKENS,
            160,
            step=1,
            label="Longest answer, tokens",
            info="A token is a word or a piece of one.",
        ),
        temperature=unrefusing(gr.Slider)(
            0,
            MAX_TEMPERATURE,
            0,
            step=0.1,
            label="Temperature",
            info="0 = always the most likely token; higher = more varied.",
        ),
        seed=unrefusing(gr.Number)(
            0,
            precision=0,
            label="Seed",
            info="Used when the temperature is above 0, and to draw a random steer.",
        ),
    )


def _build_answer(title: str, name: str, words: str) -> AnswerPlace:
    """An answer's heading, what it answers, a button that copies it, and its place.

    Args:
        title: the heading.
        name: of the place, in the page's scripts.
        words: the page's own, until there is an answer.
    """
    with gr.Row(elem_classes="titled"):
        gr.Markdown(f"## {title}")
        asked = gr.HTML(line(""), elem_id=f"{name}-asked", elem_classes="asked")
        copy = gr.Button("Copy", size="sm", scale=0, min_width=60, elem_id=f"copy-{name}")
    source = text_of("copy.js").partition("\n")[2]  # without the comment that it begins with
    copy.click(None, js=f"() => ({source})('{name}')", api_visibility="private")
    return AnswerPlace(
        gr.HTML(notice(words), elem_id=name),
        gr.HTML(line(""), elem_id=f"{name}-facts", elem_classes="facts"),
        asked,
    )
