"""Explanations → sentences, a grid and marked words. Measured numbers only.

Sentences of `paragraph` are plain text with *emphasis* marks; what `grid`, `told_sentences` and `words` return is HTML in
which every text from outside is escaped.
"""

from __future__ import annotations

import math
from html import escape

from atmoe.explanation.value import Change, Explanation, Unit
from atmoe.explanation.verdict import HARDLY, MATTERED, Mismatch, leaders, mismatch, plain, verdict

MARKS = (0.7, 0.1)
"""Nats by which a word depends on a unit: from the first on it is marked strongly (twice as likely with it), from the
second on lightly (1.1 times)."""
WORDS = 6


def paragraph(explanation: Explanation) -> str:
    """What a clinician needs in ten seconds."""
    groups, experts = (
        sorted(explanation.of(kind), key=lambda u: -u.effect) for kind in ("group", "expert")
    )
    parts = []
    if experts[0].effect < HARDLY:
        parts.append(
            f"Removing any one expert would hardly change this answer: without *{plain(experts[0].name)}*, {without(experts[0])}."
        )
    else:
        parts.append(
            f"Removing the expert *{plain(experts[0].name)}* would make this answer {without(experts[0])}, more than removing any other expert."
        )
    if len(groups) > 1:
        parts.append(
            f"Of the groups, *{groups[0].name}* mattered most: without it, {without(groups[0])}."
            if groups[0].effect >= HARDLY
            else f"No group mattered much: without *{groups[0].name}*, {without(groups[0])}."
        )
    # A group of which one expert has all the weight would be named twice.
    said = []
    for name, what in verdict(explanation).mismatches:
        unit = explanation.unit(name)
        if not any(unit.group == u.group for u in said):
            said.append(unit)
            parts.append(
                f"The {unit.kind} *{plain(name)}* received {unit.weight:.0%} of the weight, "
                + f"{'yet' if what is Mismatch.UNSEEN else 'but'} "
                + (
                    "hardly mattered."
                    if what is Mismatch.NO_EFFECT
                    else f"without it the answer would be {without(unit)}."
                )
            )
        if len(said) == 2:
            break
    gained = explanation.logp - explanation.base_logp
    parts.append(
        f"All experts together made it {times(abs(gained))} {'more' if gained >= 0 else 'less'} likely per token than the "
        f"base model alone."
    )
    return " ".join(parts)


def without(unit: Unit) -> str:
    """How likely the answer is without a unit."""
    return likely(unit.effect) + " per token"


def likely(effect: float) -> str:
    """An effect in words; what rounds to 1.00 times is as likely as before."""
    if round(math.exp(abs(effect)), 2) == 1:
        return "as likely as before"
    return f"{times(abs(effect))} {'less' if effect > 0 else 'more'} likely"


def times(nats: float) -> str:
    """Nats as a factor, to three digits."""
    factor = math.exp(nats)
    return (
        f"{factor:.2f} times"
        if factor < 10
        else f"{factor:.0f} times"
        if factor < 1000
        else "over 1,000 times"
    )


