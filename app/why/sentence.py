"""Explanations → the one sentence that is read first, and what its words mean.

"The *treatment* expert shaped this answer strongly, *cardiopulmonary* somewhat; *audience* hardly
mattered."

Of each group it says one thing, so that it cannot say of a group that it did not matter and of its
expert that it did: the experts of it that mattered; or, where none did alone, the group itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from app.markup import marked, popover
from atmoe.explanation.value import Explanation, Unit
from atmoe.explanation.verdict import HARDLY, STRONGLY, UNMIXED, Size, hardly, size
from atmoe.wording import count, listed

MOST_WORDS = 25
NAMED = (
    (4, 4, 4, 4),
    (3, 3, 3, 3),
    (2, 2, 2, 2),
    (2, 1, 1, 1),
    (1, 1, 1, 1),
    (1, 1, 0, 0),
    (0,) * 4,
)
"""How many of those of each kind are named, and the others counted: the first that is short
enough. The last is, whatever the names."""


@dataclass
class Said:
    """What is said of each group or expert, those that mattered most first.

    Attributes:
        strongly: shaped the answer strongly.
        somewhat: shaped it somewhat.
        against: the answer is likelier without them.
        hardly: groups that hardly mattered, nor any expert of them.
    """

    strongly: list[Unit] = field(default_factory=list)
    somewhat: list[Unit] = field(default_factory=list)
    against: list[Unit] = field(default_factory=list)
    hardly: list[Unit] = field(default_factory=list)

    @classmethod
    def of(cls, explanation: Explanation) -> Said:
        """One thing of each group that has weight."""
        said, least = cls(), hardly(explanation)
        experts = explanation.of("expert")
        units: list[Unit] = []
        for group in explanation.of("group"):
            own = [u for u in experts if u.group == group.name and abs(u.effect) >= least]
            units += own or ([group] if group.weight > 0 else [])
        for unit in sorted(units, key=_effect_size, reverse=True):
            what = size(unit.effect, least)
            if what is Size.HARDLY:
                said.hardly.append(unit)
            elif unit.effect < 0:
                said.against.append(unit)
            else:
                (said.strongly if what is Size.STRONGLY else said.somewhat).append(unit)
        return said


def sentence(explanation: Explanation) -> str:
    """What shaped the answer as a whole, in at most 25 words. *Names* stand between stars."""
    if not explanation.mixed:
        return UNMIXED
    said, names = Said.of(explanation), Names(explanation)
    sentences = (_written(said, names, most) for most in NAMED)
    return next(text for text in sentences if len(text.split()) <= MOST_WORDS)


def headline(explanation: Explanation, which: str) -> str:
    """The sentence, of which answer it holds, and behind it what its words mean, as HTML."""
    more = popover("What “strongly”, “somewhat” and “hardly” mean", list(meanings(explanation)), "")
    about = f'<p class="hint">{escape(which)}, as a whole:</p>'
    return f"{about}{marked(sentence(explanation))}{more}"


def _written(said: Said, names: Names, most: Sequence[int]) -> str:
    """The sentence.

    Args:
        said: of which parts.
        names: of them.
        most: how many of each kind are named.
    """
    clauses = []
    if said.strongly:
        shaped = f"{names.subject(said.strongly, most[0])} shaped this answer strongly"
        if said.somewhat:
            shaped += f", {names.of(said.somewhat, most[1])} somewhat"
        clauses.append(shaped)
    elif said.somewhat:
        clauses.append(f"{names.subject(said.somewhat, most[1])} shaped this answer somewhat")
    if said.against:
        clauses.append(f"it would be likelier without {names.of(said.against, most[2])}")
    if said.hardly:
        alone = "" if clauses else "each alone, "
        clauses.append(f"{alone}{names.of_groups(said.hardly, most[3])} hardly mattered")
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


class Names:
    """How parts are called in a sentence: a part whose name another has is called by its group."""

    def __init__(self, explanation: Explanation):
        self._plain = [u.plain for u in (*explanation.of("group"), *explanation.of("expert"))]

    def of(self, units: Sequence[Unit], most: int) -> str:
        """Parts in a row, at most so many; the others are counted."""
        named = [
            self._name(u) if u.kind == "expert" else f"the {self._name(u)} group" for u in units
        ]
        return _shortened(units, named, most)

    def subject(self, units: Sequence[Unit], most: int) -> str:
        """The same as what a sentence begins with."""
        if not most or (len(units) > 1 and any(unit.kind == "group" for unit in units)):
            return self.of(units, most)
        named = [self._name(unit) for unit in units[:most]]
        if len(units) > most:
            return f"the {listed([*named, count(len(units) - most, 'other expert')])}"
        return f"the {listed(named)} {units[0].kind}{'s' * (len(units) > 1)}"

    def of_groups(self, units: Sequence[Unit], most: int) -> str:
        """Groups in a row: "the *a* and *b*"."""
        article = "the " if most else ""
        return article + _shortened(units, [self._name(unit) for unit in units], most)

    def _name(self, unit: Unit) -> str:
        plain = unit.plain
        if self._plain.count(plain) > 1:
            plain = f"{unit.group} {plain}" if unit.kind == "expert" else f"group {plain}"
        plain = plain.replace("*", "∗")  # a star would end the emphasis
        return f"*{plain}*"


def _shortened(units: Sequence[Unit], named: list[str], most: int) -> str:
    """So many of their names, and a count of the others."""
    if len(units) <= most:
        return listed(named)
    if most:
        return listed([*named[:most], count(len(units) - most, "other")])
    kinds = {unit.kind for unit in units}
    return count(len(units), kinds.pop() if len(kinds) == 1 else "part")


def meanings(explanation: Explanation) -> Iterator[str]:
    """What the three words of size mean, one sentence each."""
    least = hardly(explanation)
    yield (
        "Each part was removed, and the answer that was given was read again without it. The words "
        "say how much less likely it then is, per token (about three quarters of a word):"
    )
    yield f"strongly: {math.exp(STRONGLY):.2f} times or more;"
    yield "somewhat: less than that;"
    yield (
        f"hardly: less than {math.exp(least):.2f} times"
        + (", the noise floor of this answer." if least > HARDLY else ".")
    )
    yield (
        "They hold of the answer as a whole: one sentence of it can depend on a part that hardly "
        "mattered to the whole."
    )


def _effect_size(unit: Unit) -> float:
    return abs(unit.effect)
