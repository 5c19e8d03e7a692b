"""Rows whose answers are explained, and whose weights are judged by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from atmoe.answer.sampling import Sampling
from atmoe.many.rows import Row
from atmoe.many.run import ANSWERED, WINDOW, Done, batches, explaining_steps
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.steering.overrides import Steering
from atmoe.study.faithfulness import RANDOM_ORDERS, Judged, following, judged


def judging_steps(
    model: AtMoe,
    rows: Iterable[Row],
    steering: Steering = Steering(),
    sampling: Sampling = Sampling(),
    size: int = ANSWERED,
) -> Iterator[Done[Judged] | None]:
    """The record of each row's answer, explained, and how its weights did; as `explaining_steps`.

    Each answer is also read under the plan of the next one of its window.

    Yields:
        None, a pause, as there, and after each row's test; the rows.
    """
    for window in batches(rows, WINDOW * size):
        held: list[Done[Record]] = []
        for done in explaining_steps(model, window, steering, sampling, size):
            if done is None:
                yield None
            else:
                held.append(done)
        explained = [done.value for done in held if done.value is not None and not done.error]
        others = iter(following(explained))
        for done in held:
            record = done.value
            if record is None or done.error:
                yield Done(done.row, error=done.error)
                continue
            rng = Random(f"{sampling.seed} {record.prompt}")
            yield Done(done.row, judged(model, record, next(others), RANDOM_ORDERS, rng))
            yield None
