"""Many people's answers, decoded together: rows that join and leave one batch at any token.

That is how Orca does it (OSDI 2022).

    add(prompt, plan, sampling) ─► its own prefill ─► row ─┐
    step()                        one more token of every row, each under its own plan
    remove(row)                   ◄─ as soon as it has ended, or nobody wants it ─┘

A row is what it would be alone, bit for bit. Its prompt is read alone (`beginning`: in pieces,
between which the others go on), its keys and values are its
own (so no row is padded, and windows and positions are as if nobody else were there), and its plan
is always computed beside the weights, never folded in. What the rows share are the matrix products,
and those may round a row differently by how many rows there are. Whether they do is tried out on
the machine, once, with whole steps and with products that cancel (`even_rows`): rows are then
padded to the least multiple at which no bit changes, and decoded in turns where there is none. On
an AMD EPYC with AVX-512, torch 2.13: bfloat16 needs an even number of rows (a lone one rounds
otherwise in the widest products), float32 a multiple of 4, with one thread or two.

So whoever is alone may take several places: with the tokens that are guessed to come next
(`atmoe.answer.guessing`), each of which is kept where it is what its own logits choose.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from atmoe.answer.engine import Engine, Turns, engine_of
from atmoe.answer.even import even_rows
from atmoe.answer.kept import Kept, Shelf
from atmoe.answer.leases import Lease
from atmoe.answer.pieces import Pieces, whole
from atmoe.answer.prefill import Prefilled, in_pieces
from atmoe.answer.row import Decoding
from atmoe.answer.sampling import Sampling
from atmoe.mixture.memory import give_back_memory
from atmoe.mixture.mixture import Mixture
from atmoe.prompt.template import Prompt
from atmoe.routing.plan import RoutingPlan

MOST_ROWS = 8
"""At once.

