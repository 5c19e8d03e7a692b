"""Opening a record: the page as it was, both answers made again, and whether they came out the same."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from app.ask.desk import Desk, Update, guarded
from app.compare.reference_desk import BesideDesk
from app.markup import lines, message
from app.session import Session
from app.share.replay import NO_RECORD, opened, told
from atmoe import AtMoeError

NAMES = ("The router's answer", "The steered answer")


class ReplayDesk:
    """Callbacks over a desk. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.ui, self.layout, self.besides = (
            desk,
            desk.ui,
            desk.model.layout,
            BesideDesk(desk),
        )

    @guarded
    def open(self, session: Session, path: str) -> Update:
        """Restore what a file holds, and make the jobs that answer again."""
        try:
            replay = opened(Path(path).read_text("utf-8"), self.layout)
        except UnicodeDecodeError as error:
            raise AtMoeError(NO_RECORD) from error
        finally:
            Path(path).unlink(missing_ok=True)  # a question is in it
        ui, sampling = self.ui, replay.sampling
        update = self.desk.begin(
            session, replay.router.prompt, sampling, replay.controls, anew=True
        )
        session.replay = replay
        session.forget_doses()
        if replay.router.response is not None:
            session.opened, session.response = replay.router, replay.router.response
        if replay.beside is not None:
            session.kind, session.beside = replay.beside
            update |= self.besides.restored(session)
        return (
            update
            | self.desk.weights(session, replay.controls.to_dict())
            | {
                ui.question: replay.router.prompt,
                ui.max_tokens: sampling.max_new_tokens,
                ui.temperature: sampling.temperature,
                ui.seed: sampling.seed,
                ui.replayed: lines(["Answering again …"]),
                ui.message: message(
                    "Record opened; it is answered again, and compared under “Link and record”."
                ),
            }
        )

    def judge(self, session: Session) -> Update:
        """Whichever answer ends last brings the judgement."""
        replay = session.replay
        if (
            replay is None
            or not session.ended("first")
            or (replay.steered is not None and not session.ended("second"))
        ):
            return {self.ui.replayed: gr.skip()}  # an empty dictionary would be taken for the value
        pairs = [
            (NAMES[0], replay.router, session.routed),
            (NAMES[1], replay.steered, session.steered),
        ]
        return {
            self.ui.replayed: lines(
                [told(name, then, now) for name, then, now in pairs if then is not None]
            )
        }
