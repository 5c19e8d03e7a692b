"""Puts an example's need the way people put it: by templates of our own (`templates.json`).

MedQuAD's questions are themselves templates, so a router trained on them alone learns the template.
Here the same need is asked in several voices, and the voice follows the audience the answer was
written for: patients and carers in their own words, with and without spelling and a story around
it; the neutral voice of a reference work; a clinician's shorthand. Evaluation templates are never
used in training, so that a router is tested on wordings it has not seen.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from atmoe.data.labels import task_of
from atmoe.data.schema import ANSWER_WORDS, Example
from atmoe.data.text import cut_at_sentence

SLOT = "{x}"
SPLITS = ("train", "evaluation")
# Tasks whose need is the same whatever the kind of the example, and whose instruction refers to a
# text.
_WHOLE_TASKS = ("documentation", "evidence")

_BY_ANOTHER_NAME = re.compile(r"\s*\([^()]*\)$")
_PLAIN_ENDING = re.compile(
    r"(?:omas?|os[ei]s|itis|emias?|pathy|iasis|cele|ectomy|uria|algia|plasia)$"
)
_SERIES = re.compile(
    r"^(?:what i need to know about|parasites\s*[-–](?:\s*lice\s*[-–])?)\s*", re.IGNORECASE
)
# A heading of a leaflet rather than the name of anything ("Keep your kidneys healthy").
_LEAFLET = re.compile(
    r"\b(?:you|your|i|my|how|what|prevent|keep|choosing|preparing|managing|manage|monitor|facing"
    r"|living with|nutrition for|overview|causes of|diagnosis of|treatment methods|financial"
    r"|medicines|steps)\b|[:?]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Template:
    """One wording.

    Attributes:
        needs: the question type it asks for, or the task where that says it all.
        split: "train" or "evaluation".
        text: with the slot {x}.
    """

    needs: str
    task: str
    audience: str
    voice: str
    split: str
    text: str


@dataclass(frozen=True)
class Frame:
    """A wording that asks for two things, {a} and {b}, about {x}."""

    audience: str
    split: str
    text: str


def paraphrase(example: Example, rng: random.Random, split: str = "train") -> Example:
    """The example asked in another way; unchanged where no template fits it."""
    fitting = _fitting(_needs(example), example.labels.get("audience", ""), split)
    # A section's name and a research question are asked as they stand.
    name = example.focus if example.material else spoken(example.focus)
    if not fitting or not name:
        return example
    # A voice first, then a wording, so that a voice with fewer wordings is heard as often.
    voice = rng.choice(sorted({template.voice for template in fitting}))
    template = rng.choice([template for template in fitting if template.voice == voice])
    asked = template.text.replace(SLOT, _cased(name, template.audience, voice == "misspelt", rng))
    return replace(example, prompt=_with_material(asked, example))


def two_needs(a: Example, b: Example, rng: random.Random, split: str = "train") -> Example | None:
    """One instruction with the needs of both; its answer gives both, each at half the usual length.

    Returns:
        None unless they are two tasks about one disease, written for one audience.
    """
    phrases = _table()["needs"]
    audience = a.labels.get("audience", "")
    frames = [
        frame for frame in two_need_frames() if (frame.audience, frame.split) == (audience, split)
    ]
    name = spoken(a.focus)
    if (
        a.disease != b.disease
        or a.labels.get("task") == b.labels.get("task")
        or audience != b.labels.get("audience", "")
        or not (frames and name and a.kind in phrases and b.kind in phrases)
    ):
        return None
    asked = (
        rng.choice(frames)
        .text.replace("{a}", rng.choice(phrases[a.kind][split]))
        .replace("{b}", rng.choice(phrases[b.kind][split]))
        .replace(SLOT, _cased(name, audience, False, rng))
    )
    half = ANSWER_WORDS // 2
    return replace(
        a,
        id=f"{a.id}+{b.id}",
        prompt=asked,
        answer=f"{cut_at_sentence(a.answer, half)}\n\n{cut_at_sentence(b.answer, half)}",
        also={"task": b.labels["task"]},
    )


def spoken(focus: str) -> str:
    """The focus as one would say it inside a sentence; "" where it is no name of anything."""
    name = _SERIES.sub("", focus)
    name = _BY_ANOTHER_NAME.sub("", name).strip()
    return "" if _LEAFLET.search(name) else name


@cache
def single_templates() -> tuple[Template, ...]:
    """Every wording of a single need."""
    return tuple(_read_single())


@cache
def two_need_frames() -> tuple[Frame, ...]:
    """Every wording of two needs."""
    return tuple(
        Frame(audience, split, text)
        for audience, splits in _table()["two_needs"].items()
        for split in SPLITS
        for text in splits[split]
    )


def _read_single() -> Iterator[Template]:
    table = _table()
    for qtype, audiences in table["single"].items():
        for audience, voices in audiences.items():
            yield from _voices(qtype, task_of(qtype) or "", audience, voices)
    for task in _WHOLE_TASKS:
        yield from _voices(task, task, "professional", table[task])


def _voices(
    needs: str, task: str, audience: str, voices: dict[str, dict[str, list[str]]]
) -> Iterator[Template]:
    for voice, splits in voices.items():
        for split in SPLITS:
            for text in splits[split]:
                yield Template(needs, task, audience, voice, split, text)


@cache
def _fitting(needs: str, audience: str, split: str) -> tuple[Template, ...]:
    wanted = (needs, audience, split)
    return tuple(t for t in single_templates() if (t.needs, t.audience, t.split) == wanted)


def _needs(example: Example) -> str:
    task = example.labels.get("task", "")
    return task if task in _WHOLE_TASKS else example.kind


def _with_material(asked: str, example: Example) -> str:
    """The instruction with the text it refers to: above a question, below an order to write."""
    if not example.material:
        return asked
    evidence = example.labels.get("task") == "evidence"
    return "\n\n".join([example.material, asked] if evidence else [asked, example.material])


def _cased(name: str, audience: str, careless: bool, rng: random.Random) -> str:
    """The name as it stands inside a sentence.

    Titles are written "Heart Attack"; in a patient's sentence the plain words lose their capital.
    """
    if careless and rng.random() < 0.7:
        return name.lower()
    if audience != "patient":
        return name
    return re.sub(
        r"[A-Za-z']+", lambda word: word[0].lower() if _is_plain(word[0]) else word[0], name
    )


def _is_plain(word: str) -> bool:
    """Known as no name of a person or place; everything else keeps its capital."""
    return word[1:].islower() and (
        word.lower() in _plain_words() or bool(_PLAIN_ENDING.search(word))
    )


@cache
def _plain_words() -> frozenset[str]:
    return frozenset(_table()["plain_words"].split())


@cache
def wordings_digest() -> str:
    """One hash of every wording."""
    return hashlib.sha256(json.dumps(_table(), sort_keys=True).encode()).hexdigest()


@cache
def _table() -> dict:
    return json.loads((Path(__file__).parent / "templates.json").read_text("utf-8"))
