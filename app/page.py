"""The page: components in their places, wired to the desk. Nothing is computed here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from app.ask import desk as words
from app.ask.desk import Desk
from app.compare.area import compare_area, titled
from app.compare.desk import CompareDesk
from app.compare.reference_desk import BesideDesk
from app.markup import badge, header, line, lines, message, told
from app.session import Session
from app.share.link_desk import LinkDesk
from app.share.replay_desk import ReplayDesk
from app.steer import figure as figures
from app.steer.area import build_panel
from app.steer.cells import build_cells
from app.steer.view import MAX_TEMPERATURE, MAX_TOKENS, REPETITION_PENALTY
from app.steer.words import badge as badge_text
from app.steer.words import strength_note
from app.what_if import desk as dose_desk
from app.what_if.desk import DoseDesk
from app.why import desk as why
from app.why.desk import WhyDesk
from app.worker import Worker
from atmoe import AtMoe, Layout, Steering
from atmoe.explanation.coherence import Cohort
from atmoe.explanation.doses import targets
from atmoe.explanation.verdict import plain

ASSETS = Path(__file__).parents[1] / "assets" / "app"
WAITING_PEOPLE, AT_ONCE = 32, 32
"""Of each kind of event, so many run at once for Gradio: the worker is who lets them wait, for it can say so."""
LAUNCH = {
    "ssr_mode": False,
    "pwa": False,
    "run_history": False,
    "show_error": False,
    "enable_monitoring": False,
    "max_file_size": "1mb",
    "max_threads": 8 * AT_ONCE,
    "footer_links": [],
    "css_paths": ASSETS / "page.css",
    "theme": gr.themes.Default(
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        primary_hue="blue",
        spacing_size="sm",
        text_size="md",
    ),
}
"""Arguments of `launch` that belong to the page. Server-side rendering and the installable app are switched on by a
Space unless refused; a run history would keep people's questions in their browser. Each generator that waits for the worker
holds one of the threads, and what needs no waiting must find one free."""


def build(model: AtMoe, reports: Path | None = None) -> gr.Blocks:
    """The page over one model, with a worker of its own. Launch it with `**LAUNCH`.

    reports: where what was measured of the model lies, as the evaluation commands print it.

    Raises:
        AtMoeError: a report there cannot be read.
    """
    cohort = reports and Cohort.read(reports / "strength.json", model)
    with gr.Blocks(
        title="AT-MoE Explorer", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
    ) as page:  # old downloads are removed within the hour
        session = gr.State(Session())
        ui = SimpleNamespace(page=page)
        untouched = badge(badge_text(Steering()), False)
        with gr.Row(elem_id="header"):
            gr.HTML(header(model.base_parameters, model.info.base_name), elem_id="title")
            ui.badge = gr.HTML(untouched, elem_id="badge")
        _question(ui)
        with gr.Column(elem_id="bench"):
            with gr.Column(elem_id="answer", elem_classes="area"):
                titled("Router's answer", "first", "the router's answer")
                ui.first = gr.HTML(told(words.UNASKED), elem_id="first")
                ui.first_facts = gr.HTML(line(""), elem_id="first-facts", elem_classes="facts")
            with gr.Column(elem_id="words", elem_classes="area"):
                ui.reading = gr.Markdown(
                    "Once you ask, this says in words how the router shared the weight between the "
                    "groups of experts, and who received most.",
                    elem_id="reading",
                )
            with gr.Column(elem_id="steer", elem_classes="area"):
                gr.Markdown("## Steer")
                ui.panel = build_panel(model.layout, strength_note(cohort))
            with gr.Column(elem_id="steered", elem_classes="area"):
                titled("Your steering", "second", "the steered answer")
                ui.second = gr.HTML(told(words.UNTOUCHED), elem_id="second")
                ui.second_facts = gr.HTML(line(""), elem_id="second-facts", elem_classes="facts")
            with gr.Column(elem_id="compare", elem_classes="area"):
                compare_area(ui)
            with gr.Column(elem_id="weights", elem_classes="area"):
                _weights(ui, model.layout)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Why this answer"):
                _why(ui, model.layout)
            with gr.Tab("What if"):
                _doses(ui, model.layout)
            with gr.Tab("Link and record"):
                _links(ui)
            with gr.Tab("How to read it"):
                gr.Markdown((ASSETS / "reading.md").read_text("utf-8"), elem_id="how-to-read")
        _wire(ui, session, Desk(model, Worker(), ui, cohort))
        page.load(None, js=(ASSETS / "page.js").read_text("utf-8"), api_visibility="private")
    return page.queue(max_size=WAITING_PEOPLE)


def _question(ui: SimpleNamespace) -> None:
    examples = json.loads((ASSETS / "examples.json").read_text("utf-8"))
    with gr.Row(elem_id="ask"):
        ui.question = gr.Textbox(
            label="Question",
            lines=1,
            max_lines=3,
            scale=5,
            elem_id="question",
            placeholder="Ask about a disease in English, or pick an example below. Enter sends.",
        )
        ui.answer = gr.Button(
            "Answer", variant="primary", scale=0, min_width=110, elem_id="answer-button"
        )
        ui.stop = gr.Button("Stop", scale=0, min_width=80)
    ui.message = gr.HTML(message(""), elem_id="message", padding=False)
    with gr.Row(elem_id="starters"):
        gr.Examples(
            [[example["text"]] for example in examples],
            [ui.question],
            label="Examples",
            example_labels=[example["label"] for example in examples],
            cache_examples=False,
        )
        with gr.Column(elem_id="settings"):
            # No accordion: it builds its controls as it opens, and then forgets what is typed too soon.
            gr.Button("Settings", size="sm", elem_id="settings-button")
            with gr.Column(elem_id="settings-body"):
                _settings(ui)


def _settings(ui: SimpleNamespace) -> None:
    gr.Markdown(
        f"Used from the next question on, for both answers. Words already used are held back a little "
        f"(repetition penalty {REPETITION_PENALTY})."
    )
    ui.max_tokens = gr.Slider(
        1,
        MAX_TOKENS,
        160,
        step=1,
        label="Longest answer, tokens",
        info="A token is a word or a piece of one.",
    )
    ui.temperature = gr.Slider(
        0,
        MAX_TEMPERATURE,
        0,
        step=0.1,
        label="Temperature",
        info="0 = always the most likely token; higher = more varied.",
    )
    ui.seed = gr.Number(
        0,
        precision=0,
        minimum=0,
        maximum=2**31,
        label="Seed",
        info="Used when the temperature is above 0, and to draw a random steer.",
    )


def _weights(ui: SimpleNamespace, layout: Layout) -> None:
    gr.Markdown("## Weights by layer")
    gr.Markdown(
        "Weight is what each expert was given, not proof that it mattered; what mattered is measured under "
        "“Why this answer”, below.",
        elem_id="caution",
    )
    ui.cells = build_cells()
    with gr.Tabs():
        with gr.Tab("Pictures"):
            gr.Markdown(
                "**Between the groups**: how much of the layer's routing weight each group received"
            )
            ui.group_plot = _plot(
                figures.group_figure(layout, None), "Group shares by layer", "group-plot"
            )
            gr.Markdown(
                "**Inside each group**: how much of the group's share each expert receives, in the same colours. Where that is not the "
                "router's, a thin strip above each row shows what the router gave"
            )
            ui.expert_plot = _plot(
                figures.expert_figure(layout, None), "Expert shares by layer", "expert-plot"
            )
        with gr.Tab("Tables"):
            ui.group_table = _table("Group shares by layer", layout.group_names, each=2)
            ui.expert_table = _table("Expert shares by layer", layout.expert_names, each=2)
    ui.download = gr.DownloadButton(
        "Download this record (JSON)", interactive=False, size="sm", elem_id="download"
    )


def _doses(ui: SimpleNamespace, layout: Layout) -> None:
    units = [(plain(name), name) for name in targets(layout)]
    with gr.Row(elem_id="dose-ask"):
        ui.dose_part = gr.Dropdown(
            units,
            value=units[0][1] if units else None,
            label="Part to vary",
            scale=1,
            min_width=260,
        )
        ui.dose_start = gr.Button(
            "Answer at five shares", variant="primary", scale=0, min_width=230
        )
        ui.dose_cancel = gr.Button("Cancel", scale=0, min_width=90)
        ui.dose_progress = gr.HTML(line(""), elem_id="dose-progress", elem_classes="facts")
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            ui.dose_shown = gr.Slider(
                0, 100, 0, step=25, label="Answer at this share, %", buttons=[]
            )
            ui.dose_answer = gr.HTML(told(dose_desk.UNASKED), elem_id="dose-answer")
            ui.dose_table = gr.HTML(line(""), elem_id="dose-table", apply_default_css=False)
        with gr.Column(scale=1, min_width=320):
            ui.dose_plot = gr.Plot(
                visible=False,
                label="Response at five shares",
                show_label=False,
                container=False,
                elem_classes="figure",
            )


def _links(ui: SimpleNamespace) -> None:
    gr.Markdown(
        "### A link to what is set\nWhoever opens it sees these settings. It is made here and stored nowhere; a question is in it "
        "only if you tick it."
    )
    with gr.Row(elem_id="link-row"):
        ui.with_question = gr.Checkbox(False, label="With my question", scale=0, min_width=190)
        ui.make_link = gr.Button("Make the link", scale=0, min_width=150)
        # Not read-only: a disabled box cannot be reached from the keyboard.
        ui.link = gr.Textbox(
            label="Link",
            lines=1,
            max_lines=4,
            scale=5,
            min_width=320,
            elem_id="link",
            info="Selected as you enter it, ready to be copied. A change of the settings empties it again.",
        )

    gr.Markdown(
        "### A record, opened again\nA record downloaded above restores the question, the settings and the steering; both "
        "answers are made again, and this says whether they came out the same. The file is read once and deleted."
    )
    ui.record = gr.UploadButton(
        "Open a record (JSON)", file_types=[".json"], size="sm", elem_id="open-record"
    )
    ui.replayed = gr.HTML(lines([]), elem_id="replayed")


def _why(ui: SimpleNamespace, layout: Layout) -> None:
    with gr.Row(elem_id="why-ask"):
        ui.why_which = gr.Radio(
            [why.FIRST, why.SECOND], value=why.FIRST, label="Which answer", scale=0, min_width=330
        )
        ui.why_start = gr.Button("Explain this answer", variant="primary", scale=0, min_width=230)
        ui.why_cancel = gr.Button("Cancel", scale=0, min_width=90)
        ui.why_progress = gr.HTML(line(""), elem_id="why-progress", elem_classes="facts")
    with gr.Row(elem_id="why-said"):
        ui.why_paragraph = gr.HTML(told(why.UNASKED), elem_id="why-paragraph")
        ui.why_verdict = gr.HTML(line(""), elem_id="why-verdict")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("### Weight, contribution and effect")
            ui.why_grid = gr.HTML(
                line("Each part's three measures will stand here."), elem_id="why-grid"
            )
            with gr.Accordion("The groups by third of the layers", open=False):
                ui.why_bands = gr.HTML(line(""), elem_id="why-bands")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown("### What each sentence depended on")
            ui.why_sentences = gr.HTML(
                line("The answer, sentence by sentence."), elem_id="why-sentences"
            )
            gr.Markdown("### The smallest change that alters the answer")
            ui.why_changes = gr.HTML(
                line("How far each group's share would have to move."), elem_id="why-changes"
            )
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("### Which words depended on one part")
            units = [(plain(name), name) for name in (*layout.group_names, *layout.expert_names)]
            ui.why_unit = gr.Dropdown(units, value=units[0][1], label="Part", elem_id="why-unit")
            ui.why_words = gr.HTML(line(""), elem_id="why-words")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown("### From the base model to this answer")
            ui.why_shapley = gr.Plot(
                visible=False,
                label="Shapley values of the groups",
                show_label=False,
                container=False,
                elem_classes="figure",
            )
            ui.why_sum = gr.HTML(line(""), elem_id="why-sum")


def _plot(figure, label: str, name: str) -> gr.Plot:
    return gr.Plot(
        figure, label=label, show_label=False, container=False, elem_classes="figure", elem_id=name
    )


def _table(label: str, names: Sequence[str], each: int = 1) -> gr.Dataframe:
    """A table by layer with `each` columns a name. Widths are set, or names would break in the middle of a word."""
    widths = [f"{max(140, 10 * len(name) + 30)}px" for name in names for _ in range(each)]
    return gr.Dataframe(
        label=label,
        interactive=False,
        max_height=320,
        wrap=True,
        pinned_columns=1,
        column_widths=["80px", *widths],
    )


def _wire(ui: SimpleNamespace, session: gr.State, desk: Desk) -> None:
    pictures = [ui.group_plot, ui.expert_plot, ui.group_table, ui.expert_table]
    plans = [ui.panel, ui.reading, *pictures]
    first, second, third = (
        [ui.first, ui.first_facts],
        [ui.second, ui.second_facts],
        [ui.third, ui.third_facts],
    )
    common = {"api_visibility": "private", "show_progress": "hidden"}
    at_once = {**common, "queue": False}
    streams = {
        **common,
        "trigger_mode": "always_last",
        "concurrency_limit": AT_ONCE,
        "inputs": [session],
    }

    compare_desk, replays = CompareDesk(desk), ReplayDesk(desk)

    def ended(event) -> None:
        event.success(
            compare_desk.compare,
            outputs=[ui.first, ui.second, ui.third, ui.comparison, ui.download],
            concurrency_id="compare",
            **streams,
        )
        event.success(
            replays.judge, [session], [ui.replayed], trigger_mode="always_last", **at_once
        )

    def stream_first(event) -> None:
        ended(
            event.success(
                desk.first, outputs=[*first, ui.download, *plans], concurrency_id="first", **streams
            )
        )

    def stream_second(event) -> None:
        ended(
            event.success(
                desk.second, outputs=[*second, ui.download], concurrency_id="second", **streams
            )
        )

    asked = gr.on(
        [ui.answer.click, ui.question.submit],
        desk.ask,
        [session, ui.question, ui.max_tokens, ui.temperature, ui.seed, ui.panel],
        [
            ui.message,
            ui.badge,
            ui.download,
            *first,
            *second,
            *third,
            ui.comparison,
            ui.link,
            ui.replayed,
        ],
        trigger_mode="always_last",
        **at_once,
    )
    stream_first(asked)
    stream_second(asked)
    steered = [
        ui.message,
        ui.badge,
        ui.download,
        ui.first,
        *second,
        *third,
        ui.comparison,
        ui.link,
        ui.replayed,
        *plans,
    ]
    # Undo, redo, presets and reset come this way too: one event, of which the last value wins, so no two can overtake each other.
    moved = ui.panel.input(
        desk.steer,
        [session, ui.panel],
        [part for part in steered if part not in pictures],
        trigger_mode="always_last",
        **at_once,
    )
    # Only the browser knows that no further movement is on its way; it says so once the last one was heard.
    ended(
        ui.panel.rest(
            desk.second, outputs=[*second, ui.download], concurrency_id="second", **streams
        )
    )
    moved.success(desk.draw, [session], pictures, trigger_mode="always_last", **at_once)
    besides = BesideDesk(desk)
    beside = ui.beside_start.click(
        besides.ask,
        [session, ui.beside_kind],
        [ui.message, ui.first, *third, ui.comparison],
        **at_once,
    )
    ended(
        beside.success(
            besides.run, outputs=[*third, ui.download], concurrency_id="third", **streams
        )
    )
    ui.beside_cancel.click(besides.cancel, [session], **at_once)
    links, settings = LinkDesk(desk), [ui.max_tokens, ui.temperature, ui.seed]
    made = ui.make_link.click(
        links.make,
        [session, ui.question, ui.with_question, *settings],
        [ui.message, ui.link],
        **at_once,
    )
    made.success(
        None,
        [ui.link],
        [ui.link],
        js="(query) => query && location.origin + location.pathname + query",
        **at_once,
    )
    replayed = ui.record.upload(
        replays.open,
        [session, ui.record],
        [*steered, ui.first_facts, ui.question, *settings],
        **at_once,
    )
    stream_second(replayed)
    stream_first(replayed)
    ui.page.load(links.open, [session], [*steered, ui.question, *settings], **at_once)
    _wire_doses(ui, session, DoseDesk(desk), asked, replayed, at_once, common)
    ui.stop.click(desk.stop, [session], **at_once)
    _wire_why(ui, session, WhyDesk(desk), (asked, moved, replayed), at_once, common)


def _wire_doses(
    ui: SimpleNamespace,
    session: gr.State,
    doses: DoseDesk,
    asked,
    replayed,
    at_once: dict,
    common: dict,
) -> None:
    shown = [ui.dose_progress, ui.dose_answer, ui.dose_table, ui.dose_plot]
    asked.success(doses.forget, [session], shown, **at_once)
    replayed.success(doses.restore, [session], [*shown, ui.dose_part], **at_once)
    started = ui.dose_start.click(
        doses.ask, [session, ui.dose_part], [ui.message, *shown], **at_once
    )
    started.success(
        doses.run,
        [session],
        [*shown, ui.download],
        trigger_mode="always_last",
        concurrency_limit=AT_ONCE,
        concurrency_id="dose",
        **common,
    )
    ui.dose_shown.input(
        doses.pick,
        [session, ui.dose_shown],
        [ui.message, ui.dose_answer],
        trigger_mode="always_last",
        **at_once,
    )
    ui.dose_cancel.click(doses.cancel, [session], **at_once)


def _wire_why(
    ui: SimpleNamespace,
    session: gr.State,
    why_desk: WhyDesk,
    changes: Sequence,
    at_once: dict,
    common: dict,
) -> None:
    shown = [
        ui.why_progress,
        ui.why_paragraph,
        ui.why_verdict,
        ui.why_grid,
        ui.why_bands,
        ui.why_sentences,
        ui.why_changes,
        ui.why_words,
        ui.why_shapley,
        ui.why_sum,
    ]
    for event in changes:
        event.success(why_desk.forget, [session], shown, **at_once)
    started = ui.why_start.click(
        why_desk.ask, [session, ui.why_which], [ui.message, *shown], **at_once
    )
    started.success(
        why_desk.run,
        [session],
        [*shown, ui.why_unit, ui.download],
        trigger_mode="always_last",
        concurrency_limit=AT_ONCE,
        concurrency_id="why",
        **common,
    )
    ui.why_cancel.click(why_desk.cancel, [session], **at_once)
    ui.why_unit.input(why_desk.pick, [session, ui.why_unit], [ui.message, ui.why_words], **at_once)
