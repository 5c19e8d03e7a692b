"""Making a link of what is set, and opening one."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from app.ask.desk import AskDesk
from app.desk import Desk, Shared, Update, guarded
from app.events import UNQUEUED
from app.markup import message
from app.session import Session
from app.share.area import ShareArea
from app.share.link import Linked, from_query, to_query
from app.steer.words import changes
from app.view import sampling_of


class LinkDesk(Desk):
    """The callbacks of the link."""

    def __init__(self, shared: Shared, area: ShareArea, ask_desk: AskDesk):
        super().__init__(shared)
        self.area, self.box, self.steer_desk = area, ask_desk.area.box, ask_desk.steer_desk

    def wire(self, session: gr.State, page: gr.Blocks) -> None:
        """Have the button call this desk, and the page as it loads."""
        area, box = self.area, self.box
        clicked = area.make_link.click(
            self.make,
            [session, box.question, area.with_question, *box.settings.parts],
            [box.message, area.link],
            **UNQUEUED,
        )
        clicked.success(
            None,
            [area.link],
            [area.link],
            js="(query) => query && location.origin + location.pathname + query",
            **UNQUEUED,
        )
        outputs = [*self.steer_desk.changing, box.question, *box.settings.parts]
        page.load(self.open, [session], outputs, **UNQUEUED)

    @guarded
    def make(
        self,
        session: Session,
        question: str,
        with_question: bool,
        max_tokens: float,
        temperature: float,
        seed: float | None,
    ) -> Update:
        """The query string of what is set now; the browser puts the page's address before it."""
        sampling = sampling_of(max_tokens, temperature, seed)
        linked = Linked(
            session.controls,
            sampling.max_new_tokens,
            sampling.temperature,
            sampling.seed,
            question.strip() if with_question else None,
        )
        return {self.area.link: to_query(linked)}

    def open(self, request: gr.Request, session: Session) -> Update:
        """As the page loads: restore what the address holds."""
        return self._restore(session, dict(request.query_params))

    @guarded
    def _restore(self, session: Session, query: dict[str, str]) -> Update:
        linked, box = from_query(query, self.model.layout), self.box
        if linked is None:
            return {}
        changed = changes(linked.controls.steering_when_on) or "the router's own weights"
        next_step = (
            "Press Answer to see both answers."
            if linked.question
            else "Ask a question to see both answers."
        )
        update = self.steer_desk.put(session, linked.controls) | {
            box.settings.max_tokens: linked.tokens,
            box.settings.temperature: linked.temperature,
            box.settings.seed: linked.seed,
            box.message: message(f"Opened from a link: {changed}. {next_step}"),
        }
        if linked.question:
            update[box.question] = linked.question
        return update

    @property
    def cleared(self) -> list[Component]:
        """The link."""
        return [self.area.link]

    def steering_changed(self, session: Session) -> Update:
        """Take the link away: it says what was set before."""
        return {self.area.link: ""}
