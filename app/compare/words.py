"""A comparison → sentences and tables, in HTML in which every text from outside is escaped.

Measured numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from operator import and_

from app.ask.words import reading_grade
from app.compare.difference import differences
from app.compare.sentences import Kind, Row, aligned
from app.compare.summary import THRESHOLDS, of_hundred, summary
from atmoe import Record
from atmoe.explanation.compare import Comparison, Parting
from atmoe.steering.random_steer import order, size
from atmoe.steering.reference import Beside
from atmoe.study.reading import ENGLISH, are_words, word_count
from atmoe.wording import listed, minus


@dataclass(frozen=True)
class Voice:
    """How an answer is spoken of.

    Attributes:
        name: its row.
        whose: "the router's answer".
        plan: what it was given under.
    """

    name: str
    whose: str
    plan: str


ROUTER = Voice("Router's answer", "the router's answer", "the router's plan")
YOURS = Voice("Your answer", "yours", "your steering")
BESIDE = {
    Beside.BASE: Voice("Base model, all experts off", "the base model's", "the base model"),
    Beside.UNIFORM: Voice("Uniform plan", "the uniform plan's", "the uniform plan"),
    Beside.RANDOM: Voice("Random steer of the same size", "the random steer's", "the random steer"),
}
MEASURES = (
    "Log-probability (log-prob.): the mean per token of that answer, nearer to 0 is more likely. "
    "Reading grade: Flesch–Kincaid, in US school years, of whole sentences, each item of a list "
    "being one; it counts syllables and knows nothing of sense."
)
SAME_PLAN = "The same answer: the router gave these shares already"
SHARED_WORDS = 8
"""So many of the words before the parting are quoted."""


SIGNS = {Kind.SAME: "=", Kind.NEAR: "≈", Kind.MOVED: "↕", Kind.ONLY: "◆"}
MEANINGS = {
    Kind.SAME: "in both",
    Kind.NEAR: "nearly in both",
    Kind.MOVED: "in both but elsewhere",
    Kind.ONLY: "only here",
}


def first_words(first: Record, second: Record, language: str = ENGLISH) -> str:
    """The difference in a line."""
    same = first.answer == second.answer and first.plan.close_to(second.plan)
    text = SAME_PLAN if same else summary(first, second, language)
    said = escape(text).replace("*you*", "<em>you</em>")
    title = re.sub("<.*?>", "", said)  # where the line is too narrow for all of it
    return f'<p role="status" title="{title}">{said}</p>'


def by_sentence(first: str, second: str, voices: Sequence[Voice]) -> str:
    """How many sentences stand in both answers, and both answers in two aligned columns."""
    rows = aligned(first, second)
    head = "".join(f'<th scope="col">{voice.name}</th>' for voice in voices[:2])
    # Where the two share nothing, all would be underlined.
    shared = any(sentence is not None and sentence.kind is not Kind.ONLY for sentence, _ in rows)
    body = "".join(f"<tr>{_cell(row, 0, shared)}{_cell(row, 1, shared)}</tr>" for row in rows)
    kinds = {sentence.kind for row in rows for sentence in row if sentence is not None}
    counted = f'<p class="why">{_counted(rows, voices)}</p>'
    if kinds == {Kind.SAME}:  # both columns would be the answers once more
        return counted
    legend = " · ".join(f"{SIGNS[kind]} {MEANINGS[kind]}" for kind in Kind if kind in kinds)
    return (
        f'{counted}<p class="hint">{legend}</p>'
        '<table class="beside" data-name="sentences">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def compared(
    comparison: Comparison,
    voices: Sequence[Voice],
    records: Sequence[Record],
    language: str = ENGLISH,
) -> str:
    """Where the first two part, how many of their words differ, and the numbers of all."""
    parting = comparison.parting
    if parting is None:
        both = "Both" if len(records) == 2 else "The first two"
        sentences = f"{both} answers are the same, token by token."
    else:
        sentences = f"{_parting(parting, voices)}{_differing(voices, records)}"
    rows = "".join(
        _row(voice.name, record.answer, logp or [None] * len(records), language)
        for voice, record, logp in zip(voices, records, comparison.logp)
    )
    plans = (f"log-prob., {voice.plan}" for voice in voices)
    heads = ("answer", "words", "reading grade", "“you”, of 100 words", *plans)
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    return (
        f'<p class="why">{sentences}</p><div class="scroll" tabindex="0">'
        f'<table class="lenses compared" data-name="numbers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="hint">{MEASURES} {THRESHOLDS}</p>'
    )


def beside_note(kind: Beside, record: Record) -> str:
    """What the third answer's plan is."""
    if kind is Beside.BASE:
        return "The base model alone: no expert has any weight."
    if kind is Beside.UNIFORM:
        return (
            "The uniform plan: the groups have equal shares, and so have the experts inside each."
        )
    moved = 100 * float(size(record.router_plan, record.plan).mean())
    return (
        "A random steer: at every layer as far from the router's plan as your steering (half the "
        f"sum of the differences in weight, {moved:.0f}% on average over the layers), towards "
        f"experts drawn with seed {record.seed}, first {order(record.plan, record.seed)[0]}. "
        "Strength and the sum of the weights are those of your steering."
    )


