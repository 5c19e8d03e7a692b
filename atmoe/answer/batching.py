"""Many people's answers, decoded together: rows that join and leave one batch at any token (as Orca's, OSDI 2022).

    add(prompt, plan, sampling) ─► its own prefill ─► row ─┐
    step()                        one more token of every row, each under its own plan
    remove(row)                   ◄─ as soon as it has ended, or nobody wants it ─┘

A row is what it would be alone, bit for bit. Its prompt is read alone, its keys and values are its own (so no row is
padded, and windows and positions are as if nobody else were there), and its plan is always computed beside the weights,
never folded in. What the rows share are the matrix products, and those may round a row differently by how many rows there
are. Whether they do is tried out on the machine, once, with whole steps (`even_rows`): rows are then padded to the least
multiple at which no bit changes, and decoded in turns where there is none. On an AMD EPYC with AVX-512, torch 2.13: bfloat16
needs an even number of rows (a lone one rounds otherwise in the widest products), float32 a multiple of 4, with one thread or two.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing

import torch
from torch import Tensor

from atmoe.answer.decoder import Plain
from atmoe.answer.engine import Engine, engine_of
from atmoe.answer.fused import Lease
from atmoe.answer.generation import Step, end_tokens, grow
from atmoe.answer.kept import Kept
from atmoe.answer.past import Past
from atmoe.answer.prefill import Prefilled, prefill
from atmoe.answer.sampling import Chooser, Sampling
from atmoe.mixture.mixture import Mixture
from atmoe.prompt import Prompt
from atmoe.routing.plan import RoutingPlan

MOST_ROWS = 8
"""At once. With the shipped model on 2 cores, 8 rows gave 5.4 times the tokens of one in bfloat16, 12 gave 7.3 and 16 gave 8.1: each
then grows at 0.7, 0.6 and 0.5 of the pace of one alone. In float32 a row's keys and values take 46 KB a token."""


class Row:
    """One answer of a batch. Iterating gives its steps, made for all rows whenever this one has none left unread.

    plans: the one in force.  sampling, prefill_seconds, engine: as of a `Generation`; no plan is ever folded.
    tokens_per_second: of this row, while others were decoded too.
    """

    def __init__(
        self,
        batch: Batching,
        prompt: str,
        plan: RoutingPlan | None,
        sampling: Sampling,
        kept: Kept | None,
    ):
        model, self._batch, self.sampling = batch.model, batch, sampling
        encoded, began = model.encode(prompt), time.perf_counter()
        logits, self.plans, cache, read = batch.prefill(encoded, plan, kept)
        self._began = time.perf_counter()
        self.prefill_seconds, self.tokens_per_second = self._began - began, 0.0
        self.weights = model.weights_of(self.plans, 1)
        self._choose, self._ends = Chooser(sampling, [encoded]), end_tokens(model)
        self._tokens: list[int] = []
        self._unread: deque[Step] = deque()
        engine = engine_of(model)
        self.engine = "lean" if engine else "plain"
        self.past = (
            Past(engine, read, cache, sampling.max_new_tokens)
            if engine
            else Plain(model, read, cache, self.weights)
        )
        self.take(logits)

    def take(self, logits: Tensor) -> None:
        """Choose the next token. logits: [1, vocabulary]"""
        self.last = self._choose(logits, [self._tokens])[0]
        self.finish = grow(self._tokens, self.last, self._ends, self.sampling)
        self.tokens_per_second = len(self._tokens) / max(time.perf_counter() - self._began, 1e-9)
        self._unread.append(Step.of(self._batch.model, [self._tokens], [self.finish]))

    def __iter__(self) -> Row:
        return self

    def __next__(self) -> Step:
        if not self._unread and self in self._batch.rows:
            self._batch.step()
        if not self._unread:
            raise StopIteration
        return self._unread.popleft()

    def close(self) -> None:
        """Give up what is not decoded yet."""
        self._batch.remove(self)


