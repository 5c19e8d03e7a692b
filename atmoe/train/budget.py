"""How long a training goes on: what was asked for, or what its data bears; told before it begins.

    --answer-tokens N     N, whatever the data
    left out              at most so many passes over the training rows (experts ten, router three),
                          and fewer where the loss on topics held back falls no more
                          (`atmoe.train.stopping`)
    nothing held back     PASSES_UNWATCHED passes

A pass is as many answer tokens as all training rows have together. Rows are drawn by lot, so in one
pass some come twice and others not at all. Small data, of which a pass would be a step or two, is
learned in smaller steps: each costs less, and a pass moves the weights more often.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from atmoe.data import Description, Example
from atmoe.errors import DataError
from atmoe.model import AtMoe
from atmoe.train import rows
from atmoe.train.rows import Row, encode_row
from atmoe.train.stopping import Stopping

PASSES_UNWATCHED = 2
MEASURED_A_PASS = 2
STEPS_A_PASS = 8
"""Where a pass has fewer steps, these are halved, and halved again."""
LEAST_ROWS = 4
"""Fewer rows held back say nothing."""
COUNTED = 500
"""Of more rows than these a pass is estimated."""
MEASUREMENTS = 10
"""Large data, of which the most is no pass, is measured so often."""
TIMED = 3
"""Steps that tell how long the rest takes."""
FAR = 1.5
"""Times as long, or as short: then what was said before the first step is said anew."""


@dataclass(frozen=True)
class Budget:
    """How long a training goes on.

    Attributes:
        tokens: answer tokens, at most.
        one_pass: answer tokens of a pass.
        rows: training rows that can be read.
        left_out: training rows that cannot.
        topics: what these are about.
        held_out: rows whose loss can be measured, about other topics than training rows.
        stopping: when to stop before that; None = not.
        step_tokens: of a step, with padding.
        asked_for: whether somebody said how long.
    """

    tokens: int
    one_pass: int
    rows: int
    left_out: int
    topics: int
    held_out: Sequence[Row]
    stopping: Stopping | None
    step_tokens: int
    asked_for: bool

    @property
    def unseen(self) -> int:
        """How many topics are held back."""
        return _topics(row.example for row in self.held_out)

    def sentences(self) -> str:
        """What is told before the first step."""
        passes = _number(self.tokens / self.one_pass)
        at_most = "at most " if self.stopping else ""
        about = "about " if self.rows + self.left_out > COUNTED else ""
        said = (
            f"{self.rows:,} training rows with {about}{self.one_pass:,} answer tokens; the budget "
            f"of {at_most}{self.tokens:,} is {passes} passes over them."
        )
        if self.left_out:
            said += (
                f" {self.left_out:,} of {self.rows + self.left_out:,} rows are longer than "
                f"{rows.LENGTHS[-1]} tokens, or in a script that the description does not allow, "
                f"and are left out."
            )
        if self.stopping:
            often = f"every {_number(self.stopping.every / self.one_pass)} passes"
            said += (
                f" The loss on {len(self.held_out)} rows of unseen topics ({self.unseen}) is "
                f"measured {often}; after {self.stopping.patience} measurements in a "
                f"row that are not the lowest, training stops, and the weights of the lowest are "
                f"kept."
            )
        elif not self.asked_for:
            said += f" Nothing was held back ({self._why()}), so nothing says when to stop."
        return said

    def _why(self) -> str:
        if not self.held_out and self.topics == 1:
            return "all rows share one topic"
        if not self.held_out:
            return "no labelled row that can be read fell to the tenth of topics that is"
        return f"{len(self.held_out)} rows are too few to measure a loss on"

    def mark(self, description: Description) -> dict[str, Any]:
        """What must be equal, beside the settings, for a checkpoint to be continued.

        Nothing where somebody said how long: the settings have it.
        """
        if self.asked_for:
            return {}
        stopping = asdict(self.stopping) if self.stopping else None
        held_out = description.digest([row.example for row in self.held_out])
        return {
            "tokens": self.tokens,
            "step_tokens": self.step_tokens,
            "stopping": stopping,
            "held_out": held_out,
        }

    def report(self) -> dict[str, Any]:
        """What a training's report says of it."""
        return {
            "tokens": self.tokens,
            "passes": round(self.tokens / self.one_pass, 2),
            "training_rows": self.rows,
            "left_out": self.left_out,
            "held_out_rows": len(self.held_out),
            "held_out_topics": self.unseen,
        }


