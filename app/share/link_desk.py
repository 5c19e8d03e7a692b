"""The address of the page, a link to share, and opening either.

a setting or a question comes to rest ─► settle ─► the browser writes its address
a page at an address, Back, Forward   ─► open   ─► settings, question, a link's answers
Share                                 ─► share  ─► a link with both answers in its fragment
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.answering import Given
from app.ask.desk import AskDesk, Begun
from app.controls import Controls
from app.desk import AnswerPlace, Desk, Shared, guarded, number_of
from app.events import LAST_WINS, QUIET, UNQUEUED
from app.following import Update
from app.markup import message, passage
from app.session import Session
from app.share.area import ShareArea
from app.share.fragment import Held, from_fragment, to_fragment
from app.share.link import MAX_QUESTION, Linked, LinkError, from_query, query_of, to_query
from app.share.where import LOADED, Tabs, Where, read
from app.share.words import FROM_LINK, ONE_FROM_LINK, holds, said
from app.steer import words
from app.view import sampling_of
from atmoe import AtMoeError, Record, Sampling
from atmoe.answer.generation import in_words
from atmoe.errors import SteeringError

TOO_LONG = (
    f"The question has more than {MAX_QUESTION:,} characters, too many for a link; download the "
    "record instead."
)


@dataclass
class LinkState:
    """What is known of an opened link.

    Attributes:
        shown: the answers on show are its.
    """

    shown: bool = False

    def cancel(self) -> None:
        """Nothing: the answers are the session's own."""