class Batching:
    """Rows under way over one model. To be used by one thread.

    rows: in the order they came.  most: at once.
    """

    def __init__(self, model: Mixture, most: int = MOST_ROWS):
        self.model, self.most = model, most
        self.rows: list[Row] = []
        self._engine: Engine | None = None
        self._multiple: int | None = None  # of rows, not tried out yet
        self._reader: Lease | None = None
        self._prepared: tuple[Row, ...] = ()
        self._leases: dict[tuple[Row, ...], Lease] = {}

    def add(
        self,
        prompt: str,
        plan: RoutingPlan | None = None,
        sampling: Sampling = Sampling(),
        kept: Kept | None = None,
    ) -> Row:
        """Read a prompt and choose its first token; None routes it on the way.  kept: see `AtMoe.generate`.

        Raises:
            PromptError, PlanError: before anything runs.
            RuntimeError: all places are taken.
        """
        if len(self.rows) >= self.most:
            raise RuntimeError(f"All {self.most} rows are taken; remove one first.")
        row = Row(self, prompt, plan, sampling, kept)
        if row.finish is None:
            self.rows.append(row)
        return row

    def route(self, prompt: str, kept: Kept | None = None) -> RoutingPlan:
        """The router's own plan for a prompt, read as `add` reads it.

        Raises: as `AtMoe.route`.
        """
        return self.prefill(self.model.encode(prompt), None, kept, use_cache=False).plans[0]

    def prefill(
        self,
        prompt: Prompt,
        plan: RoutingPlan | None = None,
        kept: Kept | None = None,
        use_cache: bool = True,
    ) -> Prefilled:
        """As `atmoe.answer.prefill.prefill`, of one prompt, through the copy of the weights that the rows are decoded with."""
        self.ready()
        return prefill(
            self.model, [prompt], None if plan is None else [plan], use_cache, kept, self._reader
        )

    def remove(self, row: Row) -> None:
        """Free a row's place and its memory; one that has left already is left alone."""
        if row in self.rows:
            self.rows.remove(row)
            row.past = None

    def step(self) -> None:
        """One more token of every row. Those that end with it leave."""
        rows = tuple(self.rows)
        if not rows:
            return
        if rows != self._prepared:
            self._prepare()
            self._prepared = rows
        if self._engine is None:
            found = [row.past([row.last]) for row in rows]
        else:
            found = [
                logits
                for group, lease in self._leases.items()
                for logits in self._decode(group, lease).split(1)
            ]
        for row, logits in zip(rows, found):
            row.take(logits)
            if row.finish is not None:
                self.remove(row)

    def ready(self) -> None:
        """Hold a lease of the copy of the weights, as long as the model is the one that it is of. What reads first does so."""
        engine = engine_of(self.model)
        if engine is self._engine and engine is not None:
            return
        self._lease({})
        if self._reader:
            self._reader.close()
        self._engine, self._multiple, self._prepared = engine, None, ()
        self._reader = engine.copy.lease(self._nothing(1), fold=False) if engine else None

    def warm(self) -> None:
        """Try the machine out now, which the first step would do otherwise."""
        self.ready()
        if self._multiple is None:
            self._multiple = even_rows(self._engine, self.most) if self._engine else 0

    def close(self) -> None:
        """Give up all rows, and the copy of the weights."""
        for row in tuple(self.rows):
            self.remove(row)
        self._lease({})
        if self._reader:
            self._reader.close()
        self._engine = self._reader = self._multiple = None

    # -- what a step is made of ---------------------------------------------------------------------------------

    def _nothing(self, rows: int) -> Tensor:
        """Weights of rows without experts. [rows, layers, experts]"""
        layout = self.model.layout
        return self.model.router.gain.new_zeros(
            rows, layout.layers, len(layout.expert_names)
        ).detach()

    def _prepare(self) -> None:
        """Lease the products of the rows of now, which decode together, or each alone where that would show."""
        self.warm()
        if (engine := self._engine) is None:
            return
        groups = [tuple(self.rows)] if self._multiple else [(row,) for row in self.rows]
        new = {}
        for group in groups:
            if group in self._leases:
                new[group] = self._leases[group]
                continue
            weights = torch.cat([row.weights for row in group])
            with torch.inference_mode():
                new[group] = engine.copy.lease(
                    torch.cat([weights, self._nothing(self._spare(group))]), fold=False
                )
        self._lease(new)

    def _lease(self, new: dict[tuple[Row, ...], Lease]) -> None:
        """Hold these, and no others."""
        for group, lease in self._leases.items():
            if group not in new:
                lease.close()
        self._leases = new

    def _spare(self, group: Sequence[Row]) -> int:
        """How many rows of nobody's a group is padded by."""
        return -len(group) % max(self._multiple, 1)

    def _decode(self, group: Sequence[Row], lease: Lease) -> Tensor:
        """→ logits [rows of the group, vocabulary]"""
        rows, spare = len(group), self._spare(group)
        each = [row.past.turns() for row in group]
        each += each[:1] * spare
        turns = {
            rope: tuple(map(torch.cat, zip(*(turn[rope] for turn in each)))) for rope in each[0]
        }

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            seen = [
                row.past.attend(index, *own)
                for row, own in zip(group, zip(q.split(1), k.split(1), v.split(1)))
            ]
            return torch.cat(
                [*seen, q[rows:]]
            )  # whatever stands in the spare rows, nobody reads it

        return self._engine.step(
            lease.products, [row.last for row in group] + [0] * spare, turns, attend
        )[:rows]


def even_rows(engine: Engine, most: int) -> int:
    """The least number of which a step's rows must be a multiple so that no row's logits depend, in any bit, on how many
    there are or where it stands, from 1 to `most` of them; 0 where there is none. Tried out with steps of made-up rows.
    """
    one = engine.model.router.gain.new_zeros(
        1, engine.model.layout.layers, len(engine.model.layout.expert_names)
    )
    with (
        torch.inference_mode(),
        closing(engine.copy.lease(one, fold=False)),
    ):  # so that the copy is made once
        multiple = 1
        while multiple < 2 * most:
            top = -(-most // multiple) * multiple
            all_rows = _made_up(engine, torch.arange(top))
            orders = (
                (torch.arange(rows) + rows // 2 + 1) % top
                for rows in range(multiple, top + 1, multiple)
            )
            if all(torch.equal(_made_up(engine, order), all_rows[order]) for order in orders):
                return multiple
            multiple *= 2
    return 0


def _made_up(engine: Engine, which: Tensor) -> Tensor:
    """One step of these out of many rows that have no past. which: [rows] → all that its products gave [rows, …]"""
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(64, *shape, generator=random)[which]
    model, embed = engine.model, engine.embed.weight
    weights = draw(model.layout.layers, len(model.layout.expert_names)).to(embed.device)
    tokens = (draw() * len(embed)).long().tolist()
    turns = {
        layer.rope: tuple(draw(1, layer.d).to(embed.device, embed.dtype) for _ in range(2))
        for layer in engine.layers
    }
    given = []
    with torch.inference_mode(), closing(engine.copy.lease(weights, fold=False)) as lease:
        products = [
            lambda x, product=product: given.append(product(x)) or given[-1]
            for product in lease.products
        ]
        logits = engine.step(
            products, tokens, turns, lambda index, q, k, v: v[:, :, None].expand_as(q)
        )
        return torch.cat([*given, logits], 1)
