"""A comparison → a sentence and a table, in HTML in which every text from outside is escaped.

Measured numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app.compare.difference import differences
from app.wording import minus
from atmoe import Record
from atmoe.explanation.compare import Comparison, Parting
from atmoe.steering.random_steer import order, size
from atmoe.steering.reference import Beside
from atmoe.study.reading import grade, whole_sentences


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
YOURS = Voice("Your steering", "yours", "your steering")
BESIDE = {
    Beside.BASE: Voice("Base model, all experts off", "the base model's", "the base model"),
    Beside.UNIFORM: Voice("Uniform plan", "the uniform plan's", "the uniform plan"),
    Beside.RANDOM: Voice("Random steer of the same size", "the random steer's", "the random steer"),
}
MEASURES = (
    "Log-probability (log-prob.): the mean per token of that answer, nearer to 0 is more likely. "
    "Reading grade: Flesch–Kincaid, in US school years, of whole sentences; it counts syllables "
    "and knows nothing of sense."
)
SHARED_WORDS = 8
"""So many of the words before the parting are quoted."""


def compared(comparison: Comparison, voices: Sequence[Voice], records: Sequence[Record]) -> str:
    """Where the first two part, how many of their words differ, and the numbers of all."""
    parting = comparison.parting
    if parting is None:
        both = "Both" if len(records) == 2 else "The first two"
        sentences = f"{both} answers are the same, token by token."
    else:
        sentences = f"{_parting(parting, voices)} {_differing(voices, records)}"
    rows = "".join(
        _row(voice.name, record.answer, logp or [None] * len(records))
        for voice, record, logp in zip(voices, records, comparison.logp)
    )
    heads = ("answer", "words", "reading grade", *(f"log-prob., {voice.plan}" for voice in voices))
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    return (
        f'<p class="why">{sentences}</p><div class="scroll" tabindex="0">'
        f'<table class="lenses compared"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="hint">{MEASURES}</p>'
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


def reading_grade(text: str) -> str:
    """The grade in figures; a dash for what has no words to count."""
    counted = whole_sentences(text) if any(ch.isalpha() for ch in text) else ""
    return minus(f"{grade(counted):.1f}") if counted else "–"


def _row(name: str, answer: str, logp: Sequence[float | None]) -> str:
    numbers = ["–" if mean is None else minus(f"{mean:.2f}") for mean in logp]
    cells = [str(len(answer.split())), reading_grade(answer), *numbers]
    return (
        f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
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
    answers = [record.answer for record in records[:2]]
    parts = []
    for spans, answer in zip(differences(*answers), answers):
        underlined = sum(len(text.split()) for text, differs in spans if differs)
        parts.append(f"{underlined} of {len(answer.split())}")
    return (
        f"Underlined: {parts[0]} words of {voices[0].whose} and {parts[1]} of {voices[1].whose} "
        f"that the other does not have there."
    )


def _quote(text: str) -> str:
    return f"“{escape(text.strip())}”" if text.strip() else "white space"


def _percent(probability: float) -> str:
    return "less than 1%" if probability < 0.005 else f"{probability:.0%}"
