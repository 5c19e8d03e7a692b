"""Opening a record, or answering a link's question: both answers made again.

It says whether they came out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app import uploads
from app.ask.desk import AskDesk, Begun
from app.compare.state import CompareState
from app.compare.third_desk import ThirdDesk
from app.controls import Controls
from app.desk import Desk, Shared, guarded
from app.events import LAST_WINS, UNQUEUED
from app.following import Update, sentence
from app.markup import message, passage, small_print
from app.session import Session
from app.share.area import ShareArea
from app.share.replay import NO_RECORD, Foreign, Replay, as_made, judgement, opened
from app.share.words import AGAIN, said
from app.steer import words
from app.what_if.desk import WhatIfState
from app.whose import record_key
from atmoe import AtMoeError
from atmoe.report.words import given_by_link

NAMES = ("The router's answer", "The steered answer")


@dataclass
class ReplayState:
    """What is known of an opened record.

    Attributes:
        replay: what is being answered again.
        of_link: it came with a link, not with a file.
    """

    replay: Replay | None = None
    of_link: bool = False

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
        outputs = [*ask_desk.changing, *ask_desk.steer_desk.changing, *self.cleared]
        outputs += [box.question, *box.settings.parts]
        replayed = area.record.upload(
            self.open, [session, area.record], list(dict.fromkeys(outputs)), **UNQUEUED
        )
        # A file that Gradio itself refuses calls nobody: nothing old may stand beside it.
        area.record.click(lambda: said(), None, [area.replayed], **UNQUEUED)
        return ask_desk.stream_both(replayed, session)

    def wire_again(self, session: gr.State) -> Begun:
        """Have the button beside a link's answers call this desk, and the answers follow.

        Returns:
            Its event, and those at which the answers have ended.
        """
        again = self.area.bar.again.click(self.again, [session], self.ask_desk.changing, **UNQUEUED)
        return self.ask_desk.stream_both(again, session)

    def wire_judge(self, session: gr.State, answered: Sequence[Dependency]) -> None:
        """Have each answer's end bring the judgement.

        Args:
            session: whose.
            answered: events at which an answer has ended.
        """
        for event in answered:
            event.success(self.judge, [session], self.cleared, **LAST_WINS)

    def open(self, session: Session, path: str) -> Update:
        """Restore what a file holds, and make the jobs that answer again.

        What is wrong with it is said beside the button as well, in place of what was said of the
        file before.
        """
        try:
            return {self.shared.message: message("")} | self._open(session, path)
        except Exception as error:
            session.tab(ReplayState).replay = None
            text = sentence(error)
            return {
                self.shared.message: message(text),
                self.area.replayed: said([text], trouble=True),
            }

    @guarded
    def again(self, session: Session) -> Update:
        """Answer the question of a link, and hold what comes out against what it holds."""
        router, steered, question = session.first.record, session.second.record, session.question
        if router is None or question is None or not given_by_link(router):
            raise AtMoeError(
                "The link's answers are gone; press Answer to have the question answered."
            )
        if steered is None and session.second.job is not None and not session.second.job.over:
            raise AtMoeError("The link's steered answer is still being read; press again then.")
        if steered is not None and not given_by_link(steered):
            steered = None
        replay = Replay(
            as_made(router), steered and as_made(steered), session.controls, question.sampling
        )
        update = self.ask_desk.begin(
            session, question.prompt, question.sampling, session.controls, anew=True
        )
        state = session.tab(ReplayState)
        state.replay, state.of_link = replay, True
        return update | {self.area.bar.said: said([AGAIN])}

    def _open(self, session: Session, path: str) -> Update:
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
        state = session.tab(ReplayState)
        state.replay, state.of_link = replay, False

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
                **box.settings.showing(sampling),
                self.area.replayed: said([AGAIN]),
                box.message: message(
                    "Record opened; it is answered again, and compared where it was opened."
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
        steer_desk = ask_desk.steer_desk
        update = steer_desk.blank(session) | steer_desk.put(session, Controls()) | cleared
        # 2. their texts
        router, steered = other.router, other.steered
        first, second = ask_desk.area.first, ask_desk.area.second
        note = f"From a record of the model “{router.model['name']}”; not answered again."
        of = record_key(router)
        update |= {first.text: passage(router.answer, router.flags, of)}
        update |= {first.facts: small_print(note)} | first.tell(router.prompt, note, of=of)
        if steered is not None:
            changes = f"Its steering: {words.changes(steered.steering)}."
            update |= {
                second.text: passage(steered.answer, steered.flags, record_key(steered)),
                second.facts: small_print(note, changes),
            }
            update |= second.tell(steered.prompt, changes, of=record_key(steered))
        box = ask_desk.area.box
        return update | {
            box.question: router.prompt,
            box.message: message(other.sentence),
            self.area.replayed: said([other.sentence]),
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
            return {part: gr.skip() for part in self.cleared}
        sentences = []
        for name, then, now in (
            (NAMES[0], replay.router, session.first.record),
            (NAMES[1], replay.steered, session.second.record),
        ):
            if then is not None and now is not None:
                sentences.append(judgement(name, then, now))
        place = self.area.bar.said if session.tab(ReplayState).of_link else self.area.replayed
        return {place: said(sentences)}

    @property
    def cleared(self) -> list[Component]:
        """The judgement, in the tab or over the page."""
        return [self.area.replayed, self.area.bar.said]

    def steering_changed(self, session: Session) -> Update:
        """Judge no more: what is answered now is not the record's."""
        session.tab(ReplayState).replay = None
        return {self.area.replayed: said(), self.area.bar.said: said()}