def grid(explanation: Explanation, bands: bool = False) -> str:
    """Groups and their experts, or groups by third of the layers, × weight, contribution, effect, and what they say together."""
    if bands:
        rows = [("expert", u) for u in explanation.of("band")]
    else:
        rows = []
        for group in explanation.of("group"):
            rows.append(("group", group))
            rows += [
                ("expert", u)
                for u in sorted(explanation.of("expert"), key=lambda u: -u.weight)
                if u.group == group.name
            ]
    most = {
        lens: max(abs(getattr(u, lens)) for _, u in rows) or 1.0
        for lens in ("weight", "contribution", "effect")
    }
    both = {u.name for u, strongest in leaders(explanation).values() if u is strongest}
    lines = []
    for kind, unit in rows:
        cells = "".join(
            _cell(getattr(unit, lens), most[lens], text)
            for lens, text in (
                ("weight", f"{unit.weight:.1%}"),
                ("contribution", f"{unit.contribution:.3f}"),
                ("effect", likely(unit.effect)),
            )
        )
        lines.append(
            f'<tr class="{kind}" data-unit="{escape(unit.name)}"><th scope="row">{escape(plain(unit.name))}</th>{cells}'
            f"<td>{escape(_together(unit, both))}</td></tr>"
        )
    head = "".join(
        f'<th scope="col">{title}<small>{note}</small></th>'
        for title, note in (
            ("Weight", "share of the routing weight"),
            ("Contribution", "size of its change, beside the layer's own output"),
            ("Effect", "without it, the answer is, per token"),
            ("Together", "do they agree?"),
        )
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Weight, contribution and effect"><table class="lenses">'
        f'<thead><tr><th scope="col">{"Group, layers" if bands else "Group and expert"}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def told_sentences(explanation: Explanation) -> str:
    """The answer, each sentence with the group that mattered most to it."""
    lines = []
    for sentence in explanation.sentences:
        unit, effect = explanation.mattered_most(sentence)
        note = (
            f"{unit.name} mattered most: without it, {times(effect)} less likely per token"
            if effect >= HARDLY
            else "no group mattered much"
        )
        lines.append(f"<li><span>{escape(sentence.text)}</span> <small>{escape(note)}</small></li>")
    return f'<ol class="sentences">{"".join(lines)}</ol>'


def words(explanation: Explanation, name: str) -> str:
    """The answer with the words marked that depended on a unit, and a sentence that says the same."""
    unit = explanation.unit(name)
    pieces = _words(explanation, unit)
    marked = []
    for text, effect in pieces:
        kind = "strong" if effect >= MARKS[0] else "light" if effect >= MARKS[1] else ""
        bare = text.strip()
        marked.append(
            escape(text).replace(escape(bare), f'<mark class="{kind}">{escape(bare)}</mark>', 1)
            if kind and bare
            else escape(text)
        )
    top = sorted(
        (p for p in pieces if p[1] >= MARKS[1] and any(map(str.isalnum, p[0]))), key=lambda p: -p[1]
    )[:WORDS]
    said = (
        f"Depended most on {plain(name)}: "
        + ", ".join(
            f"“{text.strip()}” ({times(effect)} less likely without it)" for text, effect in top
        )
        + "."
        if top
        else f"No word depended on {plain(name)}: none is even {math.exp(MARKS[1]):.1f} times less likely without it."
    )
    return f'<p>{escape(said)}</p><div class="passage marked" tabindex="0">{"".join(marked)}</div>'


def change(found: Change) -> str:
    """The smallest change of one group, in words."""
    if found.to is None:
        return f"{found.group}: no change of the first sentence found between 0% and 100% (it received {found.share:.0%})."
    if found.at == 0 or not found.token_before.strip():
        where = f"from the {'first' if found.at == 0 else f'{found.at + 1}th'} word on"
    else:
        where = f"they part at “{found.token_before.strip()}”, which becomes “{found.token_after.strip() or '(end)'}”"
    return (
        f"{found.group}: at {found.to:.0%} instead of {found.share:.0%} on average, the answer would begin "
        f"“{found.after}” ({where})."
    )


def shapley(explanation: Explanation) -> str:
    """The bars in words."""
    parts = ", ".join(f"{g} {signed(value)}" for g, value in explanation.shapley.items())
    said = (
        f"Mean log-probability per token, from the base model alone ({signed(explanation.base_logp)}) to this answer "
        f"({signed(explanation.logp)}): {parts}. The parts add up."
    )
    stood_in = [
        g
        for g, value in explanation.shapley.items()
        if value >= MATTERED and explanation.unit(g).effect < HARDLY
    ]
    return said + "".join(
        f" {g.capitalize()} has a bar although its removal hardly matters: the other groups make up for it, and "
        f"it for them."
        for g in stood_in
    )


def signed(number: float) -> str:
    return f"{number:+.3f}".replace("-", "−")


def _together(unit: Unit, both: set[str]) -> str:
    what = mismatch(unit)
    return (
        f"⚠ {what}"
        if what
        else "✓ most weight and largest effect of its group"
        if unit.name in both
        else ""
    )


def _cell(value: float, most: float, text: str) -> str:
    """A number with a bar behind it; what goes against the answer is hatched, and says so in its words."""
    width = round(100 * abs(value) / most)
    return f'<td class="number"><span class="bar{" against" * (value < 0)}" style="width:{width}%"></span><span>{escape(text)}</span></td>'


def _words(explanation: Explanation, unit: Unit) -> list[tuple[str, float]]:
    """Tokens joined to words, each with the sum of its tokens' effects: the word's own log-probability."""
    pieces: list[tuple[str, float]] = []
    for text, effect in zip(explanation.tokens, unit.token_effects):
        if pieces and text[:1].isalnum() and pieces[-1][0][-1:].isalnum():
            pieces[-1] = (pieces[-1][0] + text, pieces[-1][1] + effect)
        else:
            pieces.append((text, effect))
    return pieces
