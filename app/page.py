"""The page: its areas in their order, and the desks behind them. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from app.api import Api
from app.ask.area import (
    WHICH_ANSWER,
    AskArea,
    build_first,
    build_question_box,
    build_second,
    build_settings,
)
from app.ask.desk import AskDesk
from app.assets import text_of
from app.bell import build_bell, wire_bell
from app.cases import Case
from app.cohort.area import CohortArea, build_cohort
from app.cohort.desk import CohortDesk
from app.compare.area import CompareArea, build_compare, build_difference
from app.compare.desk import CompareDesk
from app.compare.third_desk import ThirdDesk
from app.desk import Shared
from app.drafts.area import DraftsArea, build_drafts
from app.drafts.desk import DraftsDesk
from app.events import UNQUEUED
from app.inputs import Page
from app.markup import folded, header
from app.models.area import ModelsArea, build_models
from app.models.desk import ModelsDesk
from app.models.neighbour import Neighbour
from app.places import build_bar, place
from app.serving import Serving
from app.session import Session
from app.share.area import ShareArea, build_actions, build_link_bar, build_share
from app.share.keep_desk import KeepDesk
from app.share.link import steering_of_link
from app.share.link_desk import LinkDesk
from app.share.replay_desk import ReplayDesk
from app.steer.area import (
    SteerArea,
    Weights,
    build_badge,
    build_line,
    build_pictures,
    build_sources,
    build_table,
)
from app.steer.cells import build_cells
from app.steer.desk import SteerDesk
from app.steer.panel import build_panel
from app.steer.presets import presets
from app.steer.words import strength_note
from app.tour.area import build_tour_button, wire_tour
from app.what_if.area import WhatIfArea, build_what_if
from app.what_if.desk import WhatIfDesk
from app.why.area import WhyArea, build_why
from app.why.desk import WhyDesk
from atmoe import AtMoe
from atmoe.explanation.coherence import Cohort

WAITING_PEOPLE = 512
"""Of each kind of event, so many may wait in Gradio's queue besides."""

PLACES = (
    ("Weights", "weights"),
    ("Why", "why"),
    ("What if", "what-if"),
    ("Drafts", "drafts"),
    ("Compare", "compare"),
    ("Models", "models"),
    ("Table", "by-layer"),
    ("Many questions", "cohort"),
    ("Keep", "keep"),
    ("Help", "help"),
)
"""What takes turns below the answers: its name and its id."""


@dataclass(frozen=True)
class Areas:
    """The components of the page, by area."""

    ask: AskArea
    steer: SteerArea
    compare: CompareArea
    why: WhyArea
    what_if: WhatIfArea
    drafts: DraftsArea
    models: ModelsArea | None
    cohort: CohortArea
    share: ShareArea
    bell: gr.HTML


def build(
    model: AtMoe,
    reports: Path | None = None,
    cases: Sequence[Case] = (),
    licence: str = "",
    serving: Serving | None = None,
    neighbours: Sequence[Neighbour] = (),
) -> gr.Blocks:
    """The page over one model, with a worker of its own.

    Launch it with what `app.launch.launching` says.

    Args:
        model: answers.
        reports: where what was measured of the model lies, as the evaluation commands print it.
        cases: questions of the model's to choose from.
        licence: the model's, as its card has it.
        serving: the model at work already; default: it is set to work here.
        neighbours: other models, to be asked the same.

    Raises:
        AtMoeError: a report there cannot be read.
    """
    cohort = Cohort.read(reports / "strength.json", model) if reports else None
    # What was made to be downloaded, or sent to be opened, is removed within the hour.
    with Page(
        title=model.info.page.title,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 3600),
    ) as page:
        session = gr.State(Session())
        areas = _build_areas(model, strength_note(cohort), cases, neighbours)
        shared = Shared(serving or Serving(model), areas.ask.box.message, cohort, cases)
        _wire(page, session, areas, shared, licence, neighbours)
        for script in ("places.js", "page.js", "marks.js", *(("models.js",) if neighbours else ())):
            page.load(None, js=text_of(script), api_visibility="private")
        wire_tour(page, model.info.page.ask, bool(cases))
    return page.queue(max_size=WAITING_PEOPLE)


