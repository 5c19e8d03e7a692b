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

    Attributes:
        labels: expert by group; a group is absent where no expert of it could be named with
            confidence.
        disease: the split key; everything about one disease shares it.
        kind: the MedQuAD question type, the section of an MTS-Dialog note, "conclusion" or "own".
        focus: what the instruction is about; it fills the slot of a template.
        material: the text an instruction refers to (an abstract, a dialogue); empty for MedQuAD.
        also: the second need of a two-need instruction (`{"task": "treatment"}`).
        topic: what it is about, as facts of the page and never its words; "" = the focus is that.
        address: of the public page it was read from, as `atmoe.schema.address_of` lets it through;
            "" = none.
    """

    id: str
    prompt: str
    answer: str
    labels: Mapping[str, str] = field(hash=False)
    disease: str
    source: str
    kind: str
    focus: str = ""
    material: str = ""
    also: Mapping[str, str] = field(default_factory=dict, hash=False)
    topic: str = ""
    address: str = ""

    def wanted(self, group: str) -> tuple[str, ...]:
        """The experts of a group that ought to serve it: one, of two needs two, or none."""
        label, second = self.labels.get(group), self.also.get(group)
        if label is None:
            return ()
        return (label,) if second in (None, label) else (label, second)


def split(example: Example, validation: float = 0.1) -> str:
    """The side of an example, fixed by a hash of its disease: one key is never on both sides.

    Two keys may still be of one disease: MedQuAD's documents about botulism have two.

    Args:
        example: whatever was read.
        validation: the share of diseases that are held out.

    Returns:
        "train" or "validation".
    """
    digest = hashlib.sha256(example.disease.encode("utf-8")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if place < validation else "train"
