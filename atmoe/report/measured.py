"""What was measured of an answer, as the report shows it: why, what if, drafts, where it lies."""

from __future__ import annotations

from html import escape

from atmoe import Record
from atmoe.explanation.drafts import Drafts
from atmoe.explanation.response import DOSES
from atmoe.explanation.value import Change
from atmoe.explanation.verdict import verdict
from atmoe.report.table import nats, table
from atmoe.report.words import agreement, held, listing
from atmoe.sources.value import sentence_of
from atmoe.study.reading import word_count


def why(name: str, record: Record) -> str:
    """What an answer depended on, as far as it was measured."""
    explanation = record.explanation
    title = f"<h3>{escape(name)}</h3>"
    if explanation is None:
        return f"{title}<p>Not measured.</p>"
    gained = explanation.logp - explanation.base_logp
    parts = [
        title,
        f"<p><strong>{escape(verdict(explanation).sentence)}</strong></p>",
        f"<p>Mean log-probability per token of this answer, in nats: {nats(explanation.logp)}; "
        f"of the base model alone: {nats(explanation.base_logp)}; all experts together: "
        f"{nats(gained, sign=True)}.</p>",
    ]
    rows = [
        (
            unit.name,
            f"{unit.weight:.1%}",
            f"{unit.contribution:.3f}",
            nats(unit.effect, sign=True),
            f"{unit.ratio:.2f}",
        )
        for kind in ("group", "expert")
        for unit in explanation.of(kind)
    ]
    parts.append(
        table(
            "Effect: how much likelier the answer is with the part than without it, in nats per "
            "token; × the same as a factor. Contribution: the size of its change, beside the "
            "layers' own output",
            ("part", "weight", "contribution", "effect", "×"),
            rows,
            1,
        )
    )
    if explanation.shapley:
        values = [(g, nats(value, sign=True)) for g, value in explanation.shapley.items()]
        title = "Shapley values of the groups, nats per token; they add up to all experts together"
        parts.append(table(title, ("group", "value"), values, 1))
    if explanation.changes:
        items = "".join(f"<li>{escape(_change(each))}</li>" for each in explanation.changes)
        first = "the first sentence"
        if record.drawn:
            greedy = escape(explanation.changes[0].before)
            parts.append(f"<p>At temperature 0 the answer would begin “{greedy}”.</p>")
            first = "that sentence"
        parts.append(
            f"<p>The smallest move of one group's share at which {first} becomes another:</p>"
            f"<ul>{items}</ul>"
        )
    return "".join(parts)


def _change(change: Change) -> str:
    now = f"{change.group}, now {change.share:.1%} on average"
    if change.to is None:
        return f"{now}: none found between 0% and 100%."
    return f"{now}: at {change.to:.1%} the answer would begin “{change.after}”."


def _number(words: int | None) -> str:
    return "–" if words is None else str(words)


def what_if(record: Record) -> str:
    """What became of the question with one part at five shares."""
    response = record.response
    assert response is not None  # the section stands only where there is one
    logps = response.logp or [None] * len(response.answers)
    rows = [
        (
            f"{100 * dose:.0f}%",
            _number(word_count(answer)),
            "–" if logp is None else nats(logp),
            answer,
        )
        for dose, answer, logp in zip(DOSES, response.answers, logps)
    ]
    heads = ("share", "words", "log-probability of the router's answer", "answer")
    return table(f"The question with {response.target} at five shares", heads, rows)


def drafts_of(drafts: Drafts) -> str:
    """How far an answer's drafts agree with it, by statement, and the drafts."""
    made = len(drafts.texts)
    rows = [(s.text, f"{held(s, drafts.texts)} of {made}") for s in drafts.statements]
    texts = "".join(f'<p class="answer">{escape(text)}</p>' for text in drafts.texts)
    return (
        f"<p>Of the answer that begins “{escape(drafts.answer[:60])}”.</p>{agreement(drafts)}"
        + table("Its statements, and in how many drafts each recurs", ("statement", "drafts"), rows)
        + texts
    )


def lies(record: Record) -> str:
    """How familiar the question is, and what lies near it in training."""
    said = f"<p>{escape(sentence_of(record.familiarity, record.nearest))}</p>"
    return said + (listing(record.nearest) if record.nearest else "")
