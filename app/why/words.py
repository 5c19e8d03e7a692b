"""Explanations → sentences and marked words. Measured numbers only.

Sentences of `paragraph` are plain text with *emphasis* marks; what `sentence_list` and `words`
return is HTML in which every text from outside is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from app.markup import popover
from atmoe.explanation.value import Change, Explanation, Unit
from atmoe.explanation.verdict import (
    ALONE,
    HARDLY,
    MATTERED,
    UNMIXED,
    Level,
    Mismatch,
    hardly,
    size,
    uncompared,
    verdict,
)
from atmoe.wording import NO_PRAISE, likely, listed, minus, times, whole_percent

MARKS = (0.7, 0.1)
"""Nats by which a word depends on a unit: from the first on it is marked strongly (twice as likely
with it), from the second on lightly (1.1 times)."""
MOST_WORDS = 6
"""So many of the marked words are named in the sentence."""
MOST_MISMATCHES = 2
"""So many are named in the paragraph."""
SIGNS = {
    Level.EXPLAIN: ("●", "Weights and effects agree"),
    Level.PARTLY: ("◐", "Weights and effects agree in part"),
    Level.NOT: ("○", "Weights and effects disagree"),
}
"""Of a verdict: its sign, and what the sign says. A circle, as full as they agree: a tick beside
an answer would be read as “correct”."""
NOTHING = ("–", "Nothing to explain")
"""The same where no expert was mixed in."""


def sign(explanation: Explanation) -> str:
    """The verdict as a sign in words, with what it is not; its sentence is behind it."""
    ruled = verdict(explanation)
    mark, words = SIGNS[ruled.level] if explanation.mixed else NOTHING
    limits = NO_PRAISE
    if ruled.level is not Level.NOT and uncompared(explanation):
        limits = f"{ALONE} {NO_PRAISE}"
    return popover(
        f'<span aria-hidden="true">{mark}</span> {words} <small>{limits}</small>',
        [ruled.sentence],
        "verdict",
    )


def paragraph(explanation: Explanation) -> str:
    """The same as the first sentence, with its numbers."""
    if not explanation.mixed:
        return UNMIXED
    groups, experts = (
        sorted(explanation.of(kind), key=lambda u: -u.effect) for kind in ("group", "expert")
    )
    least = hardly(explanation)
    parts = [_strongest_expert(experts[0], least)]
    if len(groups) > 1:
        parts.append(_strongest_group(groups[0], least))
    parts += _mismatches(explanation)
    parts.append(_together(explanation.logp - explanation.base_logp))
    return " ".join(parts)


def _together(gained: float) -> str:
    """What all experts did, in nats per token; what rounds to 1.00 times is as likely."""
    if round(math.exp(abs(gained)), 2) == 1:
        return "With all experts together it is as likely per token as with the base model alone."
    return (
        f"All experts together made it {times(abs(gained))} {'more' if gained >= 0 else 'less'} "
        "likely per token than the base model alone."
    )


def _strongest_expert(expert: Unit, least: float) -> str:
    if expert.effect < least:
        return (
            "Removing any one expert would hardly change this answer: without "
            f"*{expert.plain}*, {without(expert)}."
        )
    return (
        f"Removing the expert *{expert.plain}* would make this answer {without(expert)}, "
        "more than removing any other expert."
    )


def _strongest_group(group: Unit, least: float) -> str:
    if group.effect < least:
        return f"No group mattered much: without *{group.name}*, {without(group)}."
    return f"Of the groups, *{group.name}* mattered most: without it, {without(group)}."


def _mismatches(explanation: Explanation) -> list[str]:
    """Whose weight and effect do not fit, one sentence each, at most two of them."""
    named: list[Unit] = []
    sentences = []
    for name, what in verdict(explanation).mismatches:
        unit = explanation.unit(name)
        # A group of which one expert has all the weight would be named twice.
        if any(unit.group == other.group for other in named):
            continue
        named.append(unit)
        but = "yet" if what is Mismatch.UNSEEN else "but"
        effect = (
            "hardly mattered."
            if what is Mismatch.NO_EFFECT
            else f"without it the answer would be {without(unit)}."
        )
        sentences.append(
            f"The {unit.kind} *{unit.plain}* received {whole_percent(unit.weight)} of the weight, "
            f"{but} {effect}"
        )
        if len(named) == MOST_MISMATCHES:
            break
    return sentences


def without(unit: Unit) -> str:
    """How likely the answer is without a unit."""
    return likely(unit.effect) + " per token"


def sentence_list(explanation: Explanation) -> str:
    """The answer, each sentence with the group that mattered most to it.

    A group that mattered otherwise to the answer as a whole says so.
    """
    lines, least = [], hardly(explanation)
    for sentence in explanation.sentences:
        unit, effect = explanation.mattered_most(sentence)
        note = "no group mattered much to this sentence"
        if effect >= HARDLY:
            note = (
                f"{unit.name} mattered most to this sentence: without it, {times(effect)} less "
                "likely per token"
            )
            here, whole = size(effect), size(unit.effect, least)
            if here is not whole:
                note += f" ({here} here, {whole} to the answer as a whole)"
        lines.append(f"<li><span>{escape(sentence.text)}</span> <small>{escape(note)}</small></li>")
    return f'<ol class="sentences">{"".join(lines)}</ol>'


def words(explanation: Explanation, name: str) -> str:
    """The answer with the words marked that depended on a unit, and the same in a sentence."""
    unit = explanation.unit(name)
    pieces = _words(explanation, unit)
    marked = "".join(_marked(text, effect) for text, effect in pieces)
    strongest = sorted(
        (
            (text, effect)
            for text, effect in pieces
            if effect >= MARKS[1] and any(map(str.isalnum, text))
        ),
        key=lambda piece: -piece[1],
    )[:MOST_WORDS]
    if strongest:
        parts = [
            f"“{text.strip()}” ({times(effect)} less likely without it)"
            for text, effect in strongest
        ]
        sentence = f"Depended most on {unit.plain}: {', '.join(parts)}."
    else:
        sentence = (
            f"No word depended on {unit.plain}: none is even {math.exp(MARKS[1]):.1f} times less "
            "likely without it."
        )
    return f'<p>{escape(sentence)}</p><div class="passage marked" tabindex="0">{marked}</div>'


def changes(smallest: Sequence[Change], drawn: bool = False) -> list[str]:
    """The smallest changes in words, the nearest first; those to the same sentence are one line.

    Args:
        smallest: of the greedy answer's first sentence.
        drawn: the answer on show is another one.
    """
    if not smallest:
        return ["No group has a share that could be moved."]
    by_sentence: dict[str | None, list[Change]] = {}
    nearest = sorted(smallest, key=lambda c: math.inf if c.to is None else abs(c.to - c.share))
    for change in nearest:
        by_sentence.setdefault(None if change.to is None else change.after, []).append(change)
    return [_change(alike, drawn) for alike in by_sentence.values()]


def _change(alike: Sequence[Change], drawn: bool) -> str:
    """Changes that lead to the same sentence, or all to none, in words."""
    smallest = alike[0]
    if smallest.to is None:
        received = listed([f"{change.group} ({change.share:.0%})" for change in alike])
        first = f"first sentence{' at temperature 0' * drawn}"
        return f"No change of the {first} found between 0% and 100% of {received}."
    token, other = (smallest.token_before or "").strip(), (smallest.token_after or "").strip()
    if smallest.at == 0:
        where = "from the first word on"
    elif not token:
        where = f"they part at token {(smallest.at or 0) + 1}"
    else:
        where = f"they part at “{token}”, which becomes “{other or '(end)'}”"
    ways = " or ".join(
        f"{change.group} at {change.to:.0%} instead of {change.share:.0%}" for change in alike
    )
    after = f"“{smallest.after}” ({where})."
    if drawn:
        begins = f"At temperature 0 the answer would begin “{smallest.before}”"
        return f"{begins}; with {ways} on average, {after}"
    return f"With {ways} on average, the answer would begin {after}"


def shapley(explanation: Explanation) -> str:
    """The bars in words. The explanation must hold the values."""
    values = explanation.shapley or {}
    parts = ", ".join(f"{group} {signed(value)}" for group, value in values.items())
    text = (
        "Mean log-probability per token, from the base model alone "
        f"({signed(explanation.base_logp)}) to this answer ({signed(explanation.logp)}): {parts}. "
        "The parts add up."
    )
    for group, value in values.items():
        if value >= MATTERED and explanation.unit(group).effect < hardly(explanation):
            text += (
                f" {group.capitalize()} has a bar although its removal hardly matters: the other "
                "groups make up for it, and it for them."
            )
    return text


def signed(number: float) -> str:
    """A number of nats with its sign."""
    return minus(f"{number:+.3f}")


def _marked(text: str, effect: float) -> str:
    """A word, marked as far as it depended on the unit."""
    bare = text.strip()
    kind = "strong" if effect >= MARKS[0] else "light" if effect >= MARKS[1] else ""
    if not kind or not bare:
        return escape(text)
    mark = f'<mark class="{kind}">{escape(bare)}</mark>'
    return escape(text).replace(escape(bare), mark, 1)


def _words(explanation: Explanation, unit: Unit) -> list[tuple[str, float]]:
    """Tokens joined to words, each with the sum of its tokens' effects.

    The sum is the word's own log-probability. A token that only helps to spell a character counts
    with it.
    """
    pieces: list[tuple[str, float]] = []
    spelling = 0.0
    for text, effect in zip(explanation.tokens, unit.token_effects):
        if not text:
            spelling += effect
            continue
        effect, spelling = effect + spelling, 0.0
        if pieces and text[:1].isalnum() and pieces[-1][0][-1:].isalnum():
            pieces[-1] = (pieces[-1][0] + text, pieces[-1][1] + effect)
        else:
            pieces.append((text, effect))
    return pieces
