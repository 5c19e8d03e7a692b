"""A cohort's answers, several at once."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.model import AtMoe
from atmoe.record import Record
from atmoe.steering.overrides import Steering


def answered(model: AtMoe, prompts: Sequence[str], sampling: Sampling, batch: int) -> list[Record]:
    """Each prompt's answer under the router's plan, in the order given."""
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    records: dict[int, Record] = {}
    for start in tqdm(range(0, len(prompts), batch), desc="answering", mininterval=5):
        rows = by_length[start : start + batch]
        generation = model.generate([prompts[i] for i in rows], None, sampling)
        last = generation.run()
        for row, i in enumerate(rows):
            plan = generation.plans[row]
            records[i] = Record.of(model, prompts[i], Steering(), plan, generation, last, row)
    return [records[i] for i in range(len(prompts))]
