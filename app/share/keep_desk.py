"""What one keeps: the record and the report, made on request and saved by the browser.

No file of either lies on the server.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime

import gradio as gr

from app.desk import Desk, Shared, guarded
from app.drafts.desk import DraftsState
from app.events import LAST_WINS
from app.following import Update
from app.session import Session
from app.share.area import ShareArea
from atmoe import AtMoeError, Record
from atmoe.report.document import report

NOTHING = "There is no finished answer yet; ask a question, then keep it."


class KeepDesk(Desk):
    """The callbacks of the Report button, and of the record's."""

    def __init__(self, shared: Shared, area: ShareArea):
        super().__init__(shared)
        self.part, self.download = area.actions.part, area.download

    def wire(self, session: gr.State) -> None:
        """Have the buttons call this desk."""
        outputs = [self.shared.message, self.part]
        self.part.report(self.report, [session], outputs, **LAST_WINS)
        self.download.click(self.record, [session], outputs, **LAST_WINS)

    def now(self, session: Session) -> Update:
        """Whether there is anything to keep."""
        ended = session.first.ended
        return {self.part: gr.update(ready=ended), self.download: gr.update(interactive=ended)}

    @guarded
    def report(self, session: Session) -> Update:
        """What has ended, to be read and printed."""
        router, steered = _kept(session)
        made, drafts = datetime.now(UTC), session.tab(DraftsState).drafts
        name = f"atmoe-report-{made:%Y-%m-%d-%H%M}.html"
        return self._file(name, "text/html", report(router, steered, made, drafts))

    @guarded
    def record(self, session: Session) -> Update:
        """What has ended, to be opened again."""
        router, steered = _kept(session)
        held = {
            "router": router.to_dict(),
            "steered": steered and steered.to_dict(),
            "controls": session.controls.to_dict(),
        }
        for desk in self.shared.desks:
            held |= desk.saved(session)
        text = json.dumps(held, ensure_ascii=False, indent=1)
        return self._file("atmoe-record.json", "application/json", text)

    def _file(self, name: str, kind: str, text: str) -> Update:
        """A file that the browser saves, once."""
        file = {"at": secrets.token_hex(8), "name": name, "type": kind, "text": text}
        return {self.part: gr.update(file=file)}


def _kept(session: Session) -> tuple[Record, Record | None]:
    """The router's answer, and the steered one where that has ended too."""
    router = session.first.record
    if router is None or not session.first.ended:
        raise AtMoeError(NOTHING)
    return router, session.second.record if session.second.ended else None
