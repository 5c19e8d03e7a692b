"""Opening a record: the page as it was, and both answers made again.

It says whether they came out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.ask.desk import AskDesk, Begun
from app.compare.state import CompareState
from app.compare.third_desk import ThirdDesk
from app.controls import Controls
from app.desk import Desk, Shared, Update, guarded
from app.events import LAST_WINS, UNQUEUED
from app.markup import lines, message, passage, small_print
from app.session import Session
from app.share import uploads
from app.share.area import ShareArea
from app.share.replay import NO_RECORD, Foreign, Replay, judgement, opened
from app.steer import words
from app.what_if.desk import WhatIfState
from atmoe import AtMoeError

NAMES = ("The router's answer", "The steered answer")


@dataclass
class ReplayState:
    """What is known of an opened record.

    Attributes:
        replay: what is being answered again.
    """

    replay: Replay | None = None

    def cancel(self) -> None:
        """Nothing: the answers are the session's own."""


class ReplayDesk(Desk):
    """The callbacks of the record."""

    def __init__(self, shared: Shared, area: ShareArea, ask_desk: AskDesk, third_desk: ThirdDesk):
        super().__init__(shared)
        self.area, self.ask_desk, self.third_desk = area, ask_desk, third_desk

    def wire(self, session: gr.State) -> Begun:
        """Have the button call this desk, and the answers follow.

        Returns:
            The event of an opened record, and those at which its answers have ended.
        """
        area, ask_desk = self.area, self.ask_desk
        box = ask_desk.area.box
        outputs = [*ask_desk.steer_desk.changing, ask_desk.area.first.facts, box.question]
        replayed = area.record.upload(
            self.open, [session, area.record], [*outputs, *box.settings.parts], **UNQUEUED
        )
        second = ask_desk.stream_second(replayed.success, session)
        first = ask_desk.stream_first(replayed.success, session)
        return Begun(replayed, [second, first])

    def wire_judge(self, session: gr.State, answered: Sequence[Dependency]) -> None:
        """Have each answer's end bring the judgement.

        Args:
            session: whose.
            answered: events at which an answer has ended.
        """
        for event in answered:
            event.success(self.judge, [session], [self.area.replayed], **LAST_WINS)

    @guarded
    def open(self, session: Session, path: str) -> Update:
        """Restore what a file holds, and make the jobs that answer again."""
        # 1. read it
        try:
            text = uploads.read(Path(path))
            replay = opened(text, self.model.layout, self.model.info.sha256)
        except UnicodeDecodeError as error:
            raise AtMoeError(NO_RECORD) from error
        if isinstance(replay, Foreign):
            return self._show(session, replay)

        # 2. ask again
        sampling, router = replay.sampling, replay.router
        update = self.ask_desk.begin(session, router.prompt, sampling, replay.controls, anew=True)
        session.tab(ReplayState).replay = replay

        # 3. restore what is not made again
        session.tab(WhatIfState).reopen(router, session.question)
        if replay.beside is not None:
            session.tab(CompareState).kind, session.third.record = replay.beside
            update |= self.third_desk.restored(session)

        # 4. and what was set
        box = self.ask_desk.area.box
        return (
            update
            | self.ask_desk.steer_desk.weights(session, replay.controls.to_dict())
            | {
                box.question: router.prompt,
                box.settings.max_tokens: sampling.max_new_tokens,
                box.settings.temperature: sampling.temperature,
                box.settings.seed: sampling.seed,
                self.area.replayed: lines(["Answering again …"]),
                box.message: message(
                    "Record opened; it is answered again, and compared under “Link and record”."
                ),
            }
        )

    def _show(self, session: Session, other: Foreign) -> Update:
        """The records of another model, as they stand, in place of whatever was there."""
        # 1. nothing of this session belongs to them
        session.stop()
        cleared = self.shared.question_changed(session)
        session.question = None
        session.first.clear()
        ask_desk = self.ask_desk
        update = ask_desk.steer_desk.put(session, Controls()) | cleared
        # 2. their texts
        router, steered = other.router, other.steered
        first, second = ask_desk.area.first, ask_desk.area.second
        note = f"From a record of the model “{router.model['name']}”; not answered again."
        update |= {first.text: passage(router.answer), first.facts: small_print(note)}
        update |= first.tell(router.prompt, note)
        if steered is not None:
            changes = f"Its steering: {words.changes(steered.steering)}."
            update |= {
                second.text: passage(steered.answer),
                second.facts: small_print(note, changes),
            }
            update |= second.tell(steered.prompt, changes)
        box = ask_desk.area.box
        return update | {
            box.question: router.prompt,
            box.message: message(other.sentence),
            self.area.replayed: lines([other.sentence]),
        }

    def judge(self, session: Session) -> Update:
        """Whichever answer ends last brings the judgement."""
        replay = session.tab(ReplayState).replay
        if (
            replay is None
            or not session.first.ended
            or (replay.steered is not None and not session.second.ended)
        ):
            # An empty dictionary would be taken for the value.
            return {self.area.replayed: gr.skip()}
        sentences = []
        for name, then, now in (
            (NAMES[0], replay.router, session.first.record),
            (NAMES[1], replay.steered, session.second.record),
        ):
            if then is not None and now is not None:
                sentences.append(judgement(name, then, now))
        return {self.area.replayed: lines(sentences)}

    @property
    def cleared(self) -> list[Component]:
        """The judgement."""
        return [self.area.replayed]

    def steering_changed(self, session: Session) -> Update:
        """Judge no more: what is answered now is not the record's."""
        session.tab(ReplayState).replay = None
        return {self.area.replayed: lines([])}
