"""What the page does when someone steers.

It says what is in force, prepares the steered answer, and draws the plans.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.controls import Controls
from app.desk import WAITING, AnswerPlace, Desk, Shared, guarded, number_of
from app.events import LAST_WINS
from app.following import Update
from app.markup import badge, line, message
from app.session import Question, Session
from app.sources import told
from app.steer import words
from app.steer.area import READING, SteerArea
from app.steer.figure import Effects, expert_figure, group_figure
from app.steer.panel import shown
from app.steer.table import shares_table, thirds_table
from app.view import View
from app.whose import plan_key, tagged
from atmoe import AtMoeError, Steering
from atmoe.sources.value import Found
from atmoe.wording import likely

LEAP = 1000
"""What the page puts into the controls is by so many newer than what was heard of a hand: more than
are on their way meanwhile, and all of those are of before."""
UNTOUCHED = (
    "Untouched: the same weights as the router's answer. Click an expert at the left, and a second "
    "answer under your shares stands here, beside the first."
)


class SteerDesk(Desk):
    """The callbacks of the controls."""

    def __init__(self, shared: Shared, area: SteerArea, second: AnswerPlace):
        """Of one page.

        Args:
            shared: what all desks share.
            area: the components.
            second: where the steered answer stands.
        """
        super().__init__(shared)
        self.area, self.second = area, second

    def wire(self, session: gr.State) -> Dependency:
        """Have the controls call this desk.

        Returns:
            The event of a movement.
        """
        area = self.area
        pictures = area.weights.pictures
        # Undo, redo, presets and reset come this way too: one event, of which the last value wins,
        # so no two can overtake each other.
        moved = area.panel.input(
            self.steer,
            [session, area.panel],
            [part for part in self.changing if part not in pictures],
            **LAST_WINS,
        )
        moved.success(self.draw, [session], pictures, **LAST_WINS)
        area.panel.again(self.again, [session], self.showing, **LAST_WINS)
        return moved

    def wire_effects(self, session: gr.State, measured: Dependency) -> None:
        """Have the cells tell what was measured of their parts.

        Args:
            session: whose.
            measured: the event at which it has been.
        """
        plots = [self.area.weights.group_plot, self.area.weights.expert_plot]
        measured.success(self.tell_effects, [session], plots, **LAST_WINS)

    def tell_effects(self, session: Session) -> Update:
        """The pictures again, with the effects in their cells' notes, where there are any."""
        question, view = session.question, self._view(session)
        if view is not None and self._effects(session):
            update = self._plots(session, view)
            if session.question is question:
                return update
        return {self.area.weights.group_plot: gr.skip()}

    def _effects(self, session: Session) -> dict[str, str]:
        """What leaving each part out of the answer under the plan in force was measured to cost."""
        slot = session.first if session.steering.untouched else session.second
        explanation = slot.record and slot.record.explanation
        if not explanation:
            return {}
        units = (*explanation.of("group"), *explanation.of("expert"))
        return {
            u.name: f"without it in all layers: {likely(u.effect)} per token (measured)"
            for u in units
        }

    @property
    def changing(self) -> list[Component]:
        """What a steering changes."""
        area, shared = self.area, self.shared
        parts = [shared.message, area.badge, *self.second.parts, *shared.cleared]
        return [*parts, *self.showing_plans]

    @property
    def showing(self) -> list[Component]:
        """What `again` changes."""
        return [*self.showing_plans, self.area.badge, *self.second.told]

    @property
    def showing_plans(self) -> list[Component]:
        """What `weights` changes."""
        area = self.area
        words = [area.panel, area.line, area.sources, area.weights.reading]
        return [*words, *area.weights.pictures]

    @guarded
    def steer(self, session: Session, controls: dict) -> Update:
        """The controls moved: say what is in force at once, and make the steered answer's job.

        `draw` follows, and the steered answer once the controls rest.
        """
        at, refused = number_of(controls), ""
        try:
            wanted = Controls.from_dict(controls, self.model.layout)
        except AtMoeError as error:  # the controls go back to what was possible
            wanted, refused = session.controls, str(error)
        if at < session.heard:  # a newer one was heard, and answered, meanwhile
            return {self.shared.message: gr.skip()}
        # In this order, so that whoever tells both says no old setting under a new number.
        session.controls, session.heard = wanted, at
        if refused:
            note = shown(self._view(session), at, refused, session.controls.scope)
            return {
                self.shared.message: message(refused),
                self.area.panel: gr.update(value=session.controls.to_dict(), shown=note),
            }
        # What is sent again, less what was refused, takes no refusal away.
        said = {self.shared.message: gr.skip()} if controls.get("again") else {}
        return self.prepare_second(session) | self._in_words(session) | said

    def draw(self, session: Session) -> Update:
        """The pictures and tables of the plans. What `steer` had to say stays.

        They take the page longer than all else that a movement changes, and the next answer must
        not wait for them.
        """
        question, update = session.question, self._in_pictures(session)
        return {self.area.weights.group_plot: gr.skip()} | (
            update if session.question is question else {}
        )

    def again(self, session: Session) -> Update:
        """All that shows the plans, and whose the steered answer is, as of now.

        The controls ask for it where what they are shown is of an earlier setting than the server
        has heard of: what was said first may come last in a busy browser, and would stay.
        """
        shown = self.blank(session) if session.question is None else self.weights(session)
        return shown | self.whose(session)

    def whose(self, session: Session) -> Update:
        """Whose the steered answer and the weights in force are, as of now."""
        return self.asked(session) | {self.area.badge: self._badge(session)}

    def put(self, session: Session, controls: Controls) -> Update:
        """Put the controls somewhere themselves, not a person's hand."""
        session.controls = controls
        return self.prepare_second(session) | self.weights(session, controls.to_dict())

    def prepare_second(self, session: Session) -> Update:
        """Replace the steered answer's job by one for the steering and question of now.

        Returns:
            What will happen, in words.
        """
        steering = session.steering
        session.second.clear()
        if session.question is not None and not steering.untouched:
            session.second.job = self.shared.job(session, steering)
        cleared = self.shared.steering_changed(session)
        return self.noted(session) | self.whose(session) | cleared

    def _badge(self, session: Session) -> str:
        """Whose weights are in force."""
        view = self._view(session)
        said = words.whose_weights(session.controls, view is not None and view.same)
        return badge(said, not session.steering.untouched)

    def asked(self, session: Session) -> Update:
        """What the steered answer answers, and the steering it is given under."""
        question, steering = session.question, session.steering
        if question is None or steering.untouched:
            return self.second.tell("", "")
        of, whole = question.key(steering), words.changes(steering)
        return self.second.tell(question.prompt, words.head(steering), question, of, whole)

    def noted(self, session: Session) -> Update:
        """The steered answer's place before any answer is there."""
        question, steering, of = session.question, session.steering, ""
        if question is not None and not steering.untouched:
            of = question.key(steering)
        return self.second.say(self.note(session), of) | {self.second.facts: line("")}

    def note(self, session: Session) -> str:
        """What stands in the steered column before any answer does."""
        controls = session.controls
        if not controls.on and not controls.steering_when_on.untouched:
            changes = words.changes(controls.steering_when_on)
            return f"Switched off, and kept: {changes}. This is the router's answer alone."
        if session.steering.untouched:
            return UNTOUCHED
        if session.question:
            return WAITING
        return f"Set for your question: {words.changes(session.steering)}."

    def weights(self, session: Session, controls: dict[str, Any] | None = None) -> Update:
        """Everything that shows the plans, as far as the router's plan is known.

        Args:
            session: whose.
            controls: put there, where given.
        """
        if controls is not None:
            session.heard += LEAP
        return self._in_words(session, controls) | self._in_pictures(session)

    def blank(self, session: Session) -> Update:
        """Everything that shows the plans, where there is none: as before anything was asked."""
        layout, parts = self.model.layout, self.area.weights
        return self._in_words(session) | {
            self.area.line: READING,
            self.area.sources: line(""),
            parts.reading: READING,
            **self._drawn(None),
            parts.thirds: thirds_table(layout, None),
            parts.table: shares_table(layout, None),
        }

    def weights_so_far(self, question: Question) -> Update:
        """The pictures while the router still reads: the layers that it has read."""
        plan = question.kept.so_far(self.model.layout)
        if plan is None:
            return {}
        return self._drawn(View(plan, plan, Steering(), plan_key(question.prompt)))

    def _view(self, session: Session) -> View | None:
        """What there is to see, once the router's plan is known."""
        question, steering = session.question, session.steering
        if question is None or question.router_plan is None:
            return None
        router_plan, of = question.router_plan, plan_key(question.prompt, steering)
        try:
            return View.of(router_plan, steering, of, question.prompt)
        except AtMoeError:
            # A contradiction: the steered column says so, the router's plan is still true.
            return View.of(router_plan, Steering(), of, question.prompt)

    def _in_words(self, session: Session, controls: dict[str, Any] | None = None) -> Update:
        """What the controls and the sentences show."""
        heard = session.heard  # first: see `steer`
        view = self._view(session)
        note = shown(view, heard, scope=session.controls.scope)
        panel = gr.update(shown=note) if controls is None else gr.update(value=controls, shown=note)
        update: Update = {self.area.panel: panel}
        if view is not None:
            update[self.area.line] = words.routing_line(view, self.model.info.words)
            update[self.area.sources] = tagged(view.key, told(_found(session)))
            update[self.area.weights.reading] = words.reading(view)
        return update

    def _in_pictures(self, session: Session) -> Update:
        """What the pictures and tables show."""
        layout, view, parts = self.model.layout, self._view(session), self.area.weights
        if view is None:
            return {}
        return self._plots(session, view) | {
            parts.thirds: thirds_table(layout, view),
            parts.table: shares_table(layout, view),
        }

    def _plots(self, session: Session, view: View) -> Update:
        """The pictures alone, with whatever was measured in their cells' notes."""
        found = _found(session)
        return self._drawn(view, self._effects(session), found is not None and found.far)

    def _drawn(
        self, view: View | None, effects: Effects | None = None, pale: bool = False
    ) -> Update:
        layout, parts = self.model.layout, self.area.weights
        return {
            parts.group_plot: group_figure(layout, view, effects, pale),
            parts.expert_plot: expert_figure(layout, view, effects, pale),
        }


def _found(session: Session) -> Found | None:
    """What the model's index says of the question."""
    return None if session.question is None else session.question.found
