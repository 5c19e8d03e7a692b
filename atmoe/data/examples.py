"""Loads the corpora, in whatever combination is at hand, into one list of examples."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from . import medquad as medquad_reader
from . import mts_dialog as mts_dialog_reader
from . import pubmedqa as pubmedqa_reader
from .schema import ANSWER_WORDS, Example, split

__all__ = ["ANSWER_WORDS", "Example", "load", "split"]


def load(
    medquad: Path | None = None,
    pubmedqa: Path | None = None,
    mts_dialog: Path | None = None,
    *,
    answer_words: int = ANSWER_WORDS,
) -> list[Example]:
    """The examples of every corpus given, in a fixed order; each path is a repository's root.

    A corpus given as None is skipped. Raises DataError naming the path and the layout expected there.
    """
    corpora = (
        (medquad_reader, "MedQuAD", medquad),
        (pubmedqa_reader, "PubMedQA", pubmedqa),
        (mts_dialog_reader, "MTS-Dialog", mts_dialog),
    )
    examples: list[Example] = []
    for reader, name, root in corpora:
        if root is None:
            continue
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"The {name} directory {root} does not exist: expected {reader.LAYOUT} inside it.")
        examples.extend(reader.read(root, answer_words))
    return examples
