"""Many people at once at a page of its own process, over HTTP.

Who was refused, whose answer was another than when nobody else asks, who waited how long, and was
anybody served before who came first. Each of the people asks, waits for the whole answer, and asks
again until the time is up.

This library knows the page's endpoints and nothing else of it (`atmoe.bench.served` starts it).
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from atmoe.answer.batching import Batching
from atmoe.answer.sampling import Sampling
from atmoe.bench.served import connected, must_be_there, page
from atmoe.model import AtMoe

LEFT_SECONDS = 30
"""After the last of them has left, memory is looked at."""
TOKENS = 24
"""Of each answer, at most."""
MB = 1e6
ASKED = tuple(
    f"{question} {name}?"
    for question in ("How is it treated:", "What causes", "What is")
    for name in ("asthma", "gout", "psoriasis", "glaucoma")
)


@dataclass
class Told:
    """What the people were told.

    Attributes:
        began: when each asked, in seconds.
        first: when each saw the first words, in the order in which they asked; None = refused.
        answers: how many came to their end.
        wrong: questions whose answer is not what it is when nobody else asks.
        refused: what stood in the place of an answer.
        lost: questions whose stream ended with neither.
        newcomers: which of the questions were somebody's first.
    """

    began: list[float] = field(default_factory=list)
    first: list[float | None] = field(default_factory=list)
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    newcomers: set[int] = field(default_factory=set)

    def waits(self, newcomers: bool = False) -> list[float]:
        """Seconds from a question to its first words, of those who saw any.

        Args:
            newcomers: of those who asked for the first time.
        """
        return [
            first - began
            for at, (began, first) in enumerate(zip(self.began, self.first))
            if first is not None and (at in self.newcomers or not newcomers)
        ]


async def _ask(client: httpx.AsyncClient, question: str, told: Told) -> str | None:
    """Ask once, to the end. Returns the answer; None where it was refused or lost."""
    number = len(told.began)
    told.began.append(time.monotonic())
    told.first.append(None)
    data = {"data": [question, None, TOKENS, 0, 0.0, True]}
    reply = await client.post("/gradio_api/call/answer", json=data)
    last, kind = None, ""
    event = f"/gradio_api/call/answer/{reply.json()['event_id']}"
    async with client.stream("GET", event) as stream:
        async for text in stream.aiter_lines():
            if text.startswith("event: "):
                kind = text.removeprefix("event: ")
            elif text.startswith("data: ") and kind == "error":
                told.refused.append(text)
                return None
            elif text.startswith("data: ") and kind in ("generating", "complete"):
                last = json.loads(text.removeprefix("data: "))[0]["answer"]
                if told.first[number] is None and last:
                    told.first[number] = time.monotonic()
    if kind != "complete":
        told.lost.append(question)
        return None
    told.answers += 1
    return last


async def alone(client: httpx.AsyncClient, told: Told | None = None) -> dict[str, str | None]:
    """What each question is answered when nobody else asks."""
    return {question: await _ask(client, question, told or Told()) for question in ASKED}


def pace(model: AtMoe, people: int) -> tuple[float, list[float]]:
    """What this machine makes of so many people's questions, without a page.

    As many at once as the page's batch has room for; the people come as in `crowd`, each once.

    Returns:
        Answers a second, and after how many seconds each sees first words.
    """
    waits: list[float] = []
    with closing(Batching(model)) as batch:
        batch.warm()
        began = time.perf_counter()
        while len(waits) < people or batch.rows:
            while len(waits) < people and len(batch.rows) < batch.most:
                at = len(waits)
                batch.add(ASKED[at % len(ASKED)], None, Sampling(TOKENS))
                waits.append(max(0.0, time.perf_counter() - began - at / people))
            batch.step()
        return people / (time.perf_counter() - began), waits


async def crowd(
    client: httpx.AsyncClient, people: int, seconds: float, expected: Mapping[str, str | None]
) -> Told:
    """All of them, who come within a second.

    Args:
        client: of the page.
        people: at once.
        seconds: for which each asks again; answers under way then are waited for.
        expected: each question's answer.
    """
    told, until = Told(), time.monotonic() + seconds

    async def person(at: int) -> None:
        await asyncio.sleep(at / people)
        told.newcomers.add(len(told.began))  # the next to be asked
        while time.monotonic() < until:
            question = ASKED[at % len(ASKED)]
            answer = await _ask(client, question, told)
            if answer is not None and answer != expected[question]:
                told.wrong.append(question)
            at += 1

    await asyncio.gather(*(person(at) for at in range(people)))
    return told


def load(
    model: Path, precision: str, people: int, seconds: float, base: str | None = None
) -> dict[str, Any]:
    """So many people for so long, at a page over a model.

    Returns:
        {"precision", "people", "seconds", "answers", "refused", "lost", "other_than_alone";
        "first_words_s": {"median", "most", "alone": the median of one person, "newcomers": that of
        everybody's first question, "cores_allow": the same with no page around}; "answers_per_s":
        made so, `pace`; "out_of_order": of all pairs, in which the later one was served
        first; "mb": the page's memory "at_the_end" and "after_they_left", over what it had taken
        when each question had been asked by one person, and the same "each_second" from when they
        came}.

    Raises:
        AtMoeError: there is no page here.
    """

    async def run(address: str, process: psutil.Process) -> tuple[Told, Told, dict[str, Any]]:
        async with connected(address) as client:
            by_one = Told()
            expected = await alone(client, by_one)
            before, each = process.memory_info().rss, []

            def more() -> int:
                return round((process.memory_info().rss - before) / MB)

            async def watch() -> None:
                while True:
                    each.append(more())
                    await asyncio.sleep(1)

            watching = asyncio.create_task(watch())
            told = await crowd(client, people, seconds, expected)
            mb = {"at_the_end": more()}
            await asyncio.sleep(LEFT_SECONDS)
            watching.cancel()
        return told, by_one, mb | {"after_they_left": more(), "each_second": each}

    must_be_there()
    made, allowed = pace(AtMoe.from_pretrained(model, base, precision, device="cpu"), people)
    gc.collect()
    with page(model, precision, base) as (address, process):
        told, by_one, mb = asyncio.run(run(address, process))
    return {
        "precision": precision,
        "people": people,
        "seconds": seconds,
        "answers": told.answers,
        "refused": len(told.refused),
        "lost": len(told.lost),
        "other_than_alone": len(told.wrong),
        "first_words_s": {
            "median": _middle(told.waits()),
            "most": round(max(told.waits()), 2) if told.waits() else None,
            "alone": _middle(by_one.waits()),
            "newcomers": _middle(told.waits(newcomers=True)),
            "cores_allow": _middle(allowed),
        },
        "answers_per_s": round(made, 3),
        "out_of_order": round(out_of_order(told.began, told.first), 3),
        "mb": mb,
        "refusals": sorted({*told.refused})[:3],
    }


def _middle(seconds: Sequence[float]) -> float | None:
    """Their median, rounded; None where there are none."""
    return round(statistics.median(seconds), 2) if seconds else None


def out_of_order(began: Sequence[float], first: Sequence[float | None]) -> float:
    """The share of pairs, of those who were served, of whom the later one was served first."""
    served = [at for _, at in sorted(zip(began, first)) if at is not None]
    pairs = len(served) * (len(served) - 1) / 2
    wrong = sum(a > b for i, a in enumerate(served) for b in served[i + 1 :])
    return wrong / pairs if pairs else 0.0