def _build_areas(
    model: AtMoe, strength_note: str, cases: Sequence[Case], neighbours: Sequence[Neighbour]
) -> Areas:
    """All components, from above."""
    layout, words = model.layout, model.info.page
    with gr.Row(elem_id="header"):
        gr.HTML(header(words, model.base_parameters, model.info.base_name), elem_id="title")
        badge = build_badge()
        actions = build_actions()
        build_tour_button()
        settings = build_settings()
    bar = build_link_bar()
    box = build_question_box(settings, cases, words)
    with gr.Column(elem_id="bench"):
        with gr.Column(elem_id="steer", elem_classes="area"):
            panel = build_panel(layout, strength_note, model.info.words, presets(words, layout))
        gr.HTML(WHICH_ANSWER, elem_id="which-answer", apply_default_css=False)
        with gr.Column(elem_id="answer", elem_classes="area"):
            first = build_first()
        with gr.Column(elem_id="steered", elem_classes="area"):
            second = build_second()
            difference = build_difference()
        with gr.Column(elem_id="words", elem_classes="area"):
            line, sources = build_line(), build_sources()
        with gr.Column(elem_id="tabs", elem_classes="area"):
            build_bar([p for p in PLACES if neighbours or p[1] != "models"])
            with place("weights"):
                pictures = build_pictures(layout)
            with place("why"):
                why = build_why(layout)
            with place("what-if"):
                what_if = build_what_if(layout)
            with place("drafts"):
                drafts = build_drafts()
            with place("compare"):
                compare = build_compare(difference)
            models = None
            if neighbours:
                with place("models"):
                    models = build_models(neighbours)
            with place("by-layer"):
                reading, table = build_table(layout)
            with place("cohort"):
                cohort = build_cohort()
            with place("keep"):
                share = build_share(actions, bar)
            with place("help"):
                begins, _, rest = text_of("reading.md").partition("\n\n")
                notes = "\n\n".join((begins, words.notes, rest))
                gr.Markdown(folded(notes), elem_id="how-to-read")
    build_cells()
    weights = Weights(*pictures, table, reading)
    return Areas(
        ask=AskArea(box, first, second),
        steer=SteerArea(badge, line, sources, panel, weights),
        compare=compare,
        why=why,
        what_if=what_if,
        drafts=drafts,
        models=models,
        cohort=cohort,
        share=share,
        bell=build_bell(),
    )


def _wire(
    page: gr.Blocks,
    session: gr.State,
    areas: Areas,
    shared: Shared,
    licence: str,
    neighbours: Sequence[Neighbour],
) -> None:
    """A desk for each area, and the events that call it."""
    # 1. the desks
    layout = shared.model.layout
    steer_desk = SteerDesk(shared, areas.steer, areas.ask.second)
    ask_desk = AskDesk(shared, areas.ask, steer_desk)
    compare_desk = CompareDesk(shared, areas.compare, areas.ask)
    third_desk = ThirdDesk(shared, areas.compare, ask_desk)
    link_desk = LinkDesk(shared, areas.share, ask_desk)
    replay_desk = ReplayDesk(shared, areas.share, ask_desk, third_desk)
    keep_desk = KeepDesk(shared, areas.share)
    what_if_desk = WhatIfDesk(shared, areas.what_if)
    drafts_desk = DraftsDesk(shared, areas.drafts)
    why_desk = WhyDesk(shared, areas.why)
    # In the order in which the download holds what they save.
    shared.desks += [compare_desk, third_desk, link_desk, replay_desk, what_if_desk, why_desk]
    shared.desks += [drafts_desk, ask_desk, keep_desk]
    models_desk = None
    if areas.models is not None:
        models_desk = ModelsDesk(shared, areas.models, neighbours)
        shared.desks.append(models_desk)

    # 2. what programs call: first, or an event of the page would have one of the names
    Api(shared, partial(steering_of_link, layout=layout), licence).wire()

    # 3. what calls them
    moved = steer_desk.wire(session)
    asked = ask_desk.wire(session)
    third = third_desk.wire(session)
    replayed = replay_desk.wire(session)
    linked = link_desk.wire(session, page)
    again = replay_desk.wire_again(session)
    begun = [each.begun for each in (asked, replayed, linked, again)]
    link_desk.wire_address(
        session, [asked.begun.success, replayed.begun.success, areas.steer.panel.rest]
    )
    dosed = what_if_desk.wire(session, asked.begun, replayed.begun)
    for event in (linked.begun, again.begun):
        event.success(what_if_desk.forget, [session], areas.what_if.results, **UNQUEUED)

    drafted = drafts_desk.wire(session, (*begun, moved))

    beside = () if models_desk is None else models_desk.wire(session)

    CohortDesk(shared, areas.cohort, areas.ask.box.settings).wire(session)

    # 4. what every answer's end calls
    answered = [*asked.answered, *replayed.answered, *again.answered, *linked.answered]
    compare_desk.wire(session, [*ask_desk.wire_once_more(session, answered), third[0]])
    replay_desk.wire_judge(session, answered)
    for measured in why_desk.wire(session, (*begun, moved), answered):
        steer_desk.wire_effects(session, measured)
    keep_desk.wire(session)

    # 5. what changes which buttons can do something
    changing = (*begun, *asked.stopped, moved, *answered, *third, *dosed, *drafted, *beside)
    wire_bell(areas.bell, changing, shared.buttons, [session], shared.pressable())
