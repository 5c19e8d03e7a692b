"""The value every corpus is read into, and which side of the train–validation split it lies on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

# Long enough for a full paragraph, short enough that a small model learns to finish.
ANSWER_WORDS = 110


@dataclass(frozen=True)
class Example:
    """One instruction and its answer, with the expert of each group that ought to serve it.

    A group is absent from `labels` where no expert of it could be named with confidence.
    `also` names the second need of a two-need instruction (`{"task": "treatment"}`).
    """

    id: str
    prompt: str
    answer: str
    labels: Mapping[str, str] = field(hash=False)
    disease: str
    """The split key: everything about one disease shares it."""
    source: str
    kind: str
    """The MedQuAD question type, the section of an MTS-Dialog note, or "conclusion"."""
    focus: str = ""
    """What the instruction is about: fills the slot of a template."""
    material: str = ""
    """The text an instruction refers to (an abstract, a dialogue); empty for MedQuAD."""
    also: Mapping[str, str] = field(default_factory=dict, hash=False)


def split(example: Example, validation: float = 0.1) -> str:
    """ "train" or "validation", fixed by a hash of the disease, so that no disease is on both sides."""
    digest = hashlib.sha256(example.disease.encode("utf-8")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if place < validation else "train"
