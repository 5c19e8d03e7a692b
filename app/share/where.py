"""Where a browser is, and what a page that is loaded anew left in its tab."""

from __future__ import annotations

import secrets
from typing import Annotated
from weakref import WeakValueDictionary

from pydantic import Field

from app.session import Session
from app.share.link import MAX_QUESTION, LinkError
from atmoe.schema import Json, checked

LOADED = '() => { document.dispatchEvent(new Event("atmoe:loaded")); }'
"""Tells the browser that all of the page is there. No server is told what stands after the “#”, nor
what was left in the tab: only the browser knows whether there is anything to be asked about
(assets/app/share.js)."""


class Left(Json):
    """What a page that is loaded anew left in its tab.

    Attributes:
        question: "" where none was asked.
        name: of its session.
    """

    question: Annotated[str, Field(max_length=MAX_QUESTION)]
    name: Annotated[str, Field(max_length=64)]


class Where(Json):
    """Where a browser is.

    Attributes:
        back: whether it went there by Back or Forward.
        at: the browser's own number of what it asked.
        left: None where the page was not loaded anew, or left nothing.
    """

    search: Annotated[str, Field(max_length=2**16)]
    hash: Annotated[str, Field(max_length=2**16)]
    back: bool
    at: int
    left: Left | None = None


def read(where: object) -> Where:
    """What a browser sent.

    Raises:
        LinkError: it is nothing of the kind.
    """
    return checked(Where, where, "This address cannot be read", "open it once more", LinkError)


class Tabs:
    """Sessions by a name that only their own tab has, as long as the server holds them."""

    def __init__(self) -> None:
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def name(self, session: Session) -> str:
        """A session's, given to it at the first call: Gradio copies one session for all."""
        session.name = session.name or secrets.token_urlsafe()
        self._sessions[session.name] = session
        return session.name

    def take_up(self, session: Session, name: str) -> None:
        """Give a session the answers of the one before it in its tab, where that is still held."""
        before = self._sessions.get(name)
        if before is not None:
            session.known = before.known
