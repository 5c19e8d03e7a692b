"""Making a link of what is set, and opening one."""

from __future__ import annotations

import gradio as gr

from app.ask.desk import Desk, Update, guarded
from app.markup import message
from app.session import Session
from app.share.link import Linked, from_query, to_query
from app.steer import words as text
from app.steer.view import sampling_of


class LinkDesk:
    """Callbacks over a desk. Everything of a person is in the `Session` that each call is given."""

    def __init__(self, desk: Desk):
        self.desk, self.ui, self.layout = desk, desk.ui, desk.model.layout

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
        return {self.ui.link: to_query(linked)}

    def open(self, request: gr.Request, session: Session) -> Update:
        """As the page loads: restore what the address holds."""
        return self._restore(session, dict(request.query_params))

    @guarded
    def _restore(self, session: Session, query: dict[str, str]) -> Update:
        linked, ui = from_query(query, self.layout), self.ui
        if linked is None:
            return {}
        changed = text.changes(linked.controls.kept) or "the router's own weights"
        asked = {ui.question: linked.question} if linked.question else {}
        return (
            self.desk.put(session, linked.controls)
            | asked
            | {
                ui.max_tokens: linked.tokens,
                ui.temperature: linked.temperature,
                ui.seed: linked.seed,
                ui.message: message(
                    f"Opened from a link: {changed}. "
                    + (
                        "Press Answer to see both answers."
                        if linked.question
                        else "Ask a question to see both answers."
                    )
                ),
            }
        )
