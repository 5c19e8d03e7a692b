"""A comparison → a sentence and a table, in HTML in which every text from outside is escaped. Measured numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app.compare.difference import differences
from atmoe import Record
from atmoe.explanation.compare import Comparison, Parting
from atmoe.steering.random_steer import order, size
from atmoe.steering.reference import Beside
from atmoe.study.reading import grade, whole_sentences


@dataclass(frozen=True)
class Voice:
    """How an answer is spoken of.  name: its row.  whose: "the router's answer".  plan: what it was given under."""

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
    "Log-probability (log-prob.): the mean per token of that answer, nearer to 0 is more likely. Reading grade: Flesch–Kincaid, in US "
    "school years, of whole sentences; it counts syllables and knows nothing of sense."
)
SHARED_WORDS = 8
"""So many of the words before the parting are quoted."""


def compared(comparison: Comparison, voices: Sequence[Voice], records: Sequence[Record]) -> str:
    """Where the first two part, how many of their words differ, and the numbers of all."""
    parting = comparison.parting
    if parting is None:
        said = f"{'Both' if len(records) == 2 else 'The first two'} answers are the same, token by token."
    else:
        said = f"{_parting(parting, voices)} {_differing(voices, records)}"
    rows = "".join(
        _row(voice.name, record.answer, logp or [None] * len(records))
        for voice, record, logp in zip(voices, records, comparison.logp)
    )
    heads = ("answer", "words", "reading grade", *(f"log-prob., {voice.plan}" for voice in voices))
    return (
        f'<p class="why">{said}</p><div class="scroll" tabindex="0"><table class="lenses compared"><thead><tr>'
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
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
        f"A random steer: at every layer as far from the router's plan as your steering (half the sum of the differences in weight, "
        f"{moved:.0f}% on average over the layers), towards experts drawn with seed {record.seed}, first {order(record.plan, record.seed)[0]}. "
        f"Strength and the sum of the weights are those of your steering."
    )


def reading_grade(text: str) -> str:
    """The grade in figures; a dash for what has no words to count."""
    counted = whole_sentences(text) if any(ch.isalpha() for ch in text) else ""
    return f"{grade(counted):.1f}".replace("-", "−") if counted else "–"


def _row(name: str, answer: str, logp: Sequence[float | None]) -> str:
    numbers = ["–" if mean is None else f"{mean:.2f}".replace("-", "−") for mean in logp]
    cells = [str(len(answer.split())), reading_grade(answer), *numbers]
    return (
        f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    )


def _parting(parting: Parting, voices: Sequence[Voice]) -> str:
    words = parting.before.split()
    after = (
        f"at token {parting.index + 1}, after {_quote(('… ' if len(words) > SHARED_WORDS else '') + ' '.join(words[-SHARED_WORDS:]))}"
        if words
        else f"at token {parting.index + 1}"
    )
    goes_on = [
        f"{voice.whose} {'goes on with ' + _quote(token) if token else 'ends there'}"
        for voice, token in zip(voices, parting.tokens)
    ]
    said = f"{'The first two' if len(voices) > 2 else 'They'} part {after}: {goes_on[0]}, {goes_on[1]}."
    if parting.probabilities is not None:
        gave = [
            f"{voice.plan} {'gave' if i == 0 else 'gives'} these {_percent(p)} and {_percent(q)}"
            for i, (voice, (p, q)) in enumerate(zip(voices, parting.probabilities))
        ]
        said += f" There, {gave[0]}; {gave[1]} (before the repetition penalty)."
    return said


def _differing(voices: Sequence[Voice], records: Sequence[Record]) -> str:
    pair = [record.answer for record in records[:2]]
    counts = [
        (sum(len(text.split()) for text, differs in spans if differs), len(whole.split()))
        for spans, whole in zip(differences(*pair), pair)
    ]
    return (
        f"Underlined: {counts[0][0]} of {counts[0][1]} words of {voices[0].whose} and {counts[1][0]} of "
        f"{counts[1][1]} of {voices[1].whose} that the other does not have there."
    )


def _quote(text: str) -> str:
    return f"“{escape(text.strip())}”" if text.strip() else "white space"


def _percent(probability: float) -> str:
    return "less than 1%" if probability < 0.005 else f"{probability:.0%}"
