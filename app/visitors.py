"""What the server holds for each visitor, and when it lets that go.

    a visitor's session     without Gradio's copies of every component's settings: with as many
                            components as this page has they take 5 MB a visitor, and only its
                            deep links read them; and without the component it makes of each
                            update, 0.3 MB after one question, where it is only drawn
    a tab was closed        what can be made again goes at once; question and answers stay for an
                            hour, for whoever comes back (a phone that slept)
    an hour unused          the whole session goes, where its tab is closed or it never had one, as
                            a program's call

Gradio keeps the newest 10,000 sessions otherwise, whether or not anybody is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import copy
from datetime import datetime, timedelta
from typing import Any

import gradio as gr
from gradio.routes import App
from gradio.state_holder import SessionState, StateHolder

UNUSED_SECONDS = 3600
"""After so long without a call the session of a closed tab goes."""
DRAWN = (gr.HTML, gr.Plot, gr.Markdown, gr.Button, gr.DownloadButton, gr.blocks.BlockContext)
"""What is sent to a tab as it is: no setting of theirs has a say in how a value is read or sent."""


class Visitor(SessionState):
    """A visitor's session, which knows of components only what a later event may need."""

    def __init__(self, blocks: gr.Blocks):
        # As in the class above, but for the settings of each component.
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self._drawn: tuple[int, Any] | None = None
        self.STATE_TTL_WHEN_CLOSED = UNUSED_SECONDS

    def __setitem__(self, key: int, value: Any) -> None:
        """Keep a component's value, or a component that changed; of those only drawn, the last.

        Gradio reads off it what to send, right after it was put here, and never again.
        """
        if isinstance(value, DRAWN):
            self._drawn = key, value
            return
        blocks = self.blocks_config.blocks
        (self.state_data if isinstance(blocks.get(key), gr.State) else blocks)[key] = value

    def __getitem__(self, key: int) -> Any:
        """A component's value, or a component."""
        if self._drawn is not None and self._drawn[0] == key:
            return self._drawn[1]
        return super().__getitem__(key)

    def _update_config(self, key: int) -> None:
        """Nothing: there is no link to a state."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nothing: there is no link to a state."""


class Visitors(StateHolder):
    """Everybody's sessions.

    Args:
        clock: the time of now.
    """

    def __init__(self, clock: Callable[[], datetime] = datetime.now):
        super().__init__()
        self._clock = clock

    def __getitem__(self, session_id: str) -> SessionState:
        """A visitor's session; a new one where there is none."""
        with self.lock:
            if session_id not in self.session_data:
                self.session_data[session_id] = Visitor(self.blocks)
            self.time_last_used[session_id] = self._clock()
        self.update(session_id)
        return self.session_data[session_id]

    def delete_all_expired_state(self) -> None:
        """Let go what nobody will come back to. Gradio calls this each second."""
        until = self._clock() - timedelta(seconds=UNUSED_SECONDS)
        for session_id, held in list(self.session_data.items()):
            values = list(held.state_data.values())
            if held.is_closed:
                for value in values:
                    value.closed()
            used = self.time_last_used.get(session_id)
            if (held.is_closed or not values) and (used is None or used < until):
                with self.lock:
                    self.session_data.pop(session_id, None)
                    self.time_last_used.pop(session_id, None)
                for value in values:
                    value.end()


@asynccontextmanager
async def visitors(app: App) -> AsyncIterator[None]:
    """Hold an app's sessions so, from its start on."""
    app.state_holder = Visitors()
    app.state_holder.set_blocks(app.get_blocks())
    yield
