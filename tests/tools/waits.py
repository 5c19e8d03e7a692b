"""How long somebody's next token waits while another's long question is read.

    PYTHONPATH=.:tests python tests/tools/waits.py [--dtype int4]

Through the worker that a page has, without the page: one answer streams, and half a second later a
question of 1,000 tokens is asked, which is read in pieces and, in turn, at once. It tells the usual
time between two tokens of the first, the longest while the second is read, and when the second has
its first token.
"""

import argparse
import math
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from app.answering import answer
from app.job import Job, Kind
from app.session import Question
from app.worker import Worker
from atmoe import AtMoe, Sampling, Steering
from atmoe.answer import pieces
from atmoe.answer.batching import Batching

SHORT, SENTENCE = "How is asthma treated?", "My father has had asthma since he was a child. "
TOKENS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="assets/medical")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--runs", type=int, default=8)
    args = parser.parse_args()
    model = AtMoe.from_pretrained(args.model, dtype=args.dtype)
    batching, worker, pool = Batching(model), Worker(), ThreadPoolExecutor(1)
    worker.call(batching.warm)

    def ask(question: str, tokens: int) -> list[float]:
        """When each of its tokens came."""
        steps = answer(batching, Question(question, Sampling(tokens)), Steering())
        return [time.perf_counter() for _ in worker.run(Job(steps, Kind.ANSWER))]

    sentences = 1
    while len(model.encode(SENTENCE * (sentences + 1)).ids) <= TOKENS:
        sentences += 1
    sides = {pieces.PIECE_SECONDS: "in pieces", math.inf: "at once"}
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in sides.values()}
    for run in range(args.runs):
        for pieces.PIECE_SECONDS, name in sides.items():
            streams = pool.submit(ask, f"{SHORT} {run}", 160)
            time.sleep(0.5)
            began = time.perf_counter()
            first = ask(f"{SENTENCE * sentences}{run}", 2)[0]
            times = streams.result()
            waits = [(after - before, before, after) for before, after in pairwise(times)]
            usual = statistics.median(wait for wait, *_ in waits)
            longest = max(wait for wait, before, after in waits if before < first and after > began)
            measured[name].append((usual, longest, first - began))
    worker.close()
    print(f"{args.runs} runs; least, median and most, in ms")
    for name, runs in measured.items():
        for what, each in zip(("usual", "longest", "first token of the long"), zip(*runs)):
            told = (min(each), statistics.median(each), max(each))
            print(f"{name}, {what}:", *(f"{1000 * seconds:.0f}" for seconds in told))


if __name__ == "__main__":
    main()
