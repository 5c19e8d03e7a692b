"""A comparison → a sentence and a table, in HTML in which every text from outside is escaped. Measured numbers only."""

from __future__ import annotations

from html import escape

from app.difference import differences
from atmoe import Record
from atmoe.compare import Comparison, Parting
from atmoe.reading import grade, whole_sentences

NAMES = ("Router's answer", "Your steering")
PLANS = ("the router's plan", "your steering")
MEASURES = ("Log-probability (log-prob.): the mean per token of that answer, nearer to 0 is more likely. Reading grade: Flesch–Kincaid, in US "
            "school years, of whole sentences; it counts syllables and knows nothing of sense.")
SHARED_WORDS = 8
"""So many of the words before the parting are quoted."""


def compared(comparison: Comparison, first: Record, second: Record) -> str:
    """Where they part, how many words differ, and the numbers of both."""
    parting = comparison.parting
    said = "Both answers are the same, token by token." if parting is None else _parting(parting)
    if parting is not None:
        said += " " + _differing(first.answer, second.answer)
    rows = "".join(_row(name, record.answer, logp) for name, record, logp in zip(NAMES, (first, second), comparison.logp))
    heads = ("answer", "words", "reading grade", "log-prob., router's plan", "log-prob., your steering")
    return (f'<p class="why">{said}</p><div class="scroll" tabindex="0"><table class="lenses compared"><thead><tr>'
            + "".join(f'<th scope="col">{head}</th>' for head in heads) + f"</tr></thead><tbody>{rows}</tbody></table></div>"
            f'<p class="hint">{MEASURES}</p>')


def reading_grade(text: str) -> str:
    """The grade in figures; a dash for what has no words to count."""
    counted = whole_sentences(text) if any(ch.isalpha() for ch in text) else ""
    return f"{grade(counted):.1f}".replace("-", "−") if counted else "–"


def _row(name: str, answer: str, logp: tuple[float, float] | None) -> str:
    numbers = ["–", "–"] if logp is None else [f"{mean:.2f}".replace("-", "−") for mean in logp]
    cells = [str(len(answer.split())), reading_grade(answer), *numbers]
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _parting(parting: Parting) -> str:
    words = parting.before.split()
    after = f"at token {parting.index + 1}, after {_quote(('… ' if len(words) > SHARED_WORDS else '') + ' '.join(words[-SHARED_WORDS:]))}" \
        if words else f"at token {parting.index + 1}"
    goes_on = [f"{whose} {'goes on with ' + _quote(token) if token else 'ends there'}"
               for whose, token in zip(("the router's answer", "yours"), parting.tokens)]
    said = f"They part {after}: {goes_on[0]}, {goes_on[1]}."
    if parting.probabilities is not None:
        gave = [f"{plan} {'gave' if i == 0 else 'gives'} these {_percent(p)} and {_percent(q)}"
                for i, (plan, (p, q)) in enumerate(zip(PLANS, parting.probabilities))]
        said += f" There, {gave[0]}; {gave[1]} (before the repetition penalty)."
    return said


def _differing(first: str, second: str) -> str:
    counts = [(sum(len(text.split()) for text, differs in spans if differs), len(whole.split()))
              for spans, whole in zip(differences(first, second), (first, second))]
    return (f"Underlined: {counts[0][0]} of {counts[0][1]} words of the router's answer and {counts[1][0]} of "
            f"{counts[1][1]} of yours that the other does not have there.")


def _quote(text: str) -> str:
    return f"“{escape(text.strip())}”" if text.strip() else "white space"


def _percent(probability: float) -> str:
    return "less than 1%" if probability < 0.005 else f"{probability:.0%}"
