"""Puts an example's need the way people put it: by templates of our own (`templates.json`).

MedQuAD's questions are themselves templates, so a router trained on them alone learns the template.
Here the same need is asked in several voices, and the voice follows the audience the answer was
written for: patients and carers in their own words, with and without spelling and a story around
it; the neutral voice of a reference work; a clinician's shorthand. Beside these fixed wordings
stands a grammar (`wordings.py`) that writes many more. What is meant for evaluation is never used
in training, so that a router is tested on wordings it has not seen.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from atmoe.data import wordings
from atmoe.data.labels import task_of
from atmoe.data.schema import ANSWER_WORDS, Example
from atmoe.data.text import cut_at_sentence

SLOT = "{x}"
SPLITS = ("train", "evaluation")
# Tasks whose need is the same whatever the kind of the example, and whose instruction refers to a
# text.
_WHOLE_TASKS = ("documentation", "evidence")
# How often the grammar writes an audience's question, where a template could do so too.
_GRAMMAR_SHARE = {"patient": 0.6, "reference": 0.15}

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
    """The example asked in another way; unchanged where no wording fits it."""
    audience = example.labels.get("audience", "")
    fitting = _fitting(_needs(example), audience, split)
    # A section's name and a research question are asked as they stand.
    name = example.focus if example.material else spoken(example.focus)
    if not name:
        return example
    if _by_grammar((_needs(example),), audience, bool(fitting), rng):
        asked = wordings.written(example.kind, audience, _in_sentence(name, audience), rng, split)
        return replace(example, prompt=asked)
    if not fitting:
        return example
    # A voice first, then a wording, so that a voice with fewer wordings is heard as often.
    voice = rng.choice(sorted({template.voice for template in fitting}))
    template = rng.choice([template for template in fitting if template.voice == voice])
    asked = template.text.replace(SLOT, _cased(name, template.audience, voice == "misspelt", rng))
    return replace(example, prompt=_with_material(asked, example))


def reworded(examples: Sequence[Example], rng: random.Random, split: str) -> list[Example]:
    """Examples asked in another way, without those that no wording fits: they stay as they are."""
    asked = [paraphrase(example, rng, split) for example in examples]
    return [other for other, own in zip(asked, examples) if other.prompt != own.prompt]


def two_needs(a: Example, b: Example, rng: random.Random, split: str = "train") -> Example | None:
    """One instruction with the needs of both; its answer gives both, each at half the usual length.

    Returns:
        None unless they are two tasks about one disease, written for one audience, of kinds that
        there are phrases for.
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
        or not name
    ):
        return None
    name = _in_sentence(name, audience)
    in_frame = bool(frames) and a.kind in phrases and b.kind in phrases
    if _by_grammar((a.kind, b.kind), audience, in_frame, rng):
        asked = wordings.written(a.kind, audience, name, rng, split, second=b.kind)
    elif in_frame:
        asked = (
            rng.choice(frames)
            .text.replace("{a}", rng.choice(phrases[a.kind][split]))
            .replace("{b}", rng.choice(phrases[b.kind][split]))
            .replace(SLOT, name)
        )
    else:
        return None
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


def _by_grammar(
    kinds: tuple[str, ...], audience: str, has_template: bool, rng: random.Random
) -> bool:
    """Whether the grammar writes this one: it must know the kinds, and may share with templates."""
    if audience not in wordings.AUDIENCES or not set(kinds) <= set(wordings.kinds()):
        return False
    return not has_template or rng.random() < _GRAMMAR_SHARE.get(audience, 1.0)


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
    """The name as it stands inside a sentence of a template."""
    if careless and rng.random() < 0.7:
        return name.lower()
    return _in_sentence(name, audience) if audience == "patient" else name


def _in_sentence(name: str, audience: str) -> str:
    """The name without the capitals of a title, except in a reference work.

    Titles are written "Heart Attack"; in a person's sentence the plain words lose their capital.
    """
    if audience == "reference":
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
    """One hash of every wording, the grammar's too."""
    both = [_table(), wordings.table()]
    return hashlib.sha256(json.dumps(both, sort_keys=True).encode()).hexdigest()


@cache
def _table() -> dict:
    return json.loads((Path(__file__).parent / "templates.json").read_text("utf-8"))