def _row(name: str, answer: str, logp: Sequence[float | None], language: str) -> str:
    numbers = ["–" if mean is None else minus(f"{mean:.2f}") for mean in logp]
    words = word_count(answer)
    cells = [
        "–" if words is None else str(words),
        reading_grade(answer, language),
        str(of_hundred(answer)),
        *numbers,
    ]
    return (
        f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    )


def _counted(rows: Sequence[Row], voices: Sequence[Voice]) -> str:
    """How many sentences stand where."""
    kinds = [[s.kind for s in side if s is not None] for side in zip(*rows)] or [[], []]
    both = [
        f"{kinds[0].count(kind)} {MEANINGS[kind]}"
        for kind in (Kind.SAME, Kind.NEAR, Kind.MOVED)
        if kind in kinds[0]
    ]
    only = [f"{side.count(Kind.ONLY)} only in {voice.whose}" for side, voice in zip(kinds, voices)]
    return f"Sentences: {listed([*(both or ['none in both']), *only])}."


def _cell(row: Row, side: int, underlined: bool) -> str:
    """A sentence with its sign; what stands only here is underlined, where that says something."""
    sentence, left, right = row[side], *row
    if sentence is None:
        return "<td></td>"
    spans = [(sentence.text, underlined and sentence.kind is Kind.ONLY)]
    if sentence.kind is Kind.NEAR and left is not None and right is not None:
        spans = differences(left.text, right.text)[side]
    text = "".join(
        f'<mark class="only">{escape(part)}</mark>' if only else escape(part)
        for part, only in spans
    )
    kind = sentence.kind
    return (
        f'<td class="{kind}"><span class="sign" role="img" aria-label="{MEANINGS[kind]}:">'
        f"{SIGNS[kind]}</span> {text}</td>"
    )


def _parting(parting: Parting, voices: Sequence[Voice]) -> str:
    words = parting.before.split()
    after = f"at token {parting.index + 1}"
    if words:
        dots = "… " if len(words) > SHARED_WORDS else ""
        after += f", after {_quote(dots + ' '.join(words[-SHARED_WORDS:]))}"
    goes_on = [
        f"{voice.whose} {'goes on with ' + _quote(token) if token else 'ends there'}"
        for voice, token in zip(voices, parting.tokens)
    ]
    who = "The first two" if len(voices) > 2 else "They"
    sentences = f"{who} part {after}: {goes_on[0]}, {goes_on[1]}."
    if parting.probabilities is not None:
        gave = [
            f"{voice.plan} {'gave' if i == 0 else 'gives'} these {_percent(p)} and {_percent(q)}"
            for i, (voice, (p, q)) in enumerate(zip(voices, parting.probabilities))
        ]
        sentences += f" There, {gave[0]}; {gave[1]} (before the repetition penalty)."
    return sentences


def _differing(voices: Sequence[Voice], records: Sequence[Record]) -> str:
    """How many words of either answer differ, counted as all words are; empty without spaces."""
    answers = [record.answer for record in records[:2]]
    parts = []
    for spans, answer in zip(differences(*answers), answers):
        words = word_count(answer)
        if words is None:
            return ""
        differing = [differs for text, differs in spans for _ in text.split()]
        own = sum(map(and_, differing, are_words(answer)))
        parts.append(f"{own} of {words}")
    return (
        f" Word by word, {parts[0]} words of {voices[0].whose} and {parts[1]} of {voices[1].whose} "
        f"stand in it alone at their place."
    )


def _quote(text: str) -> str:
    return f"“{escape(text.strip())}”" if text.strip() else "white space"


def _percent(probability: float) -> str:
    return "less than 1%" if probability < 0.005 else f"{probability:.0%}"
