"""The value every corpus is read into, and which side of the train–validation split it lies on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# Long enough for a full paragraph, short enough that a small model learns to finish.
ANSWER_WORDS = 110
MOST_ADDRESS = 500
"""An address may have so many characters; longer ones hold a query rather than name a page."""

# What no address holds unescaped, and what could end one in a page.
_NO_LINK = frozenset(" \"<>\\`{}|^")


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
        address: of the public page it was read from, as `address_of` lets it through; "" = none.
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


def address_of(text: str) -> str:
    """An address that a page may link to.

    Args:
        text: whatever a corpus says.

    Returns:
        It, without spaces around; "" where it is none of http or https, names no host or whom to
        log in as, or cannot stand in a link.
    """
    text = text.strip()
    if not 0 < len(text) <= MOST_ADDRESS or not text.isprintable() or _NO_LINK & set(text):
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return text if usable else ""


def split(example: Example, validation: float = 0.1) -> str:
    """The side of an example, fixed by a hash of its disease, so that no disease is on both sides.

    Args:
        example: whatever was read.
        validation: the share of diseases that are held out.

    Returns:
        "train" or "validation".
    """
    digest = hashlib.sha256(example.disease.encode("utf-8")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if place < validation else "train"