With the shipped model on 2 cores, 8 rows gave 5.4 times the tokens of one in bfloat16, 12 gave 7.3
and 16 gave 8.1: each then grows at 0.7, 0.6 and 0.5 of the pace of one alone. In float32 a row's
keys and values take 46 KB a token.
"""


class Batching:
    """Rows under way over one model. To be used by one thread.

    Args:
        mixture: what answers.
        most: rows at once.

    Attributes:
        model: the mixture that answers.
        rows: in the order they came.
        most: rows at once.
        shelf: what is kept of everybody's prompts.
    """

    def __init__(self, mixture: Mixture, most: int = MOST_ROWS):
        self.model = mixture
        self.most = most
        self.rows: list[Decoding] = []
        self.shelf = Shelf()
        self._beginning = 0
        self._engine: Engine | None = None
        self._multiple: int | None = None  # of rows, not tried out yet
        self._reader: Lease | None = None
        self._prepared: tuple[Decoding, ...] = ()
        self._leases: dict[tuple[Decoding, ...], Lease] = {}

    def add(
        self,
        prompt: str,
        plan: RoutingPlan | None = None,
        sampling: Sampling = Sampling(),
        kept: Kept | None = None,
        others: Sequence[Sequence[int]] = (),
    ) -> Decoding:
        """Read a prompt and choose its first token.

        Args:
            prompt: what a person typed.
            plan: None = the router's, read on the way.
            sampling: how its tokens are chosen.
            kept: filled by the router's own prefill; a later one begins where its plan parts from
                the router's.
            others: tokens of other answers to the same question, the oldest first; they may still
                grow. The answer is the same with them and without, and sooner there where it goes
                as they do.

        Raises:
            PromptError, PlanError: before anything runs.
            RuntimeError: all places are taken.
        """
        return whole(self.beginning(prompt, plan, sampling, kept, others))

    def beginning(
        self,
        prompt: str,
        plan: RoutingPlan | None = None,
        sampling: Sampling = Sampling(),
        kept: Kept | None = None,
        others: Sequence[Sequence[int]] = (),
    ) -> Pieces[Decoding]:
        """`add`, in pieces, between which the other rows can have their steps; a place is held."""
        if len(self.rows) + self._beginning >= self.most:
            raise RuntimeError(f"All {self.most} rows are taken; remove one first.")
        encoded = self.model.encode(prompt)
        self.model.must_fit(encoded, sampling.max_new_tokens)
        self._beginning += 1
        try:
            began = time.perf_counter()
            read = yield from self.reading(encoded, plan, kept)
            row = Decoding(self, encoded, read, time.perf_counter() - began, sampling, others)
        finally:
            self._beginning -= 1
        if row.finish is None:
            self.rows.append(row)
        return row

    def route(self, prompt: str, kept: Kept | None = None) -> RoutingPlan:
        """The router's own plan for a prompt, read as `add` reads it.

        Args:
            prompt: what a person typed.
            kept: filled by this, so that a steered answer can begin where its plan parts.

        Raises:
            PromptError: the prompt cannot be read.
        """
        return whole(self.routing(prompt, kept))

    def routing(self, prompt: str, kept: Kept | None = None) -> Pieces[RoutingPlan]:
        """`route`, in pieces, between which rows can have their steps."""
        encoded = self.model.encode(prompt)
        return (yield from self.reading(encoded, None, kept, use_cache=False)).plans[0]

    def prefill(
        self,
        prompt: Prompt,
        plan: RoutingPlan | None = None,
        kept: Kept | None = None,
        use_cache: bool = True,
    ) -> Prefilled:
        """Read one prompt through the copy of the weights that the rows are decoded with, if any.

        Args:
            prompt: as encoded.
            plan: None = the router's, read on the way.
            kept: filled by the router's own prefill; a later one begins where its plan parts from
                the router's.
            use_cache: False where nothing is to be decoded: neither logits nor a cache are made.
        """
        return whole(self.reading(prompt, plan, kept, use_cache))

    def reading(
        self,
        prompt: Prompt,
        plan: RoutingPlan | None = None,
        kept: Kept | None = None,
        use_cache: bool = True,
    ) -> Pieces[Prefilled]:
        """`prefill`, in pieces, between which rows can have their steps."""
        self.ready()
        plans = None if plan is None else [plan]
        read = yield from in_pieces(self.model, [prompt], plans, use_cache, kept, self._reader)
        if kept is not None:
            self.shelf.put(kept)
        return read

    def remove(self, row: Decoding) -> None:
        """Free a row's place and its memory; one that has left already is left alone."""
        if row in self.rows:
            self.rows.remove(row)
            row.past = None

    def step(self) -> None:
        """One more token of every row, or several of a lone one. Those that end with it leave."""
        rows = tuple(self.rows)
        if not rows:
            return
        # 1. lease what they are decoded with, if others are under way than before
        if {*rows} != {*self._prepared}:
            self.warm()
        engine, guessed = self._engine, []
        if len(rows) == 1 and self._multiple:
            guessed = rows[0].guessed(self.most - 1)
        places = rows + rows * len(guessed)
        if places != self._prepared:
            self._prepare(places)
            self._prepared = places
        # 2. decode
        if engine is None:
            for row in rows:
                row.take(row.past([row.last]))
        else:
            tokens = [row.last for row in rows] + guessed
            logits: list[Tensor] = []
            for group in [places] if self._multiple else zip(rows):
                made, tokens = tokens[: len(group)], tokens[len(group) :]
                logits += self._decode(engine, group, made).split(1)
            # 3. choose
            if guessed:
                rows[0].take_all(logits, guessed)
            else:
                for row, own in zip(rows, logits):
                    row.take_all([own], [])
        for row in rows:
            if row.finish is not None:
                self.remove(row)

    def ready(self) -> None:
        """Hold a lease of the copy of the weights, as long as the model is the one it is of.

        What reads first does so. Where steps read the weights in 4-bit groups there is no copy.
        """
        engine = engine_of(self.model)
        if engine is self._engine and engine is not None:
            return
        self._lease({})
        if self._reader:
            self._reader.close()
        self._engine, self._multiple, self._prepared, self._reader = engine, None, (), None
        # A prompt is read by the copy because it is there: a tenth sooner than by the weights.
        if engine is not None and not engine.copy.spared:
            self._reader = engine.copy.lease(self._nothing(1), fold=False)

    def warm(self) -> None:
        """Try the machine out now, which the first step would do otherwise."""
        self.ready()
        if self._multiple is None:
            self._multiple = even_rows(self._engine, self.most) if self._engine else 0
            give_back_memory()

    def close(self) -> None:
        """Give up all rows, and the copy of the weights."""
        for row in tuple(self.rows):
            self.remove(row)
        self._lease({})
        if self._reader:
            self._reader.close()
        self._engine = self._reader = self._multiple = None

    # -- what a step is made of ---------------------------------------------------------------

    def _nothing(self, rows: int) -> Tensor:
        """Weights of rows without experts, [rows, layers, experts]."""
        layout = self.model.layout
        gain = self.model.router.gain
        return gain.new_zeros(rows, layout.layers, len(layout.expert_names)).detach()

    def _prepare(self, places: tuple[Decoding, ...]) -> None:
        """Lease the products of the rows of now.

        They decode together, or each alone where that would show.

        Args:
            places: the rows; a lone one as often as it has tokens in a step.
        """
        engine = self._engine
        if engine is None:
            return
        # whoever is alone comes back to each number of places
        leases = {group: own for group, own in self._leases.items() if {*group} == {*places}}
        for group in [places] if self._multiple else zip(places):
            if group in self._leases:
                leases[group] = self._leases[group]
                continue
            weights = torch.cat([row.weights for row in group])
            with torch.inference_mode():
                padded = torch.cat([weights, self._nothing(self._spare(group))])
                leases[group] = engine.copy.lease(padded, fold=False, steps=True)
        self._lease(leases)

    def _lease(self, leases: dict[tuple[Decoding, ...], Lease]) -> None:
        """Hold these, and no others."""
        for group, lease in self._leases.items():
            if group not in leases:
                lease.close()
        self._leases = leases

    def _spare(self, group: Sequence[Decoding]) -> int:
        """How many rows of nobody's a group is padded by."""
        return -len(group) % (self._multiple or 1)

    def _decode(self, engine: Engine, group: tuple[Decoding, ...], tokens: Sequence[int]) -> Tensor:
        """What follows each place's token, of a group; the logits, [places, vocabulary]."""
        lease, places, spare = self._leases[group], len(group), self._spare(group)
        if places == 1 and not spare:  # nothing to take apart
            past = group[0].past
            return engine.step(lease.products, tokens, past.turns(), past.attend)
        ahead = [group[:at].count(row) for at, row in enumerate(group)]
        turns_of = [row.past.turns(n) for row, n in zip(group, ahead)]
        turns_of += turns_of[:1] * spare
        turns: Turns = {}
        for rope in turns_of[0]:
            cos, sin = zip(*[own[rope] for own in turns_of])
            turns[rope] = torch.cat(cos), torch.cat(sin)

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            seen = [
                row.past.attend(index, *own, n)
                for row, n, *own in zip(group, ahead, q.split(1), k.split(1), v.split(1))
            ]
            # Whatever stands in the spare rows, nobody reads it.
            return torch.cat([*seen, q[places:]])

        return engine.step(lease.products, [*tokens, *[0] * spare], turns, attend)[:places]
