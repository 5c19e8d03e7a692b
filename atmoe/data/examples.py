"""Loads the corpora, in whatever combination is at hand, into one list of examples."""

from __future__ import annotations

from pathlib import Path

from atmoe.data import medquad, mts_dialog, pubmedqa
from atmoe.data.schema import ANSWER_WORDS, Example
from atmoe.errors import DataError

READERS = {"medquad": medquad, "pubmedqa": pubmedqa, "mts-dialog": mts_dialog}
_NAMES = {"medquad": "MedQuAD", "pubmedqa": "PubMedQA", "mts-dialog": "MTS-Dialog"}


def read_corpus(reader: str, root: Path, answer_words: int = ANSWER_WORDS) -> list[Example]:
    """The examples of one corpus, in a fixed order.

    Args:
        reader: one of `READERS`.
        root: of the corpus' repository.
        answer_words: answers are shortened to so many.

    Raises:
        DataError: naming the path and the layout expected there.
    """
    if not Path(root).is_dir():
        raise DataError(
            f"The {_NAMES[reader]} directory {root} does not exist: expected "
            f"{READERS[reader].LAYOUT} inside it."
        )
    return READERS[reader].read(Path(root), answer_words)


def load(
    medquad: Path | None = None,
    pubmedqa: Path | None = None,
    mts_dialog: Path | None = None,
    *,
    answer_words: int = ANSWER_WORDS,
) -> list[Example]:
    """The examples of every corpus given, in a fixed order; one given as None is skipped.

    Raises:
        DataError: naming the path that cannot be read and the layout expected there.
    """
    examples: list[Example] = []
    for reader, root in zip(READERS, (medquad, pubmedqa, mts_dialog)):
        if root is not None:
            examples += read_corpus(reader, root, answer_words)
    return examples
