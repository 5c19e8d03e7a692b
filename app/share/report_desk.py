"""The report: made on request, and saved by the browser; no file of it lies on the server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import gradio as gr
from gradio.events import Dependency

from app.desk import Desk, Shared, guarded, number_of
from app.drafts.desk import DraftsState
from app.events import LAST_WINS
from app.following import Update
from app.session import Session
from app.share.area import ShareArea
from atmoe import AtMoeError
from atmoe.report.document import report


class ReportDesk(Desk):
    """The callbacks of the Report button."""

    def __init__(self, shared: Shared, area: ShareArea):
        super().__init__(shared)
        self.part = area.actions.part

    def wire(
        self, session: gr.State, begun: Sequence[Dependency], answered: Sequence[Dependency]
    ) -> None:
        """Have the button call this desk, and know whether it has something to do.

        Args:
            session: whose.
            begun: events at which answers may have gone.
            answered: events at which an answer has ended.
        """
        outputs = [self.shared.message, self.part]
        self.part.report(self.report, [session, self.part], outputs, **LAST_WINS)
        for event in (*begun, *answered):
            event.success(self.ready, [session], [self.part], **LAST_WINS)

    def ready(self, session: Session) -> Update:
        """Whether there is anything to report."""
        return {self.part: gr.update(ready=session.first.ended)}

    @guarded
    def report(self, session: Session, where: object) -> Update:
        """The report of what has ended."""
        router, steered = session.first.record, session.second.record
        if router is None or not session.first.ended:
            raise AtMoeError("There is no finished answer yet; ask a question, then report it.")
        if not session.second.ended:
            steered = None
        made, drafts = datetime.now(UTC), session.tab(DraftsState).drafts
        name = f"atmoe-report-{made:%Y-%m-%d-%H%M}.html"
        return {
            self.part: gr.update(
                report={
                    "at": number_of(where),
                    "name": name,
                    "html": report(router, steered, made, drafts),
                }
            )
        }
