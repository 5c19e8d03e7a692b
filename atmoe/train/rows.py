"""Examples → batches: which rows a training sees, in which words, and how they are packed.

Everything follows from the seed, so a run that was interrupted sees the same batches when it
resumes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atmoe.data import Example, split
from atmoe.errors import DataError, PromptError
from atmoe.model import AtMoe
from atmoe.prompt.batch import Batch, collate
from atmoe.prompt.template import Prompt
from atmoe.routing.layout import Layout

STEP_TOKENS = 1920
LENGTHS = (60, 80, 96, 120, 160, 192, 240, 320, 384, 480)
"""Tokens of a batch, and the lengths rows are padded to, each a divisor.

Every matrix product of every step then has one and the same shape. In bfloat16 on a CPU each new
shape costs seconds the first time.
"""

ANSWER_STEP = 256
"""The number of answer tokens of a batch is padded to a multiple of this, for the same reason."""

UNREAD = 1000
"""So many examples in a row that cannot be read end a training."""

IGNORED = -100
"""`cross_entropy`'s own mark of a target that does not count."""


@dataclass(frozen=True)
class Row:
    """An example as tokens.

    Attributes:
        answer: token ids, the end of the turn included: learning to stop is part of the task.
    """

    example: Example
    prompt: Prompt
    answer: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens of prompt and answer."""
        return len(self.prompt.ids) + len(self.answer)


def encode_row(model: AtMoe, example: Example) -> Row | None:
    """Tokens of an example, or None where it is longer than the longest batch."""
    try:
        row = Row(
            example,
            model.encode(example.prompt),
            (*model.encode_answer(example.answer), model.tokenizer.eos_token_id),
        )
    except PromptError:
        return None
    return row if row.tokens <= LENGTHS[-1] else None


def readable(model: AtMoe, examples: Iterable[Example]) -> int:
    """How many examples can be trained on: others are passed over wherever batches are drawn."""
    return sum(encode_row(model, e) is not None for e in examples)  # half a millisecond each


def training_side(examples: Sequence[Example]) -> list[Example]:
    """The examples whose topic is for training.

    Raises:
        DataError: there is none, or none with a label.
    """
    training = [e for e in examples if split(e) == "train"]
    if examples and not training:
        topics = len({e.disease for e in examples})
        raise DataError(
            f"All {len(examples)} examples are about {topics} topic{'s' * (topics > 1)} that the "
            f'split by topic held back; give them more topics, or leave "topic" out, which makes '
            f"each prompt its own."
        )
    if not training:
        raise DataError("No training examples were found; check what the sources hold.")
    if not any(e.labels for e in training):
        raise DataError(
            f"None of the {len(training)} training examples has a label, so that no expert could "
            f'learn from them; give them "labels", as {{group: expert}}.'
        )
    return training


def check_taught(model: AtMoe, training: Sequence[Example], experts: Iterable[str]) -> None:
    """Refuse experts ("group/expert") that would be saved as they began.

    Args:
        model: reads the examples.
        training: what is trained on.
        experts: those that are to learn from it.

    Raises:
        DataError: no example that can be read is labelled for one of them.
    """
    untaught = set(experts)
    for example in training:
        needs = (*example.labels.items(), *example.also.items())
        taught = untaught & {f"{group}/{expert}" for group, expert in needs}
        if taught and encode_row(model, example):
            untaught -= taught
    if untaught:
        names = ", ".join(sorted(untaught))
        raise DataError(
            f"No training row that can be read (of {LENGTHS[-1]} tokens at most, about topics not "
            f"held back) is labelled {names}; give it rows, or a ready LoRA as "
            f"{{adapter: DIRECTORY}}, or leave it out of the description."
        )


def batches(
    model: AtMoe, examples: Iterator[Example], budget: int, step_tokens: int | None = None
) -> Iterator[list[Row]]:
    """Batches of an endless stream of examples, until `budget` answer tokens were given out.

    Args:
        model: reads the examples.
        examples: without end.
        budget: in answer tokens.
        step_tokens: of a batch, as for `of_one_length`.

    Yields:
        Rows of similar length, as `of_one_length` packs them.

    Raises:
        DataError: a thousand examples in a row cannot be read.
    """

    def encoded() -> Iterator[Row]:
        unread = 0
        for example in examples:
            row = encode_row(model, example)
            unread = 0 if row else unread + 1
            if unread == UNREAD:
                raise DataError(
                    f"{UNREAD} examples in a row could not be read; prompt and answer may have "
                    f"{LENGTHS[-1]} tokens together, in a script that the description allows."
                )
            if row:
                yield row

    given = 0
    for batch in of_one_length(encoded(), step_tokens):
        given += sum(len(r.answer) for r in batch)
        yield batch
        if given >= budget:
            return


def of_one_length(rows: Iterable[Row], step_tokens: int | None = None) -> Iterator[list[Row]]:
    """Rows in batches of similar length.

    Args:
        rows: one after another.
        step_tokens: of a batch with padding (default: STEP_TOKENS); no less than the longest row.

    Yields:
        A batch as soon as it is full; those that the end leaves smaller come last.
    """
    waiting: dict[int, list[Row]] = {length: [] for length in LENGTHS}
    for row in rows:
        length = padded(row)
        waiting[length].append(row)
        if len(waiting[length]) == (step_tokens or STEP_TOKENS) // length:
            yield waiting[length]
            waiting[length] = []
    yield from filter(None, waiting.values())


def padded(*rows: Row) -> int:
    """The length that rows are padded to together."""
    return next(n for n in LENGTHS if max(r.tokens for r in rows) <= n)


def label_targets(layout: Layout, rows: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """What each row's labels say of each group's experts.

    Returns:
        Targets [rows, experts], summing to 1 inside a labelled group (two needs: ½ each), 0 in an
        unlabelled one; and labelled [rows, groups], 1 where the group has a label.
    """
    targets = torch.zeros(len(rows), len(layout.expert_names))
    labelled = torch.zeros(len(rows), len(layout.groups))
    for i, example in enumerate(rows):
        for group, expert in example.labels.items():
            experts = [expert] + [e for g, e in example.also.items() if g == group]
            for name in experts:
                targets[i, layout.expert_index(f"{group}/{name}")] += 1 / len(experts)
            labelled[i, layout.group_index(group)] = 1
    return targets, labelled


def collate_rows(model: AtMoe, rows: Sequence[Row]) -> tuple[Batch, Tensor, Tensor]:
    """Rows as one batch, and what is to be predicted where.

    Returns:
        The batch, padded to one of LENGTHS; where each answer token is predicted, as indices into
        the flattened [rows · tokens]; and the answer tokens, with IGNORED behind them.
    """
    length = padded(*rows)
    batch = collate(
        [r.prompt for r in rows],
        [r.answer for r in rows],
        pad=model.tokenizer.pad_token_id,
        side="right",
        multiple=length,
        device=model.device,
    )
    where = [
        i * length + len(r.prompt.ids) - 1 + k
        for i, r in enumerate(rows)
        for k in range(len(r.answer))
    ]
    targets = [t for r in rows for t in r.answer]
    spare = -len(where) % ANSWER_STEP

    def as_tensor(numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=model.device)

    return batch, as_tensor(where + [0] * spare), as_tensor(targets + [IGNORED] * spare)


def answer_loss(
    model: AtMoe, hidden: Tensor, where: Tensor, targets: Tensor, of: int | None = None
) -> Tensor:
    """Cross-entropy over answer tokens; the vocabulary projection is done for those tokens alone.

    Args:
        model: whose projection it is.
        hidden: [rows, tokens, hidden]
        where: indices into the flattened [rows · tokens], as `collate_rows` gives them.
        targets: the answer tokens, with IGNORED behind them.
        of: what the sum is divided by (default: their number, which gives the mean).
    """
    logits = model.logits(hidden.flatten(0, 1)[where])
    total = torch.nn.functional.cross_entropy(
        logits.float(), targets, ignore_index=IGNORED, reduction="sum"
    )
    return total / (of or (targets != IGNORED).sum())


def language_loss(
    model: AtMoe, read: Callable[[Batch, Sequence[Row]], Tensor]
) -> Callable[[list[Row], list[Row]], tuple[Tensor, dict[str, float]]]:
    """The loss of answers, as `atmoe.train.loop` takes it.

    Args:
        model: whose projection it is.
        read: a batch and its rows → hidden states [rows, tokens, hidden].
    """

    def loss(rows: list[Row], whole: list[Row]) -> tuple[Tensor, dict[str, float]]:
        if not rows:
            return torch.zeros((), device=model.device), {}
        batch, where, targets = collate_rows(model, rows)
        of = sum(len(r.answer) for r in whole)
        return answer_loss(model, read(batch, rows), where, targets, of), {}

    return loss


def counts(rows: Sequence[Row]) -> Mapping[str, int]:
    """Answer tokens by expert, for the log."""
    tokens: Counter = Counter()
    for row in rows:
        for labels in (row.example.labels, row.example.also):
            for group, expert in labels.items():
                tokens[f"{group}/{expert}"] += len(row.answer)
    return tokens
