"""Cases: questions written by us, with what an answer to each must hold and must not.

They lie with the model (cases.json beside its atmoe.json), since whether an answer is acceptable is
a fact about the model; a test asks the shipped one each of them. They name the model by its sha256,
as a record does: on any other they were not checked, and are not shown.

    {"model": {"name": "medical", "sha256": "…"},
     "cases": [
      {"label": "Asthma: treatment", "question": "How is asthma treated?",
       "holds": "names inhaled steroids",          what was checked, in words
       "must": ["inhaled (cortico)?steroid"],      patterns that the answer holds, all of them
       "must_not": ["antibiotic"],                 and none of these
       "failure": false}]}                         true: an honest failure, and "holds" says of what

Patterns are Python's, and case does not matter.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from atmoe.errors import AssetError

log = logging.getLogger(__name__)

FILE = "cases.json"


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        label: a few words for the menu.
        question: what is asked, to the letter.
        holds: what was checked of the answer, in words.
        must: patterns that it holds.
        must_not: patterns that it does not hold.
        failure: the answer is wrong, and shown for that.
    """

    label: str
    question: str
    holds: str
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()
    failure: bool = False

    def faults(self, answer: str) -> list[str]:
        """What keeps an answer from being what the menu says of it."""
        missing = [f"lacks {p!r}" for p in self.must if not re.search(p, answer, re.IGNORECASE)]
        return missing + [
            f"holds {p!r}" for p in self.must_not if re.search(p, answer, re.IGNORECASE)
        ]


def read_cases(folder: Path, sha256: str) -> tuple[Case, ...]:
    """A model's cases; none where its directory has no such file, or one of another model.

    Args:
        folder: where the model lies.
        sha256: the model's.

    Raises:
        AssetError: the file is no list of cases.
    """
    file = folder / FILE
    if not file.is_file():
        return ()
    try:
        data = json.loads(file.read_text("utf-8"))
        # of a version that named no model: whose they are cannot be told
        listed, own = (data, "") if isinstance(data, list) else (data["cases"], _model_of(data))
        cases = tuple(map(_case, listed))
        for case in cases:
            case.faults("")  # a pattern that is none is an error here and not later
    except (ValueError, TypeError, KeyError, AttributeError, re.error) as error:
        raise AssetError(
            f"{file} is no list of cases ({error}); mend it, or delete it and the page offers none."
        ) from error
    if own != sha256:
        log.warning(
            "%s %s, so the page does not offer its cases as checked; where this model's answers "
            'were checked, write {"model": {"sha256": "%s"}, "cases": […]}.',
            file,
            f"is of another model ({own[:12]}…)" if own else "does not say of which model it is",
            sha256,
        )
        return ()
    return cases


def _model_of(data: dict) -> str:
    """The sha256 of the model that cases were checked on."""
    sha256 = data["model"]["sha256"]
    if not isinstance(sha256, str):
        raise ValueError("the model's sha256 is no text")
    return sha256


def _case(raw: dict) -> Case:
    """One case as the file has it."""
    must, must_not = (tuple(raw.get(name, ())) for name in ("must", "must_not"))
    label, question, holds = (raw[name] for name in ("label", "question", "holds"))
    texts = (label, question, holds, *must, *must_not)
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{str(raw)[:60]}… lacks a text")
    if not must:
        raise ValueError(f"{label} has no pattern to be held against")
    return Case(label, question, holds, must, must_not, raw.get("failure") is True)
