"""Many people at once, over HTTP: who was refused, whose answer was another, who waited how long.

The page runs as a process of its own; each of the people asks, waits for the whole answer, and asks
again until the time is up. Every answer is held against what that question is given when
nobody else asks. PYTHONPATH=.:tests python tests/tools/load.py --people 50 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from conftest import ROOT
from processes import free_port, start_page

from app.view import sampling_of
from atmoe import AtMoe
from atmoe.answer.batching import Batching
from atmoe.mixture.precision import CHOICES, chosen

ASKED = [
    f"{question} {name}?"
    for question in ("How is it treated:", "What causes", "What is")
    for name in ("asthma", "gout", "psoriasis", "glaucoma")
]
LEFT_SECONDS = 30
"""After the last of them has left, memory and the line are looked at."""


@dataclass
class Told:
    """What the people were told.

    Attributes:
        began: when each asked.
        first: when each saw the first words, in the order in which they asked; None = refused.
        wrong: answers that are not what the question gets alone.
        refused: what stood in the place of an answer.
    """

    began: list[float] = field(default_factory=list)
    first: list[float | None] = field(default_factory=list)
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def one(client: httpx.AsyncClient, told: Told, until: float, at: int, tokens: int, alone):
    """One of the people, to the end of the time."""
    while time.monotonic() < until:
        question = ASKED[at % len(ASKED)]
        at, number = at + 1, len(told.began)
        told.began.append(time.monotonic())
        told.first.append(None)
        data = {"data": [question, None, tokens, 0, 0.0, True]}
        reply = await client.post("/gradio_api/call/answer", json=data)
        last, kind = None, ""
        async with client.stream("GET", f"/gradio_api/call/answer/{reply.json()['event_id']}") as s:
            async for text in s.aiter_lines():
                if text.startswith("event: "):
                    kind = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    if kind == "error":
                        told.refused.append(text)
                        last = None
                    elif kind in ("generating", "complete"):
                        last = json.loads(text.removeprefix("data: "))[0]
                        if told.first[number] is None and last and last["answer"]:
                            told.first[number] = time.monotonic()
        if last is None:
            continue
        told.answers += 1
        if last["answer"] != alone[question]:
            told.wrong.append(question)


async def all_of(address: str, people: int, seconds: float, tokens: int, alone) -> Told:
    """All of them, who come within a second."""
    told, until = Told(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=people)
    async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits) as client:

        async def person(at: int) -> None:
            await asyncio.sleep(at / people)
            await one(client, told, until, at, tokens, alone)

        await asyncio.gather(*(person(at) for at in range(people)))
    return told


@contextmanager
def page(model: Path, dtype: str) -> Iterator[tuple[str, psutil.Process]]:
    """`python app.py`, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--model", str(model.resolve()), "--dtype", dtype]
        port = free_port()
        process, address = start_page(
            ROOT / "app.py", Path(folder), {}, port, [*arguments, "--port", str(port)]
        )
        try:
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def out_of_order(began: list[float], first: list[float | None]) -> float:
    """The share of pairs, of those who waited, of whom the later one was served first."""
    served = [at for _, at in sorted(zip(began, first)) if at is not None]
    pairs = len(served) * (len(served) - 1) / 2
    wrong = sum(a > b for i, a in enumerate(served) for b in served[i + 1 :])
    return wrong / pairs if pairs else 0.0


def arguments(doc: str | None, tokens: int) -> argparse.ArgumentParser:
    """Of whoever starts a page: its model and precision, and how long an answer is."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--model", type=Path, default=Path("assets/medical"))
    parser.add_argument("--tokens", type=int, default=tokens)
    parser.add_argument("--dtype", choices=CHOICES)
    return parser


def main() -> None:
    parser = arguments(__doc__, tokens=24)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    dtype = chosen(args.dtype)
    model = AtMoe.from_pretrained(args.model, dtype=dtype)
    sampling = sampling_of(args.tokens, 0, 0)
    with closing(Batching(model)) as batch:  # as the page decodes it, with nobody beside it
        alone = {}
        for question in ASKED:
            *_, last = batch.add(question, None, sampling)
            alone[question] = last.texts[0]
    del model
    with page(args.model, dtype) as (address, process):
        asyncio.run(all_of(address, 1, 5, args.tokens, alone))  # warm
        before = process.memory_info().rss
        told = asyncio.run(all_of(address, args.people, args.seconds, args.tokens, alone))
        most = process.memory_info().rss
        time.sleep(LEFT_SECONDS)
        after = process.memory_info().rss
    waits = [f - b for b, f in zip(told.began, told.first) if f is not None]
    print(
        json.dumps(
            {
                "people": args.people,
                "seconds": args.seconds,
                "dtype": dtype,
                "answers": told.answers,
                "refused": len(told.refused),
                "other_than_alone": len(told.wrong),
                "first_words_s": {
                    "median": round(statistics.median(waits), 1),
                    "most": round(max(waits), 1),
                },
                "out_of_order": round(out_of_order(told.began, told.first), 3),
                "mb": {
                    "at_the_end": round((most - before) / 1e6),
                    "after_they_left": round((after - before) / 1e6),
                },
                "refusals": sorted(set(told.refused))[:3],
            },
            ensure_ascii=False,
            indent=1,
        )
    )
    raise SystemExit(bool(told.refused or told.wrong))


if __name__ == "__main__":
    main()