class LinkDesk(Desk):
    """The callbacks of the link."""

    def __init__(self, shared: Shared, area: ShareArea, ask_desk: AskDesk):
        super().__init__(shared)
        self.area, self.part = area, area.actions.part
        self.ask_desk, self.steer_desk, self.box = ask_desk, ask_desk.steer_desk, ask_desk.area.box
        self._tabs = Tabs()

    def wire(self, session: gr.State, page: gr.Blocks) -> Begun:
        """Have a page that is loaded at an address, and Back and Forward, call this desk.

        Returns:
            The event of an opened address, and those at which its answers have ended.
        """
        steer_desk, box, part = self.steer_desk, self.box, self.part
        outputs = [*self.ask_desk.changing, *steer_desk.changing, *steer_desk.showing_plans]
        outputs += [self.area.bar.said, box.question, *box.settings.parts, part]
        outputs = list(dict.fromkeys(outputs))
        page.load(None, js=LOADED, **QUIET)
        opened = part.visit(self.open, [session, part], outputs, **LAST_WINS)
        self.area.bar.close.click(lambda: said(), None, [self.area.bar.said], **UNQUEUED)
        return self.ask_desk.stream_both(opened, session)

    def wire_address(self, session: gr.State, rests: Sequence[Callable[..., Dependency]]) -> None:
        """Have the address follow what is set.

        Args:
            session: whose.
            rests: listen to events at which something has come to rest.
        """
        box, part, settings = self.box, self.part, self.box.settings
        changes = (settings.max_tokens.change, settings.temperature.change, settings.seed.change)
        for listen in (*rests, *changes):
            listen(self.settle, [session, *box.settings.parts], [part], **LAST_WINS)
        part.linking(
            self.share,
            [session, part, box.question, *box.settings.parts],
            [self.shared.message, part],
            **LAST_WINS,
        )

    def settle(
        self, session: Session, max_tokens: float, temperature: float, seed: float | None
    ) -> Update:
        """What the address shall hold; whether the question goes into it, the browser knows."""
        try:
            query = self._query(session, sampling_of(max_tokens, temperature, seed))
        except AtMoeError:  # said when a question is asked with it
            return {self.part: gr.skip()}
        question = session.question.prompt if session.question else ""
        # A link's answers stay in its own address.
        if session.tab(LinkState).shown or len(question) > MAX_QUESTION:
            question = ""
        name = self._tabs.name(session)
        return {self.part: gr.update(address={"query": query, "question": question, "name": name})}

    @guarded
    def share(
        self,
        session: Session,
        where: object,
        typed: str,
        max_tokens: float,
        temperature: float,
        seed: float | None,
    ) -> Update:
        """A link to what is there now; the browser puts the page's address before it."""
        query = self._query(session, sampling_of(max_tokens, temperature, seed))
        question = session.question.prompt if session.question else typed.strip()
        answers, ended = "", _ended(session)
        if ended:
            steered = ended[1] if len(ended) > 1 else None
            answers = to_fragment(ended[0], steered, session.controls)
        under_way = [slot for slot in (session.first, session.second) if slot.job is not None]
        streaming = any(not slot.ended for slot in under_way)
        what, sentence = holds(bool(question), len(ended) if answers else 0, streaming)
        if not answers and len(question) > MAX_QUESTION:
            question, sentence = "", TOO_LONG
        linked = {
            "at": number_of(where),
            "query": query,
            "question": question,
            "answers": answers,
            "what": what,
            "said": sentence,
        }
        return {self.part: gr.update(linked=linked)}

    @guarded
    def open(self, session: Session, where: object) -> Update:
        """Restore what the address holds."""
        at = read(where)
        update = self._opened(session, at)
        # The browser waits for it before it writes an address, or sends what a person sent.
        return update | {self.part: gr.update(address={"at": at.at})}

    @guarded
    def _opened(self, session: Session, where: Where) -> Update:
        trouble = ""
        if where.left:
            self._tabs.take_up(session, where.left.name)
        try:
            held = from_fragment(where.hash)
            if held is not None:
                return self._open_answers(session, held)
        except AtMoeError as error:
            trouble = f"The answers in this link cannot be shown, so only its settings are. {error}"
        linked = from_query(query_of(where.search.removeprefix("?")), self.model.layout)
        if where.left and where.left.question:
            linked = linked or Linked()
            linked = replace(linked, question=linked.question or where.left.question)
        if linked is None and not where.back:
            return {self.box.message: message(trouble)} if trouble else {}
        update = self._restore(session, linked or Linked(), silent=where.back or bool(where.left))
        return update | ({self.box.message: message(trouble)} if trouble else {})

    @property
    def cleared(self) -> list[Component]:
        """The bar."""
        return [self.area.bar.said]

    def steering_changed(self, session: Session) -> Update:
        """What is shown now is not the link's."""
        session.tab(LinkState).shown = False
        return {self.area.bar.said: said()}

    def _query(self, session: Session, sampling: Sampling) -> str:
        longest, seed = sampling.max_new_tokens, sampling.seed
        return to_query(Linked(session.controls, longest, sampling.temperature, seed))

    def _restore(self, session: Session, linked: Linked, silent: bool) -> Update:
        """What a query string holds.

        Args:
            session: whose.
            linked: the settings, and the question if it was to be shared.
            silent: whether the person was there before, and needs no word.
        """
        controls, box, told = linked.controls, self.box, ""
        sampling = sampling_of(linked.tokens, linked.temperature, linked.seed)
        changed = words.changes(controls.steering_when_on) or "the router's own weights"
        if not silent:
            told = f"Opened from a link: {changed}."
        now = session.question
        update: Update
        if linked.question and (
            now is None or (now.prompt, now.sampling) != (linked.question, sampling)
        ):
            try:
                update = self.ask_desk.begin(session, linked.question, sampling, controls)
                update |= self.steer_desk.weights(session, controls.to_dict())
            except AtMoeError as error:
                told = f"{told} {error}".strip()
                update = self.steer_desk.put(session, controls)
        else:
            if not silent and not linked.question:
                told += " Ask a question to see both answers."
            update = self.steer_desk.put(session, controls)
        if linked.question:
            update[box.question] = linked.question
        return update | box.settings.showing(sampling) | {box.message: message(told)}

    def _open_answers(self, session: Session, held: Held) -> Update:
        """Both answers of a link, at once; another model's question is answered anew."""
        if held.model["sha256"] != self.model.info.sha256:
            return self._answer_anew(session, held)
        controls = Controls.from_dict(held.controls, self.model.layout)
        steered = held.steered if not controls.steering.untouched else None
        outside = [given for given in (held.router, steered) if given is not None]
        vocabulary = len(self.model.tokenizer)
        if any(token >= vocabulary for given in outside for token in given.tokens):
            raise LinkError("They hold a token that this model does not have.")

        # 1. as if it were asked, but for the jobs
        update = self._begun(session, held, controls)
        area = self.ask_desk.area
        update |= self._put(session, Controls(), area.first, held.router)
        if steered is not None:
            update |= self._put(session, controls, area.second, steered)

        # 2. whose answers these are
        session.tab(LinkState).shown = True
        sentence = FROM_LINK if steered is not None else ONE_FROM_LINK
        return update | {self.area.bar.said: said([sentence], again=True)}

    def _put(
        self, session: Session, controls: Controls, place: AnswerPlace, given: Given
    ) -> Update:
        """An answer in its place, and the job that brings its weights."""
        slot = session.first if place is self.ask_desk.area.first else session.second
        slot.job = job = self.shared.given(session, controls.steering, given)
        return {place.text: passage(in_words(self.model, given.tokens), of=job.of)}

    def _answer_anew(self, session: Session, held: Held) -> Update:
        """The question of another model's link."""
        lost = ""
        try:
            controls = Controls.from_dict(held.controls, self.model.layout)
        except SteeringError:
            controls = Controls()
            lost = " What was steered does not fit this model, and is left out."
        update = self._begun(session, held, controls)
        sentence = (
            f"The answers in this link are those of the model “{held.model['name']}” (sha256 "
            f"{held.model['sha256'][:12]}), not of this one: its question is answered anew here."
        )
        return update | {self.box.message: message(sentence + lost)}

    def _begun(self, session: Session, held: Held, controls: Controls) -> Update:
        """A link's question, asked under what was set."""
        update = self.ask_desk.begin(session, held.prompt, held.sampling, controls)
        update |= self.steer_desk.weights(session, controls.to_dict())
        box = self.box
        return update | box.settings.showing(held.sampling) | {box.question: held.prompt}


def _ended(session: Session) -> list[Record]:
    """The answers that can be shared: the router's, and the steered one beside it."""
    records = []
    for slot in (session.first, session.second):
        # One that was stopped is no answer to share.
        if slot.record is None or slot.record.finish == "cancelled":
            break
        records.append(slot.record)
    return records