def budget_of(
    model: AtMoe,
    training: Sequence[Example],
    chosen: Sequence[Sequence[Row]],
    asked_for: int | None,
    passes: int,
    most: int,
    loss: str,
    step_tokens: int | None = None,
) -> Budget:
    """The budget of a training.

    Args:
        model: reads the rows.
        training: what is trained on.
        chosen: of other topics, those of each expert; whose loss is measured.
        asked_for: answer tokens, where somebody said so many.
        passes: over the data at most, where nobody did.
        most: answer tokens, where that is less.
        loss: which of the validation's losses is watched.
        step_tokens: of a step, where somebody said so many.

    Raises:
        DataError: no training row can be read.
    """
    held_out = [row for of_one in chosen for row in of_one]
    counted = list(training)
    if len(counted) > COUNTED:  # drawn, for rows of a file may come in turns
        counted = random.Random(0).sample(counted, COUNTED)
    encoded = [row for row in (encode_row(model, e) for e in counted) if row]
    if not encoded:
        raise DataError(
            "No training row could be read; prompt and answer are too long together, or in a "
            "script that the description does not allow."
        )
    all_of_them = len(training) / len(counted)
    one_pass = round(sum(len(row.answer) for row in encoded) * all_of_them)
    stopping, a_step = None, step_tokens or rows.STEP_TOKENS
    tokens = asked_for
    if tokens is None:
        padded_pass = sum(map(rows.padded, encoded)) * all_of_them
        least = step_tokens or rows.LENGTHS[-1]
        while a_step // 2 >= least and padded_pass < STEPS_A_PASS * a_step:
            a_step //= 2
        watched = len(held_out) >= LEAST_ROWS
        tokens = min(most, one_pass * (passes if watched else min(passes, PASSES_UNWATCHED)))
        if watched:
            stopping = Stopping(loss, min(one_pass // MEASURED_A_PASS, most // MEASUREMENTS))
    can_be_read = rows.readable(model, training)
    return Budget(
        tokens,
        one_pass,
        can_be_read,
        len(training) - can_be_read,
        _topics(training),
        held_out,
        stopping,
        a_step,
        asked_for is not None,
    )


class Pace:
    """How long a run takes: said before its first step, and again where that was far off.

    Args:
        budget: answer tokens until the end.
        every: answer tokens from one measurement to the next; 0 = nothing is measured.
    """

    def __init__(self, budget: int, every: int = 0):
        self._budget, self._every = budget, every
        self._steps: list[tuple[int, float]] = []
        self._said: float | None = None
        self.measuring = 0.0
        """Seconds that the last measurement took."""

    def before(self, tokens: int, seconds: float) -> str:
        """How long the whole budget takes, by a step that was tried and not taken.

        Args:
            tokens: its answer tokens.
            seconds: that it took.
        """
        return self._tell(tokens, seconds, seconds)

    def step(self, tokens: int, seconds: float) -> str:
        """Take note of a step of this process.

        Args:
            tokens: its answer tokens.
            seconds: that it took.

        Returns:
            After the TIMED-th step, how long the whole budget takes, where nothing was said before
            or something else by more than FAR; "" otherwise.
        """
        self._steps.append((tokens, seconds))
        if len(self._steps) != TIMED:
            return ""
        # The first step also pays for what is done once.
        timed = self._steps[1:]
        said = self._said
        told = self._tell(sum(t for t, _ in timed), sum(s for _, s in timed), timed[-1][1])
        if said is None:
            return told
        assert self._said is not None  # just told
        return told if max(self._said, said) > FAR * min(self._said, said) else ""

    def _tell(self, tokens: int, seconds: float, a_step: float) -> str:
        whole = self._budget * seconds / max(1, tokens)
        if self._every:
            whole += self._budget / self._every * self.measuring
        self._said = whole
        return (
            f"The whole budget takes about {duration(whole)} on this machine as it is now: "
            f"a step took {duration(a_step)}"
            + (f", a measurement {duration(self.measuring)}." if self._every else ".")
        )


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _topics(examples: Iterable[Example]) -> int:
    return len({example.disease for example in examples})


def _number(x: float) -> str:
    return f"{x:.2g}" if x < 10 else f"{x:,.0f}"
